"""The runs of a server that belong to a sweep's cells: found by their tags or created, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import Run

SWEEP_TAG = "multibodies.sweep"
CELL_TAG = "multibodies.cell"
PARENT_TAG = "mlflow.parentRunId"  # MLflow's own: the UI nests by it
PARENT_CELL = "(sweep)"  # the parent run's value of CELL_TAG; MLflow cannot search for an empty tag


@dataclass
class Known:
    """What the server holds of a run already; inputs by (name, digest)."""

    run_id: str
    params: dict[str, str] = field(default_factory=dict)
    steps: set[tuple[str, int]] = field(default_factory=set)
    inputs: set[tuple[str, str]] = field(default_factory=set)


class RemoteRuns:
    """Finds and creates runs by an MlflowClient. Raises OSError or MlflowException as it does.

    new: counts the runs that were created.
    """

    def __init__(self, client: Any, new: Counter[str]) -> None:
        self._client, self._new = client, new
        self._experiments: dict[str, str] = {}
        self._runs: dict[tuple[str, str], Known] = {}

    def known(self, sweep: str, cell: str, time_ms: int) -> Known:
        """Return a cell's run; "" is the sweep's parent run. One that is created starts then."""
        if (sweep, cell) not in self._runs:
            experiment = self._experiment(sweep)
            tags = {SWEEP_TAG: sweep, CELL_TAG: cell or PARENT_CELL}
            if cell:
                tags[PARENT_TAG] = self.known(sweep, "", time_ms).run_id
            found = self._find(experiment, tags)
            if found is None:
                run = self._client.create_run(experiment, time_ms, tags, cell or sweep)
                self._runs[sweep, cell] = Known(run.info.run_id)
                self._new["runs"] += 1
            else:
                self._runs[sweep, cell] = self._read(found)
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
        run: Run = runs[0]
        parent = tags.get(PARENT_TAG)
        if parent is not None and run.data.tags.get(PARENT_TAG) != parent:
            self._client.set_tag(run.info.run_id, PARENT_TAG, parent)
        return run

    def _read(self, run: Run) -> Known:
        run_id = run.info.run_id
        steps = {
            (key, metric.step)
            for key in run.data.metrics
            for metric in self._client.get_metric_history(run_id, key)
        }
        given = run.inputs.dataset_inputs if run.inputs else []
        inputs = {(one.dataset.name, one.dataset.digest) for one in given}
        return Known(run_id, dict(run.data.params), steps, inputs)
