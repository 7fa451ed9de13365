"""A server held against a journal, which is read here line by line and not by the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def journaled(path: Path) -> dict[str, dict[str, Any]]:
    """Return what the runs of a journal must hold: status, params, tags, metrics by (key, step),
    uses of datasets by (name, digest)."""
    runs: dict[str, dict[str, Any]] = {}
    for line in map(json.loads, path.read_text().splitlines()):
        kinds = ("params", "tags", "metrics", "inputs")
        new: dict[str, Any] = {"status": "", **{kind: {} for kind in kinds}}
        run, data = runs.setdefault(line["cell"] or "(sweep)", new), line["data"]
        if line["kind"] == "status":
            run["status"] = data["status"]
        elif line["kind"] == "metrics":
            for key, value in data["values"].items():
                run["metrics"].setdefault((key, data["step"]), value)
        elif line["kind"] == "input":
            run["inputs"][data["name"], data["digest"]] = data["context"]
        elif line["kind"] in ("params", "tags"):
            run[line["kind"]] |= data
    return runs


def served(uri: str, sweep: str) -> dict[str, dict[str, Any]]:
    """Return the same of a server's experiment. No run and no point may be there twice."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(sweep)
    assert experiment is not None
    found: dict[str, dict[str, Any]] = {}
    for run in client.search_runs([experiment.experiment_id]):
        cell = run.data.tags["multibodies.cell"]
        assert cell not in found, f"two runs of {cell}"
        points = [
            ((key, point.step), point.value)
            for key in run.data.metrics
            for point in client.get_metric_history(run.info.run_id, key)
        ]
        assert len(points) == len(dict(points)), f"a point of {cell} is there twice"
        tags = {k: v for k, v in run.data.tags.items() if not k.startswith(("mlflow.", "multib"))}
        given = run.inputs.dataset_inputs if run.inputs else []
        uses = [((one.dataset.name, one.dataset.digest), one.tags[0].value) for one in given]
        assert len(uses) == len(dict(uses)), f"an input of {cell} is there twice"
        found[cell] = {
            "status": run.info.status,
            "params": run.data.params,
            "tags": tags,
            "metrics": dict(points),
            "inputs": dict(uses),
        }
    return found
