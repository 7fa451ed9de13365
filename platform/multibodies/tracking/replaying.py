"""Replay: a server made equal to a journal, however often, whatever it held before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from multibodies.tracking.journal import Event, Journal, read_journal
from multibodies.tracking.sink import Sink, by_run

OnRun = Callable[[str], None]


@dataclass(frozen=True)
class Replayed:
    """What a replay did: runs in the journal, what was new to the server (runs, params, metrics,
    artifacts), what could not be sent, in words."""

    runs: int
    new: Counter[str]
    problems: list[str]


def replay(journal_path: str | Path, uri: str, on_run: OnRun | None = None) -> Replayed:
    """Bring a server up to date from a journal (or a folder of them), without duplicates.

    `on_run(cell)` is called after each run. Raises UserError if there is no journal, OSError or
    MlflowException if the server does not answer.
    """
    events, torn = read_journal(journal_path)
    problems = [f"{journal_path}: {torn} torn line(s) skipped"] if torn else []
    sink = Sink(uri, timeout=30)
    groups = by_run(events)
    for (_, cell), group in groups.items():
        problems += sink.send(group)
        if on_run is not None:
            on_run(cell)
    return Replayed(len(groups), sink.new, problems)


def runs_in(journal_path: str | Path) -> int:
    """Return the number of runs in a journal. Raises UserError if there is none."""
    return len(by_run(read_journal(journal_path)[0]))


def end_open_runs(journal_path: str | Path) -> list[str]:
    """Say in a journal that the runs which it leaves RUNNING were killed; return their cells.

    To be called where nobody writes to it any more.
    """
    events, _ = read_journal(journal_path)
    status = {(e.sweep, e.cell): e.data["status"] for e in events if e.kind == "status"}
    left = [run for run, last in status.items() if last == "RUNNING"]
    for sweep, cell in left:
        Journal(journal_path).append(Event(sweep, cell, "status", {"status": "KILLED"}))
    return [cell for _, cell in left]
