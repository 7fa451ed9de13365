"""The tracker: journal first, then the server; an outage never stops nor slows the work.

Experiment = sweep, parent run = sweep, child run = cell. A driver makes the parent run before
other processes make children, so that it is created once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from multibodies.tracking.facts import Facts
from multibodies.tracking.journal import Event, Journal, read_journal
from multibodies.tracking.replaying import replay
from multibodies.tracking.runlog import RunLog, ending
from multibodies.tracking.sender import Sender

LOG = logging.getLogger("multibodies.tracking")


class Tracker:
    """Logs one sweep. `uri` None keeps the journal only.

    What is logged is in the journal when the call returns; a thread sends it. After an outage
    `close` brings the server up to date from the journal. A journal that is there already, of a
    killed process, is sent again first. Several threads may share a tracker.
    """

    def __init__(self, uri: str | None, journal_path: str | Path, sweep: str) -> None:
        self.uri, self.sweep = uri, sweep
        self.journal = Journal(journal_path)
        self.problems: list[str] = []
        self._open: set[str] = set()
        self._facts: Callable[[str], Facts] | None = None
        self._told: set[str] = set()
        self._lock = threading.Lock()
        path = self.journal.path
        self._sender = Sender(uri, path, self._note, _earlier(path)) if uri else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the runs that are still open as the block ended, then close."""
        try:
            for cell in sorted(self._open):
                RunLog(self, cell).status(ending(kind))
        finally:
            self.close()

    @property
    def online(self) -> bool:
        """Whether there is a server and it took what it was sent last."""
        return self._sender is not None and self._sender.online

    def run(self, cell: str = "") -> RunLog:
        """Start or take up the run of a cell; "" is the sweep's parent run."""
        run = RunLog(self, cell)
        run.status("RUNNING")
        self._tell(cell)
        return run

    def carry(self, facts: Callable[[str], Facts]) -> None:
        """Have every run carry its facts, by its cell: those that are open and those to come."""
        self._facts = facts
        for cell in sorted(self._open):
            self._tell(cell)

    def record(self, event: Event) -> None:
        """Journal an event and hand it on. Raises UserError when the disk refuses it."""
        with self._lock:
            self.journal.append(event)
            if event.kind == "status":
                running = event.data["status"] == "RUNNING"
                (self._open.add if running else self._open.discard)(event.cell)
            if self._sender is not None:
                self._sender.put(event)

    def flush(self) -> None:
        """Wait until the server has all, or does not answer."""
        if self._sender is not None:
            self._sender.flush()

    def close(self) -> bool:
        """Send what waits and, after an outage, replay the journal. True if the server has all."""
        if self._sender is None or self.uri is None:
            return False
        self._sender.flush()
        self._sender.stop()
        if not self._sender.missed:
            return True
        try:
            self._note(replay(self.journal.path, self.uri).problems)
        except Exception:  # still away: the journal keeps everything for a later replay
            return False
        LOG.warning("MLflow at %s is up to date again", self.uri)
        return True

    def _tell(self, cell: str) -> None:
        """Log a run's facts, once."""
        if self._facts is None or cell in self._told:
            return
        self._told.add(cell)
        RunLog(self, cell).carry(self._facts(cell))

    def _note(self, problems: Sequence[str]) -> None:
        self.problems += problems
        for problem in problems:
            LOG.warning("MLflow: %s", problem)


def _earlier(path: Path) -> list[Event]:
    """Return what an earlier process logged; its files are logged anew by who resumes it."""
    events = read_journal(path)[0] if path.is_file() else []
    return [event for event in events if event.kind != "artifact"]
