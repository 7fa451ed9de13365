"""One run's log: settings, tags, numbers, files and its status, as events of its tracker."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from multibodies.errors import UserError
from multibodies.tracking.facts import Dataset, Facts
from multibodies.tracking.journal import Event


class Recording(Protocol):
    """What takes events: the tracker of a sweep."""

    sweep: str

    def record(self, event: Event) -> None:
        """Keep an event."""


class RunLog:
    """Logs to one run; as a context manager it ends the run, see `ending`."""

    def __init__(self, tracker: Recording, cell: str) -> None:
        self._tracker, self.cell = tracker, cell

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.status(ending(kind))

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

    def inputs(self, datasets: Iterable[Dataset]) -> None:
        """Name datasets that the run uses; one of the same name and digest stays as it is."""
        for dataset in datasets:
            self._record("input", asdict(dataset))

    def carry(self, facts: Facts) -> None:
        """Log all of a run's facts."""
        if facts.params:
            self.params(facts.params)
        if facts.tags:
            self.tags(facts.tags)
        self.inputs(facts.datasets)

    def status(self, status: str) -> None:
        """Set the run's status: RUNNING, FINISHED, FAILED or KILLED."""
        self._record("status", {"status": status})

    def _record(self, kind: str, data: Mapping[str, Any]) -> None:
        self._tracker.record(Event(self._tracker.sweep, self.cell, kind, data))


def ending(kind: type[BaseException] | None) -> str:
    """Return the status of a run that ended so: FINISHED, FAILED, or KILLED where it was stopped
    from outside."""
    if kind is None:
        return "FINISHED"
    return "FAILED" if issubclass(kind, Exception) else "KILLED"


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
