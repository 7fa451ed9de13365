"""Checks of a machine: is everything there that `make table2` needs?

Each check returns a `Finding`; a failing one says what to do. Nothing is changed or sent.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from multibodies.bodies.embedded import BODY_SHA256
from multibodies.files import sha256

Level = Literal["ok", "warn", "fail"]

PACKAGE = Path(__file__).resolve().parent
BODY = PACKAGE / "assets" / "body" / "SMPL_FORMAT_NEUTRAL.npz"
PORTS = {5000: "the MLflow UI", 8265: "the Ray dashboard"}
WANTED_MEMORY = 4 << 30  # bytes; two training workers, the object store and an MLflow server
WANTED_DISK = 10 << 30  # bytes; the bound of `make table2`


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    level: Level
    detail: str


def diagnose(folder: Path) -> Iterator[Finding]:
    """Yield one finding per check; `folder` is where the runs will be written."""
    yield python_version(sys.version_info[:3])
    yield package("torch", "2.13.")
    yield accelerator()
    yield package("ray", "2.60.")
    yield package("mlflow", "3.")
    yield cores(available_cores())
    yield memory(available_memory())
    yield disk(shutil.disk_usage(nearest_folder(folder)).free, folder)
    yield source_root(PACKAGE.parent, platform.__file__)
    yield body_asset(BODY, BODY_SHA256)
    for number, use in PORTS.items():
        yield port(number, use)


def python_version(found: tuple[int, int, int]) -> Finding:
    """Python 3.11 or newer."""
    text = ".".join(map(str, found))
    level: Level = "ok" if found >= (3, 11) else "fail"
    return Finding("python", level, text if level == "ok" else f"{text}; 3.11 or newer is needed")


def package(name: str, prefix: str) -> Finding:
    """Return whether a package of the wanted release line is installed."""
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(name, "fail", "not installed; run `make install`")
    if found.startswith(prefix):
        return Finding(name, "ok", found)
    return Finding(name, "warn", f"{found}; tested with {prefix}x: run `make install`")


def accelerator() -> Finding:
    """Name the GPUs that torch sees; none is fine."""
    try:
        import torch
    except ImportError as error:
        return Finding("gpu", "fail", f"torch does not import: {error}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(count))
    return Finding("gpu", "ok", names or "none; everything runs on the CPU")


def cores(count: int) -> Finding:
    """Two cores or more."""
    if count >= 2:
        return Finding("cores", "ok", str(count))
    return Finding("cores", "warn", f"{count}; one works, but `make table2` is planned for two")


def memory(free: int) -> Finding:
    """Return whether enough memory (bytes) is free."""
    text = f"{free / 2**30:.1f} GiB free"
    if free >= WANTED_MEMORY:
        return Finding("memory", "ok", text)
    return Finding(
        "memory", "warn", f"{text}; {WANTED_MEMORY >> 30} GiB are wanted, close something"
    )


def disk(free: int, folder: Path) -> Finding:
    """Return whether enough disk (bytes) is free where the runs go."""
    text = f"{free / 2**30:.1f} GiB free for {folder}"
    if free >= WANTED_DISK:
        return Finding("disk", "ok", text)
    return Finding("disk", "warn", f"{text}; `make table2` may need {WANTED_DISK >> 30} GiB")


def source_root(root: Path, stdlib: str | None) -> Finding:
    """Return whether `import platform` finds Python's own module, as `import uuid` and Ray need."""
    guard = root / "__init__.py"
    if root.name == "platform" and guard.exists():
        return Finding(
            "source root", "fail", f"{guard} exists and shadows Python's platform module; delete it"
        )
    if stdlib is None or Path(stdlib).resolve().is_relative_to(root):
        return Finding(
            "source root", "fail", f"`import platform` finds {stdlib}, not Python's own module"
        )
    return Finding("source root", "ok", str(root))


def body_asset(path: Path, expected: str) -> Finding:
    """Return whether the embedded body is there, with the sha256 it was built with."""
    if not path.is_file():
        return Finding("body", "fail", f"{path} is missing; install the package again")
    found = sha256(path)
    if found == expected:
        return Finding("body", "ok", f"{path.name}, sha256 {found[:12]}")
    return Finding(
        "body", "fail", f"{path} has sha256 {found[:12]}, expected {expected[:12]}; install again"
    )


def port(number: int, use: str) -> Finding:
    """Return whether a TCP port of the loopback address is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            return Finding(f"port {number}", "warn", f"{error.strerror}; {use} would use it")
    return Finding(f"port {number}", "ok", f"free for {use}")


def available_cores() -> int:
    """Return how many cores this process may use."""
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def available_memory() -> int:
    """Return the bytes of memory still free: the machine's, or what a container's limit leaves."""
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    free = os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(
            line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line
        )
        free = int(fields["MemAvailable"].split()[0]) << 10
    return min(free, _container_memory(Path("/sys/fs/cgroup")) or free)


def _container_memory(cgroup: Path) -> int | None:
    """Return what a version-2 control group still allows, in bytes; None without a limit."""
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return max(0, int(limit) - used) if limit.isdecimal() else None


def nearest_folder(path: Path) -> Path:
    """Return the deepest folder of `path` that exists."""
    return next(p for p in [path.absolute(), *path.absolute().parents] if p.is_dir())
