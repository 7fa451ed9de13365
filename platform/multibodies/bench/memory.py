"""Peak memory of one road, in its own pass: a process of its own on the CPU, the allocator on CUDA.

On the CPU it is the growth of the resident set during one call after a warm-up (VmHWM of /proc,
reset before the call). Bytes.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import torch

from multibodies.bench.harness import Road, Row, Setting, absent, say

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# Freed memory goes back to the system at once: what one call needs is then what it touches.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def leaner(name: str, module: str, roads: tuple[str, str], target: float, setting: Setting) -> Row:
    """Return the row of how many times less memory the second road of a module needs."""
    say(f"{name}: peak memory")
    peaks = [peak_of(module, road, setting) for road in roads]
    if None in peaks:
        return absent(name, target, "no /proc/self/clear_refs here", "x less memory")
    slow, fast = (max(peak or 0, 1) for peak in peaks)
    shown = {"mb": round(fast / 1e6, 2), "baseline_mb": round(slow / 1e6, 2)}
    return Row(name, slow / fast, target, "x less memory", extra=shown)


def peak_of(module: str, road: str, setting: Setting) -> int | None:
    """Return the bytes that a call of ROADS[road] of a benchmark's module needs at its peak."""
    if setting.device.type == "cuda":
        return _on_cuda(import_module(module).ROADS[road](setting), setting.device)
    if setting.quick:
        return max(1, _on_cpu(import_module(module).ROADS[road](setting)))
    command = [sys.executable, "-m", "multibodies.bench.memory", module, road]
    command += [str(torch.get_num_threads())]
    sources = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [sources, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **ALLOCATOR, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    peak = int(done.stdout.split()[-1])
    return None if peak < 0 else peak


def _on_cuda(run: Road, device: torch.device) -> int:
    run()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _on_cpu(run: Road) -> int:
    """Return the growth of the resident set's peak during a second call; -1 where unknown."""
    run()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    try:
        RESET.write_text("5")
    except OSError:
        return -1
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before


def _resident(key: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key))
    return 1024 * int(line.split()[1])


def main(module: str, road: str, threads: str) -> None:
    """Print a road's peak: what `peak_of` runs in a process of its own."""
    torch.set_num_threads(int(threads))
    setting = Setting(torch.device("cpu"))
    print(_on_cpu(import_module(module).ROADS[road](setting)))


if __name__ == "__main__":
    main(*sys.argv[1:])
