"""The tracker: journal first, then the server; an outage never stops nor slows the work.

Experiment = sweep, parent run = sweep, child run = cell. A driver makes the parent run before
other processes make children, so that it is created once.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from multibodies.errors import UserError
from multibodies.tracking.journal import Event, Journal, read_journal
from multibodies.tracking.sink import Sink

LOG = logging.getLogger("multibodies.tracking")
SEND_EVERY = 2.0  # seconds; metrics in between travel in one batch


class Tracker:
    """Logs one sweep. `uri` None keeps the journal only.

    After the first failure to reach the server (at most about two seconds) it is left alone;
    `close` then tries once more to bring it up to date from the journal. A journal that is there
    already, of a killed process, is sent again first. Several threads may share a tracker.
    """

    def __init__(self, uri: str | None, journal_path: str | Path, sweep: str) -> None:
        self.uri, self.sweep = uri, sweep
        self.journal = Journal(journal_path)
        self.problems: list[str] = []
        self.online = uri is not None
        self._sink: Sink | None = None
        self._pending = _earlier(self.journal.path) if self.online else []
        self._sent = time.monotonic()
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, cell: str = "") -> RunLog:
        """Start or take up the run of a cell; "" is the sweep's parent run."""
        run = RunLog(self, cell)
        run.status("RUNNING")
        return run

    def record(self, event: Event) -> None:
        """Journal an event; send it now, or with the next batch if it is a metric."""
        with self._lock:
            self.journal.append(event)
            if not self.online:
                return
            self._pending.append(event)
            if event.kind != "metrics" or time.monotonic() - self._sent > SEND_EVERY:
                self.flush()

    def flush(self) -> None:
        """Send what waits. On failure warn once and go on with the journal alone."""
        with self._lock:
            if not self.online or not self._pending:
                return
            try:
                self._sink = self._sink or Sink(str(self.uri))
                self._note(self._sink.send(self._pending))
            except Exception as error:  # whatever fails in tracking, the work goes on
                self._give_up(error)
            self._pending, self._sent = [], time.monotonic()

    def close(self) -> bool:
        """Send what waits and, after an outage, replay the journal. True if the server has all."""
        self.flush()
        if self.online or self.uri is None:
            return self.online
        try:
            self._note(replay(self.journal.path, self.uri))
        except Exception:  # still away: the journal keeps everything for a later replay
            return False
        LOG.warning("MLflow at %s is up to date again", self.uri)
        return True

    def _give_up(self, error: Exception) -> None:
        self.online = False
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        text = "MLflow at %s does not answer (%s); logging goes on in %s only"
        LOG.warning(text, self.uri, reason, self.journal.path)

    def _note(self, problems: list[str]) -> None:
        self.problems += problems
        for problem in problems:
            LOG.warning("MLflow: %s", problem)


class RunLog:
    """Logs to one run; as a context manager it ends the run as FINISHED or FAILED."""

    def __init__(self, tracker: Tracker, cell: str) -> None:
        self._tracker, self.cell = tracker, cell

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.status("FAILED" if kind else "FINISHED")

    def params(self, values: Mapping[str, Any]) -> None:
        """Log settings, nested ones flat by dots; a param never changes once it is set."""
        self._record("params", flat(values))

    def tags(self, values: Mapping[str, object]) -> None:
        """Set tags; later values win."""
        self._record("tags", {key: str(value) for key, value in values.items()})

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log numbers at a step; at a step that was logged before the first value stays.

        Raises UserError on a number that is not finite: MLflow would store it as 1.8e308.
        """
        plain = {key: float(value) for key, value in values.items()}
        for key, value in plain.items():
            if not math.isfinite(value):
                raise UserError(
                    f"metric '{key}' of run '{self.cell or self._tracker.sweep}' is {value} at "
                    f"step {step}; only finite numbers are logged"
                )
        self._record("metrics", {"step": int(step), "values": plain})

    def scores(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Log rows of dataset, n, mpjpe_mm, re_mm: curves with step = n, and columns per n.

        The UI draws `over_n_mpjpe_mm_wild` as the MPJPE-n curve; `mpjpe_mm_n05_wild` is a column.
        Its comparison of runs sorts by name: the columns come first there.
        """
        for row in rows:
            name, n = row["dataset"], int(row["n"])
            values = {metric: row[metric] for metric in ("mpjpe_mm", "re_mm")}
            self.metrics({f"over_n_{key}_{name}": v for key, v in values.items()}, step=n)
            self.metrics({f"{key}_n{n:02d}_{name}": v for key, v in values.items()})

    def artifact(self, path: str | Path, folder: str = "") -> None:
        """Upload a file. Raises UserError if it is not there."""
        path = Path(path).resolve()
        if not path.is_file():
            raise UserError(f"{path}: no such file to log as an artifact")
        self._record("artifact", {"path": str(path), "folder": folder})

    def status(self, status: str) -> None:
        """Set the run's status: RUNNING, FINISHED, FAILED or KILLED."""
        self._record("status", {"status": status})

    def _record(self, kind: str, data: Mapping[str, Any]) -> None:
        self._tracker.record(Event(self._tracker.sweep, self.cell, kind, data))


def _earlier(path: Path) -> list[Event]:
    """Return what an earlier process logged; its files are logged anew by who resumes it."""
    events = read_journal(path)[0] if path.is_file() else []
    return [event for event in events if event.kind != "artifact"]


def replay(journal_path: str | Path, uri: str) -> list[str]:
    """Bring a server up to date from a journal (or a folder of them), without duplicates.

    Returns what could not be sent, in words. Raises UserError if there is no journal, OSError or
    MlflowException if the server does not answer.
    """
    events, torn = read_journal(journal_path)
    lost = [f"{journal_path}: {torn} torn line(s) skipped"] if torn else []
    return lost + Sink(uri, timeout=30).send(events)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested mappings to `{"loss.ri": "1.0"}`; lists become `1 5 10 25`."""
    out: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            out.update(flat(value, f"{name}."))
        elif isinstance(value, (list, tuple)):
            out[name] = " ".join(str(item) for item in value)
        else:
            out[name] = str(value)
    return out
