"""The rows as bench.json and bench.md, with the machine they were measured on."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from multibodies.bench.harness import Row, Setting

HEADER = "| benchmark | median | minima | target | verdict | note |\n|---|---|---|---|---|---|"


def entry(row: Row) -> dict[str, Any]:
    """Return a row's JSON: name, ratio, target, unit, and what else is known."""
    fields = asdict(row)
    extra, of_minima = fields.pop("extra"), fields.pop("of_minima")
    return {**fields, "ratio_of_minima": of_minima, "verdict": row.verdict, **extra}


def machine(setting: Setting) -> dict[str, str]:
    """Return where the rows were measured."""
    on_card = setting.device.type == "cuda"
    return {
        "machine": _processor(),
        "device": torch.cuda.get_device_name(setting.device) if on_card else "cpu",
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "rounds": str(setting.rounds),
        "commit": _commit(),
    }


def markdown(rows: Iterable[Row], where: dict[str, str]) -> str:
    """Return the table for people."""
    lines = [_line(row) for row in rows]
    facts = ", ".join(f"{key} {value}" for key, value in where.items())
    said = "Ratios: larger is better; of the medians and of the minima of rounds taken in turn."
    return "\n".join(["# Benchmarks", "", facts, "", said, "", HEADER, *lines, ""])


def write(rows: list[Row], where: dict[str, str], out: Path) -> None:
    """Write bench.json and bench.md into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    entries = json.dumps([entry(row) for row in rows], indent=1)
    (out / "bench.json").write_text(entries + "\n")
    (out / "bench.md").write_text(markdown(rows, where))


def _line(row: Row) -> str:
    numbers = [_number(value) for value in (row.ratio, row.of_minima, row.target)]
    median, minima, target = numbers
    shown = [f"{key} {value}" for key, value in row.extra.items()]
    note = "; ".join(filter(None, [row.note, ", ".join(shown)]))
    cells = (row.name, f"{median} {row.unit}", minima, target, row.verdict, note)
    return f"| {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _processor() -> str:
    """Return the processor's name where Linux tells it, else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
