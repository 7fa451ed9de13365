"""What the runs of a sweep carry, without a cluster: datasets, settings, Ray's ids of the job."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from model_samples import save_dataset
from multibodies.cluster.carried import facts_of, first_facts, job_tags
from multibodies.config import fingerprint
from multibodies.environs import JOB_CONFIG, submission_id
from multibodies.files import sha256
from multibodies.sweep import Plan, expand, load_sweep, smoke_variant

SWEEPS = Path(__file__).parents[2] / "sweeps"
SPLITS = {
    **{"lab-train": "train", "wild-train": "train", "lab-val": "val", "wild-val": "val"},
    **{"awild-val": "val", "wild-test": "test", "awild-test": "test", "lab-test": "unused"},
}


@pytest.fixture
def plan() -> Plan:
    return expand(smoke_variant(load_sweep(SWEEPS / "table2.toml")))


def _folder(tmp_path: Path) -> Path:
    save_dataset(tmp_path / "data", {split: [2, 1] for split in SPLITS})
    return tmp_path


@pytest.mark.parametrize("mixed", [False, True])
def test_runs_name_every_split_they_use_by_its_bytes(
    plan: Plan, tmp_path: Path, mixed: bool
) -> None:
    run_dir = _folder(tmp_path)
    if mixed:
        splits = plan.base.splits.model_copy(update={"train": "mix-train"})
        plan = replace(plan, base=plan.base.model_copy(update={"splits": splits}))
    facts = facts_of(plan, run_dir, {"git_commit": "abc"})
    expected = {k: use for k, use in SPLITS.items() if use != "unused"}
    if not mixed:
        del expected["wild-train"]
    for cell in ("", plan.cells[0].id, "chosen later"):
        given = {dataset.name: dataset for dataset in facts(cell).datasets}
        assert {name: dataset.context for name, dataset in given.items()} == expected
        for name, dataset in given.items():
            shards = sorted((run_dir / "data" / name).glob("*.parquet"))
            assert dataset.digest == fingerprint([sha256(path) for path in shards])
            assert (dataset.source, dataset.rows) == (str(run_dir / "data" / name), 3)


def test_runs_carry_their_own_settings_and_seed(plan: Plan, tmp_path: Path) -> None:
    facts = facts_of(plan, _folder(tmp_path), {"git_commit": "abc"})
    for cell in plan.cells:
        found = facts(cell.id)
        assert found.params["loss"]["ri"] == cell.overrides["loss.ri"]
        assert found.tags["seed"] == cell.seed
        assert found.tags["git_commit"] == "abc"
    first = first_facts(plan, "abc")
    assert first.params == facts("").params
    assert first.tags["git_commit"] == "abc"


def test_a_submitted_driver_knows_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(JOB_CONFIG, raising=False)
    assert submission_id() is None
    for told in ("", "{", "[]", '{"metadata": {}}'):
        monkeypatch.setenv(JOB_CONFIG, told)
        assert submission_id() is None
    monkeypatch.setenv(JOB_CONFIG, json.dumps({"metadata": {"job_submission_id": "table2-1"}}))
    assert job_tags()["ray_submission_id"] == "table2-1"
