"""The whole road of Table 2 at the smallest size: from nothing as a submitted job, and again here
without work. Stage 1 is the shipped one; test_paper.py's road trains it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ray_head
from multibodies.config import fingerprint
from multibodies.files import sha256
from multibodies.runs import read_record
from multibodies.sweep import Plan, expand, load_sweep, smoke_variant

SWEEPS = sorted((Path(__file__).parents[2] / "sweeps").glob("*.toml"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _plan() -> Plan:
    return expand(smoke_variant(load_sweep(SWEEPS[0].parent / "table2.toml")))


@pytest.fixture(scope="module")
def table2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "table2-smoke"
    options = ["--smoke", "--out", str(run_dir)]
    with ray_head.head() as address:
        done = ray_head.submit(address, ["python", "jobs/sweep.py", "sweeps/table2.toml", *options])
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "succeeded" in done.stdout
    return run_dir


def test_table2_json_has_the_four_rows_of_the_paper(table2: Path) -> None:
    result = json.loads((table2 / "table2.json").read_text())
    assert {"profile", "seeds", "rows", "effects"} <= set(result)
    cells = {(row["lambda_ri"], row["flow_weight"]) for row in result["rows"]}
    assert {(0.0, 0.0), (0.0, 1.0), (0.1, 0.0), (0.1, 1.0)} <= cells
    assert {row["dataset"] for row in result["rows"]} == {"wild", "awild"}
    assert {row["n"] for row in result["rows"]} == {1, 5, 10, 25}
    assert {effect["effect"] for effect in result["effects"]} == {"reprojection", "flow"}
    assert all(
        effect["low"] <= effect["difference_mm"] <= effect["high"] for effect in result["effects"]
    )


def test_rows_are_the_means_of_the_per_image_records(table2: Path) -> None:
    result = json.loads((table2 / "table2.json").read_text())
    records = pd.read_parquet(table2 / "per_image.parquet")
    expected = ["dataset", "image_id", "seed", "lambda_ri", "flow_weight", "n", "mpjpe_mm", "re_mm"]
    assert list(records.columns) == [*expected, "protocol"]
    assert set(records["protocol"]) == {row["protocol"] for row in result["rows"]} == {"embedded@1"}
    for row in result["rows"]:
        mine = records
        for key in ("dataset", "lambda_ri", "flow_weight", "n"):
            mine = mine[mine[key] == row[key]]
        assert row["mpjpe_mm"] == pytest.approx(sum(mine["mpjpe_mm"]) / len(mine))
        assert row["re_mm"] == pytest.approx(sum(mine["re_mm"]) / len(mine))


def test_report_files_are_there_and_self_contained(table2: Path) -> None:
    page = (table2 / "table2.html").read_text()
    assert "data:image/png;base64," in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    text = (table2 / "table2.md").read_text()
    assert "embedded@1: 14 of H36M's 17 joints" in text
    assert "MPJPE-n by what is hidden" in text and "arms_head" in text


def test_cells_are_compared_and_the_parent_run_has_it(table2: Path) -> None:
    facts = json.loads((table2 / "cells.json").read_text())
    assert [axis["key"] for axis in facts["axes"]] == ["loss.ri", "evaluation.flow_weight"]
    assert all(cost["seconds"] >= 0 and cost["parameters"] > 0 for cost in facts["costs"])
    found = json.loads((table2 / "comparison.json").read_text())
    assert all(found[name] for name in ("curves", "effects", "diversity", "costs"))
    names = {path.name for path in (table2 / "mlartifacts").rglob("*.*")}
    figures = ("mpjpe_n", "axis-loss.ri", "axis-evaluation.flow_weight", "diversity", "cost")
    assert names >= {"cells.json", "comparison.json", *(f"{name}.png" for name in figures)}


def test_two_trainings_per_seed_and_one_prior(table2: Path) -> None:
    assert sorted(p.name for p in (table2 / "cells").iterdir()) == ["seed0-ri0", "seed0-ri0.1"]
    assert (table2 / "prior" / "weights" / "weights.safetensors").exists()


@pytest.mark.filterwarnings("ignore:The ``noload``")  # MLflow's own, of SQLAlchemy
def test_mlflow_holds_one_finished_run_per_cell(table2: Path) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{table2 / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("table2-smoke")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    children = {run.info.run_name: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    rows = json.loads((table2 / "table2.json").read_text())["rows"]  # with alpha, chosen on val
    scored = {(row["lambda_ri"], row["flow_weight"]) for row in rows}
    assert set(children) == {f"seed0-ri{ri:g}-flow_weight{alpha:g}" for ri, alpha in scored}
    assert set(children) >= {cell.id for cell in _plan().cells}
    assert len(runs) == len(children) + 1
    assert {run.info.status for run in runs} == {"FINISHED"}
    first = children[_plan().cells[0].id]
    assert first.data.metrics["mpjpe_mm_n05_wild"] > 0
    assert first.data.metrics["gain_percent_n25_wild"] > 0
    assert first.data.tags["protocol"].startswith("wild embedded@1: ")
    history = client.get_metric_history(first.info.run_id, "over_n_mpjpe_mm_wild")
    assert [metric.step for metric in history] == [1, 5, 10, 25]


@pytest.mark.filterwarnings("ignore:The ``noload``")  # MLflow's own, of SQLAlchemy
def test_every_run_says_where_it_comes_from_and_the_winner_is_registered(table2: Path) -> None:
    """Digests are told here by the shards' own bytes; the winner by val's errors, not by test's."""
    import mlflow

    store = f"sqlite:///{table2 / 'mlflow.db'}"
    client = mlflow.MlflowClient(store, registry_uri=store)
    experiment = client.get_experiment_by_name("table2-smoke")
    assert experiment is not None
    uses = {"lab-train": "train", "lab-val": "val", "wild-val": "val", "awild-val": "val"}
    uses |= {"wild-test": "test", "awild-test": "test"}
    for run in client.search_runs([experiment.experiment_id]):
        tags = run.data.tags
        assert tags["ray_submission_id"].startswith("raysubmit_")
        assert tags["ray_job_id"] and tags["git_commit"] and "data_fingerprint" in tags
        assert run.data.params["stage2.steps"]
        assert run.inputs is not None
        given = {one.dataset.name: one for one in run.inputs.dataset_inputs}
        assert {name: one.tags[0].value for name, one in given.items()} == uses
        for name, one in given.items():
            shards = sorted((table2 / "data" / name).glob("*.parquet"))
            assert one.dataset.digest == fingerprint([sha256(path) for path in shards])
            assert json.loads(one.dataset.source)["uri"] == str(table2 / "data" / name)
    told = read_record(table2 / "models.json")
    errors = {}
    for cell in told["cells"]:
        training, _, alpha = cell.partition("-flow_weight")
        val = pd.read_parquet(table2 / "val" / training / "per_image.parquet")
        mine = val[(val["flow_weight"] == float(alpha)) & (val["n"] > 1)]
        errors[cell] = mine["mpjpe_mm"].mean()  # datasets and n have as many images each
    assert told["winner"] == min(errors, key=lambda cell: errors[cell])
    version = client.get_model_version_by_alias("multibodies-table2-smoke", "winner")
    assert version.tags["cell"] == told["winner"]


