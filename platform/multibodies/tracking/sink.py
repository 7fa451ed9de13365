"""Journal events -> an MLflow server, such that sending twice changes nothing; imports mlflow.

A run is found by its tags (sweep, cell) or created; params are set once; a metric's first value at
a step stays. mlflow is imported when a sink is made, not with this module.
"""

from __future__ import annotations

import os
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from multibodies.environs import environment
from multibodies.tracking.journal import Event

if TYPE_CHECKING:
    from mlflow.entities import Run

T = TypeVar("T")
SWEEP_TAG = "multibodies.sweep"
CELL_TAG = "multibodies.cell"
PARENT_TAG = "mlflow.parentRunId"  # MLflow's own: the UI nests by it
PARENT_CELL = "(sweep)"  # the parent run's value of CELL_TAG; MLflow cannot search for an empty tag
PER_BATCH = {"metrics": 1000, "params": 100, "tags": 100}  # MLflow's limits of one log_batch
PROBE_SECONDS = 1.0


@dataclass
class _Known:
    """What the server holds of a run already."""

    run_id: str
    params: dict[str, str] = field(default_factory=dict)
    steps: set[tuple[str, int]] = field(default_factory=set)


class Sink:
    """Sends events to one MLflow server. Raises OSError or MlflowException when it cannot.

    new: how many runs, params, metrics and artifacts the server did not have.
    """

    def __init__(self, uri: str, timeout: int = 2) -> None:
        """Probe `uri` within PROBE_SECONDS, so that a dead server costs no more; then set up."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        direct.open(f"{uri.rstrip('/')}/health", timeout=PROBE_SECONDS).close()
        with _limits(timeout):
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=uri)
        self.new: Counter[str] = Counter()
        self._timeout = timeout
        self._experiments: dict[str, str] = {}
        self._runs: dict[tuple[str, str], _Known] = {}

    def send(self, events: Sequence[Event]) -> list[str]:
        """Bring the server up to these events; return what it could not take, in words."""
        problems: list[str] = []
        with _limits(self._timeout):
            for (sweep, cell), group in by_run(events).items():
                known = self._run(sweep, cell, group[0].time_ms)
                problems += [f"{sweep}/{cell}: {p}" for p in self._send_run(known, group)]
        return problems

    def _send_run(self, known: _Known, events: Sequence[Event]) -> list[str]:
        problems = self._log(known, "tags", _tags(events))
        problems += self._log_params(known, events)
        problems += self._log(known, "metrics", _new_metrics(known, events))
        problems += self._artifacts(known, events)
        ends = [event for event in events if event.kind == "status"]
        if ends:
            self._set_status(known.run_id, ends[-1])
        return problems

    def _log(self, known: _Known, kind: str, items: Sequence[Any]) -> list[str]:
        """Log in batches of MLflow's limits; what the server refuses is reported, not raised."""
        from mlflow.exceptions import RestException

        size = PER_BATCH[kind]
        problems = []
        for start in range(0, len(items), size):
            batch: dict[str, Any] = {kind: items[start : start + size]}
            try:
                self._client.log_batch(known.run_id, synchronous=True, **batch)
                self.new[kind] += len(batch[kind])
            except RestException as error:
                problems.append(f"{kind} refused: {error.message}")
        return problems

    def _log_params(self, known: _Known, events: Sequence[Event]) -> list[str]:
        from mlflow.entities import Param

        fresh, problems = [], []
        for key, value in _merged(events, "params"):
            if key not in known.params:
                known.params[key] = value
                fresh.append(Param(key, value))
            elif known.params[key] != value:
                problems.append(f"param {key} is {known.params[key]}, not changed to {value}")
        return problems + self._log(known, "params", fresh)

    def _artifacts(self, known: _Known, events: Sequence[Event]) -> list[str]:
        chosen = {(e.data["path"], e.data["folder"]): e for e in events if e.kind == "artifact"}
        problems = []
        for path, folder in chosen:
            if Path(path).is_file():
                self._client.log_artifact(known.run_id, path, folder or None)
                self.new["artifacts"] += 1
            else:
                problems.append(f"artifact {path} is not there any more")
        return problems

    def _set_status(self, run_id: str, event: Event) -> None:
        status = str(event.data["status"])
        if status == "RUNNING":
            self._client.update_run(run_id, status=status)
        else:
            self._client.set_terminated(run_id, status=status, end_time=event.time_ms)

    def _run(self, sweep: str, cell: str, time_ms: int) -> _Known:
        if (sweep, cell) not in self._runs:
            experiment = self._experiment(sweep)
            tags = {SWEEP_TAG: sweep, CELL_TAG: cell or PARENT_CELL}
            if cell:
                tags[PARENT_TAG] = self._run(sweep, "", time_ms).run_id
            found = self._find(experiment, tags)
            if found is None:
                run = self._client.create_run(experiment, time_ms, tags, cell or sweep)
                self._runs[sweep, cell] = _Known(run.info.run_id)
                self.new["runs"] += 1
            else:
                self._runs[sweep, cell] = self._known(found)
        return self._runs[sweep, cell]

    def _experiment(self, name: str) -> str:
        """Find, bring back or create the experiment of that name."""
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            if found is not None and found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            number = found.experiment_id if found else self._client.create_experiment(name)
            self._experiments[name] = number
        return self._experiments[name]

    def _find(self, experiment: str, tags: Mapping[str, str]) -> Run | None:
        """Find a run by its tags. A hanging server may carry out what its client gave up, and so
        make a run twice: the first stays, below the one parent; the journal has what both held."""
        wanted = " and ".join(f"tags.`{key}` = '{tags[key]}'" for key in (SWEEP_TAG, CELL_TAG))
        runs = self._client.search_runs([experiment], wanted, order_by=["start_time"])
        for twin in runs[1:]:
            self._client.delete_run(twin.info.run_id)
        if not runs:
            return None
        parent = tags.get(PARENT_TAG)
        if parent is not None and runs[0].data.tags.get(PARENT_TAG) != parent:
            self._client.set_tag(runs[0].info.run_id, PARENT_TAG, parent)
        return runs[0]

    def _known(self, run: Run) -> _Known:
        run_id = run.info.run_id
        steps = {
            (key, metric.step)
            for key in run.data.metrics
            for metric in self._client.get_metric_history(run_id, key)
        }
        return _Known(run_id, dict(run.data.params), steps)


