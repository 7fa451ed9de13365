"""All benchmarks, one after another."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import torch

from multibodies.bench.arguments import BENCHMARKS
from multibodies.bench.harness import Row, Setting, say
from multibodies.bench.table import machine, markdown, write
from multibodies.errors import UserError, nearest


def run(
    names: Sequence[str], out: Path, *, device: str, rounds: int, threads: int, quick: bool
) -> list[Row]:
    """Measure the named benchmarks (none: all), print the table, write it into a folder.

    Raises UserError on an unknown benchmark or a device that is not there.
    """
    for name in names:
        if name not in BENCHMARKS:
            known = f"{nearest(name, BENCHMARKS)}; there are {', '.join(BENCHMARKS)}"
            raise UserError(f"unknown benchmark '{name}'{known}")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here")
    torch.set_num_threads(threads)
    setting = Setting(torch.device(device), rounds, quick)
    rows = []
    where = machine(setting)
    for row in _measure(names or BENCHMARKS, setting):
        rows.append(row)
        ratio = "" if row.ratio is None else f"{row.ratio:.3g} {row.unit}"
        say(f"{row.name}: {ratio} ({row.verdict}) {row.note}")
        write(rows, where, out)  # so that a killed run leaves what it has
    print(markdown(rows, where))
    return rows


def _measure(names: Sequence[str], setting: Setting) -> Iterator[Row]:
    for name in names:
        say(f"{name} ...")
        yield from import_module(f"multibodies.bench.{name}").measure(setting)
        gc.collect()
