"""What a sweep of many cells costs beyond its trainings: 1,000 that sleep, two at a time.

Measured in a process of its own, which is the sweep's driver: its memory is nobody else's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from multibodies.bench.harness import Row, Setting, absent

CELLS, FEW = 1000, 20
BOUND = 10.0  # seconds of a cell beyond its training
MODULE = "multibodies.cluster.rehearsal"
TITLE = "scheduling: seconds allowed / taken by a cell beyond its training"


def measure(setting: Setting) -> Iterator[Row]:
    """Yield the one row."""
    if find_spec("ray") is None:
        yield absent(TITLE, 1.0, "ray is not installed")
        return
    cells = FEW if setting.quick else CELLS
    command = [sys.executable, "-m", MODULE, "--cells", str(cells)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = next(iter(done.stderr.strip().splitlines()[-1:]), "no word")
        yield absent(TITLE, 1.0, f"failed: {last}")
        return
    found = json.loads(done.stdout.splitlines()[-1])
    yield Row(TITLE, BOUND / found["overhead_s_per_cell"], 1.0, note=f"of {BOUND:g} s", extra=found)