def test_a_second_run_trains_nothing(table2: Path, ray_local: Any, tracking_uri: str) -> None:
    from multibodies.cluster.sweeps import How, run_sweep

    weights = sorted((table2 / "cells").glob("*/weights/weights.safetensors"))
    before = [path.stat().st_mtime_ns for path in weights]
    text = run_sweep(_plan(), table2, How(tracking_uri=tracking_uri))
    assert "wild" in text
    assert [path.stat().st_mtime_ns for path in weights] == before


def test_a_damaged_shard_is_refused_by_name_before_any_training(
    table2: Path, ray_local: Any
) -> None:
    from multibodies.cluster.sweeps import run_sweep
    from multibodies.errors import UserError

    shard = sorted((table2 / "data" / "wild-test").glob("part-*.parquet"))[0]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    try:
        with pytest.raises(UserError, match=shard.name):
            run_sweep(_plan(), table2)
    finally:
        shard.write_bytes(whole)


ELSEWHERE = ("table2", "table2_paper")  # above, and in test_paper.py


@pytest.mark.drill
@pytest.mark.parametrize(
    "path", [p for p in SWEEPS if p.stem not in ELSEWHERE], ids=lambda path: path.stem
)
def test_every_other_sweep_file_runs_at_smoke_scale(
    path: Path,
    table2: Path,
    ray_local: Any,
    tmp_path: Path,
    tracking_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its data, prior, stage 1, features and trainings of the same settings are Table 2's, and so
    taken from there; its trials run here one by one, since Table 2's have shown that they do under
    Tune.
    """
    import ray.tune

    from multibodies.cluster import sweeps, trainings, trials, tuner
    from multibodies.report import results

    def one_by_one(tasks: list[trials.TrialTask], storage: Path, at_once: int | None) -> list[Any]:
        for task in tasks:
            tuner.trial({"id": task.id}, {task.id: task})
        return []

    monkeypatch.setattr(trainings, "run_trials", one_by_one)
    monkeypatch.setattr(sweeps, "register_winner", lambda *_: None)  # as Table 2's, above
    monkeypatch.setattr(results, "galleries", lambda *_: [])  # also
    monkeypatch.setattr(ray.tune, "report", lambda metrics: None)
    plan = expand(smoke_variant(load_sweep(path)))
    run_dir = tmp_path / plan.name
    how = sweeps.How(tracking_uri=tracking_uri, share=table2.parent)
    sweeps.run_sweep(plan, run_dir, how)
    assert (run_dir / f"{'table1' if plan.sweep.rows else 'table2'}.json").exists()
    taken = {
        path.parent.name for path in run_dir.glob("*/done.json") if "from" in read_record(path)
    }
    assert "data" in taken
    assert any(name.startswith("prior") for name in taken)