def by_run(events: Sequence[Event]) -> dict[tuple[str, str], list[Event]]:
    """Return the events of each run, (sweep, cell) -> events, in order."""
    groups: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        groups.setdefault((event.sweep, event.cell), []).append(event)
    return groups


def _merged(events: Sequence[Event], kind: str) -> list[tuple[str, str]]:
    """Return the (key, value) pairs of all events of a kind, equal ones once, in order."""
    pairs = [(k, str(v)) for e in events if e.kind == kind for k, v in e.data.items()]
    return list(dict.fromkeys(pairs))


def _tags(events: Sequence[Event]) -> list[Any]:
    from mlflow.entities import RunTag

    return [RunTag(key, value) for key, value in dict(_merged(events, "tags")).items()]


def _new_metrics(known: _Known, events: Sequence[Event]) -> list[Any]:
    """Return the metrics whose (key, step) the server has not seen, and remember them."""
    from mlflow.entities import Metric

    fresh = []
    for event in events:
        values: Mapping[str, float] = event.data["values"] if event.kind == "metrics" else {}
        for key, value in values.items():
            if (key, event.data["step"]) not in known.steps:
                known.steps.add((key, event.data["step"]))
                fresh.append(Metric(key, value, event.time_ms, event.data["step"]))
    return fresh


def _limits(timeout: int) -> AbstractContextManager[None]:
    """Set mlflow's client limits for one call; by default a dead server blocks it for minutes."""
    hosts = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1", "localhost")))
    return environment(
        MLFLOW_HTTP_REQUEST_TIMEOUT=str(timeout),
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
        NO_PROXY=hosts,
        no_proxy=hosts,
    )
