"""Rungs of successive halving: which of a sweep's trainings go on at a step, by who came there.

RUN/rungs.jsonl has a line per training and rung; a training's folder has stopped_early.json where
it was stopped. A decision is made once: a training that is killed and comes to the rung again finds
its own. Files and no process hold all of it, so that nothing is left behind by whoever is killed.
"""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

from multibodies import runs
from multibodies.errors import UserError

RUNGS, STOPPED_EARLY = "rungs.jsonl", "stopped_early.json"


class StoppedEarly(UserError):
    """A training that its sweep's rule has ended before its last step; it has no weights."""


Line = dict[str, Any]  # step, training, value, goes_on


def decide(path: Path, training: str, step: int, value: float, reduction: int) -> Line:
    """Record a training's value (less is better) at a rung and whether it goes on; return both.

    It does among the best 1/reduction of those that have come there, and at least as the best; of
    equal values the first to come is the better.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        known = decision(path, training, step)
        if known is not None:
            return known
        others = [line["value"] for line in _rung(path, step)]
        better = sum(other <= value for other in others)
        goes_on = better < max(1, (len(others) + 1) // reduction)
        line = {"step": step, "training": training, "value": value, "goes_on": goes_on}
        torn = path.read_bytes()[-1:] not in (b"", b"\n")  # by a writer that was killed
        file.write(b"\n" * torn + json.dumps(line).encode() + b"\n")
    return line


def decision(path: Path, training: str, step: int) -> Line | None:
    """Return what was decided on a training at a rung; None: nothing yet."""
    return next((line for line in _rung(path, step) if line["training"] == training), None)


def _rung(path: Path, step: int) -> list[Line]:
    return [line for line in runs.Tail(path).new() if line["step"] == step]


def stop(folder: Path, **notes: Any) -> None:
    """Say in a training's folder that it was stopped, with notes such as the step."""
    runs.write_record(folder / STOPPED_EARLY, notes)


def stopped(folder: Path) -> dict[str, Any] | None:
    """Return the notes of a stopped training, else None. Raises UserError if they are damaged."""
    path = folder / STOPPED_EARLY
    return runs.read_record(path) if path.exists() else None


def refuse_stopped(folder: Path) -> None:
    """Raise StoppedEarly in the folder of a training that was stopped."""
    notes = stopped(folder)
    if notes is not None:
        raise StoppedEarly(
            f"{folder}: stopped early by its sweep at step {notes['step']}; to train it in full, "
            "give its settings to a run of their own"
        )
