"""Roads to one result, timed by turns in one process; a ratio is what remains of a noisy machine.

A road is a function without arguments. Seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

import torch

Road = Callable[[], object]
SAMPLE = 0.05  # seconds: a shorter road is called several times for one sample
CALLS = 50  # at most, in one sample


@dataclass(frozen=True)
class Setting:
    """Where and how long to measure; `quick` is a smoke test at tiny sizes."""

    device: torch.device
    rounds: int = 5
    quick: bool = False


@dataclass(frozen=True)
class Row:
    """One line of the table: a ratio written so that larger is better. None: not measured."""

    name: str
    ratio: float | None
    target: float | None  # None: no target, a figure to know
    unit: str = "x faster"
    of_minima: float | None = None  # the same ratio of the fastest rounds
    note: str = ""
    failed: bool = False  # the result itself is out of bounds, whatever the speed
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Return "met", "missed", "reported" (no target) or "not measured"."""
        if self.ratio is None:
            return "not measured"
        if self.failed or (self.target is not None and self.ratio < self.target):
            return "missed"
        return "reported" if self.target is None else "met"


class Times(NamedTuple):
    """Seconds of one call, one number per round."""

    samples: list[float]

    @property
    def median(self) -> float:
        """Return the median round."""
        return median(self.samples)

    @property
    def least(self) -> float:
        """Return the fastest round."""
        return min(self.samples)


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def alternate(name: str, roads: Mapping[str, Road], setting: Setting) -> dict[str, Times]:
    """Time every road once a round, after a warm-up of one round."""
    samples: dict[str, list[float]] = {road: [] for road in roads}
    first = {road: seconds(run, setting) for road, run in roads.items()}
    calls = {road: 1 if setting.quick else _calls(spent) for road, spent in first.items()}
    for turn in range(setting.rounds):
        say(f"{name}: round {turn + 1} of {setting.rounds}")
        for road, run in roads.items():
            samples[road].append(seconds(run, setting, calls[road]))
    return {road: Times(values) for road, values in samples.items()}


def seconds(run: Road, setting: Setting, calls: int = 1) -> float:
    """Return the mean seconds of some calls in a row."""
    wait_for(setting.device)
    start = time.perf_counter()
    for _ in range(calls):
        run()
    wait_for(setting.device)
    return (time.perf_counter() - start) / calls


def faster(
    name: str, slow: Times, fast: Times, target: float | None, *, note: str = "", **extra: Any
) -> Row:
    """Return the row of how many times faster `fast` is."""
    shown = {"ms": round(1e3 * fast.median, 3), "baseline_ms": round(1e3 * slow.median, 3)}
    return Row(
        name,
        slow.median / fast.median,
        target,
        of_minima=slow.least / fast.least,
        note=note,
        extra=shown | extra,
    )


def absent(name: str, target: float | None, why: str, unit: str = "x faster") -> Row:
    """Return the row of what cannot be measured here."""
    return Row(name, None, target, unit, note=why)


def _calls(duration: float) -> int:
    return max(1, min(CALLS, round(SAMPLE / max(duration, 1e-9))))
