"""Journal events -> an MLflow server, such that sending twice changes nothing; imports mlflow.

A run is found by its tags (sweep, cell) or created; params are set once; a metric's first value at
a step stays. mlflow is imported when a sink is made, not with this module.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multibodies.tracking.journal import Event
from multibodies.tracking.limits import ARTIFACT_SECONDS, limits, probe
from multibodies.tracking.remote_runs import Known, RemoteRuns

CONTEXT_TAG = "mlflow.data.context"  # MLflow's own: what a dataset is used for
PER_BATCH = {"metrics": 1000, "params": 100, "tags": 100}  # MLflow's limits of one log_batch


class Sink:
    """Sends events to one MLflow server. Raises OSError or MlflowException when it cannot.

    new: how many runs, params, metrics, artifacts and inputs the server did not have.
    timeout, artifact_timeout: seconds that one call, or the upload of one file, may wait.
    """

    def __init__(
        self, uri: str, timeout: int = 2, artifact_timeout: int = ARTIFACT_SECONDS
    ) -> None:
        """Probe `uri`, so that a dead server costs a second; then set up."""
        probe(uri)
        with limits(timeout):
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=uri)
        self.new: Counter[str] = Counter()
        self._timeout, self._artifact_timeout = timeout, artifact_timeout
        self._runs = RemoteRuns(self._client, self.new)

    def send(self, events: Sequence[Event]) -> list[str]:
        """Bring the server up to these events; return what it could not take, in words."""
        problems: list[str] = []
        with limits(self._timeout):
            for (sweep, cell), group in by_run(events).items():
                known = self._runs.known(sweep, cell, group[0].time_ms)
                problems += [f"{sweep}/{cell}: {p}" for p in self._send_run(known, group)]
        return problems

    def _send_run(self, known: Known, events: Sequence[Event]) -> list[str]:
        problems = self._log(known, "tags", _tags(events))
        problems += self._log_params(known, events)
        problems += self._log_inputs(known, events)
        problems += self._log(known, "metrics", _new_metrics(known, events))
        problems += self._artifacts(known, events)
        ends = [event for event in events if event.kind == "status"]
        if ends:
            self._set_status(known.run_id, ends[-1])
        return problems

    def _log(self, known: Known, kind: str, items: Sequence[Any]) -> list[str]:
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

    def _log_params(self, known: Known, events: Sequence[Event]) -> list[str]:
        from mlflow.entities import Param

        fresh, problems = [], []
        for key, value in _merged(events, "params"):
            if key not in known.params:
                known.params[key] = value
                fresh.append(Param(key, value))
            elif known.params[key] != value:
                problems.append(f"param {key} is {known.params[key]}, not changed to {value}")
        return problems + self._log(known, "params", fresh)

    def _log_inputs(self, known: Known, events: Sequence[Event]) -> list[str]:
        from mlflow.exceptions import RestException

        fresh = _new_inputs(known, events)
        try:
            if fresh:
                self._client.log_inputs(known.run_id, fresh)
                self.new["inputs"] += len(fresh)
        except RestException as error:
            return [f"inputs refused: {error.message}"]
        return []

    def _artifacts(self, known: Known, events: Sequence[Event]) -> list[str]:
        chosen = {(e.data["path"], e.data["folder"]): e for e in events if e.kind == "artifact"}
        problems = []
        for path, folder in chosen:
            if Path(path).is_file():
                with limits(self._artifact_timeout):
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


def _new_metrics(known: Known, events: Sequence[Event]) -> list[Any]:
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


def _new_inputs(known: Known, events: Sequence[Event]) -> list[Any]:
    """Return the datasets whose (name, digest) the server does not have, and remember them."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    fresh = []
    for data in (event.data for event in events if event.kind == "input"):
        key = (str(data["name"]), str(data["digest"]))
        if key not in known.inputs:
            known.inputs.add(key)
            place = json.dumps({"uri": data["source"]})
            rows = json.dumps({"num_rows": data["rows"]})
            dataset = Dataset(*key, source_type="local", source=place, profile=rows)
            fresh.append(DatasetInput(dataset, [InputTag(CONTEXT_TAG, str(data["context"]))]))
    return fresh
