"""Fitting the prior on a dataset: which bodies, the gate, resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model_samples import save_dataset
from multibodies import priors, runs
from multibodies.checkpoints import load_prior, read_meta
from multibodies.cluster import groups
from multibodies.cluster.prior import fit_prior
from multibodies.config import load_config
from multibodies.core.body import MeshBody, load_body
from multibodies.core.joints import J24_FROM_54
from multibodies.core.prior import PriorSpec
from multibodies.core.prior_fit import Schedule, fit_step, judge, start_fit
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.data.training_rows import open_source, read_rows
from multibodies.errors import UserError
from multibodies.report.prior import CORRUPTIONS
from training_samples import flip_byte

SETTINGS = {
    "prior.couplings": 2,
    "prior.hidden": 8,
    "prior.steps": 6,
    "prior.batch_size": 8,
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    save_dataset(folder, {"lab-train": [16, 16], "lab-val": [8]})
    return folder


def _task(rows: Path, out: Path) -> priors.PriorTask:
    train, val = (open_source(rows, split) for split in ("lab-train", "lab-val"))
    return priors.PriorTask(load_config("smoke", SETTINGS), train, val, out)


def test_skeletons_are_those_of_the_mesh_without_its_root_rotation(rows: Path) -> None:
    batch = read_rows(open_source(rows, "lab-val"))
    found = priors.skeletons_of(batch, load_body())
    theta = batch["theta"].double()
    theta[:, 0] = 0
    mesh = MeshBody(load_body(), dtype=torch.float64)
    joints = mesh.joints54(axis_angle_to_matrix(theta), batch["beta"].double())[
        :, list(J24_FROM_54)
    ]
    expected = joints - joints[:, 2:4].mean(1, keepdim=True)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


def test_rows_without_a_body_are_left_out(rows: Path) -> None:
    batch = read_rows(open_source(rows, "lab-val"))
    whole = priors.skeletons_of(batch, load_body())
    batch["has_smpl"][[1, 4]] = False
    batch["theta"][[1, 4]] = float("nan")
    kept = [0, 2, 3, 5, 6, 7]
    assert torch.equal(priors.skeletons_of(batch, load_body()), whole[kept])


def test_settings_become_metres(rows: Path, tmp_path: Path) -> None:
    task = _task(rows, tmp_path)
    assert task.spec == PriorSpec(couplings=2, hidden=8)
    other = {"architecture": "bernoulli", "dropout": 0.2, "frame": "camera"}
    config = load_config("smoke", {f"prior.{name}": value for name, value in other.items()})
    spec = replace(task, config=config).spec
    assert {name: getattr(spec, name) for name in other} == other
    assert task.spec.noise == pytest.approx(0.020)
    assert task.spec.std_floor == pytest.approx(0.010)
    assert task.schedule == Schedule(6, 8, 1e-3, 0)


def test_corruptions_are_those_of_their_names(rows: Path) -> None:
    batch, body = read_rows(open_source(rows, "lab-val")), load_body()
    batch["has_smpl"][3] = False
    for frame in ("body", "camera"):
        true = priors.skeletons_of(batch, body, frame)
        wrong = priors.corrupted(batch, body, frame)
        assert list(wrong) == list(CORRUPTIONS)
        for name, skeletons in wrong.items():
            assert skeletons.shape == true.shape
            hips = skeletons[:, 2] + skeletons[:, 3]
            torch.testing.assert_close(hips, torch.zeros(7, 3), rtol=0, atol=1e-5)
            assert torch.equal(priors.corrupted(batch, body, frame)[name], skeletons)
        arm = wrong["other_left_arm"]
        moved = (arm != true).any(-1).any(0).nonzero().flatten()
        assert moved.tolist() == [9, 10, 11]
        bones = [((x[:, 3] - x[:, 4]).norm(dim=-1)) for x in (true, wrong["bent_20deg"])]
        torch.testing.assert_close(*bones, rtol=0.15, atol=0)  # bends keep a thigh's length
        off = (wrong["bent_20deg"] - true).norm(dim=-1).mean(0)
        assert float(off[2:4].max()) < 0.03 < float(off[[0, 5, 6, 11]].min())


def test_the_verdict_holds_gate_and_calibration(rows: Path, tmp_path: Path) -> None:
    task, body = _task(rows, tmp_path), load_body()
    batch = read_rows(task.val)
    train = priors.skeletons_of(read_rows(task.train), body)
    val, wrong = priors.skeletons_of(batch, body), priors.corrupted(batch, body, "body")
    model = start_fit(train, task.spec, task.schedule).model
    found = priors.verdict(model, train, val, wrong)
    gate = judge(model, train, val)
    assert {name: found[name] for name in gate} == gate
    with torch.no_grad():
        true = model.log_prob(val)
        for name, numbers in found["calibration"].items():
            bad = model.log_prob(wrong[name])
            pairs = (true[:, None] > bad).float().mean()
            assert numbers["auc"] == pytest.approx(float(pairs), abs=1e-6)
            assert numbers["mean_corrupt"] == pytest.approx(float(bad.mean()), rel=1e-5)


def test_a_dataset_without_bodies_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import model_samples
    from row_samples import sample_rows

    def bodiless(*args: Any, **kwargs: Any) -> dict[str, Any]:
        made = sample_rows(*args, **kwargs)
        made["has_smpl"][:] = False
        return made

    monkeypatch.setattr(model_samples, "sample_rows", bodiless)
    save_dataset(tmp_path / "data", {"lab-train": [4], "lab-val": [4]})
    with pytest.raises(UserError, match=r"lab-train: 0 rows with has_smpl"):
        fit_prior(load_config("smoke", SETTINGS), tmp_path / "data", tmp_path / "run")


def test_a_damaged_shard_is_refused_by_name(tmp_path: Path) -> None:
    save_dataset(tmp_path / "data", {"lab-train": [4], "lab-val": [4]})
    flip_byte(tmp_path / "data" / "lab-val" / "part-00000.parquet")
    with pytest.raises(UserError, match=r"lab-val/part-00000\.parquet: shard is damaged"):
        fit_prior(load_config("smoke", SETTINGS), tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_resumes_to_the_same_weights(rows: Path, tmp_path: Path) -> None:
    task = _task(rows, tmp_path)
    train = priors.skeletons_of(read_rows(task.train), load_body())
    whole = start_fit(train, task.spec, task.schedule)
    for _ in range(3):
        fit_step(whole, train, task.schedule)
    priors.save(tmp_path / "half", whole, task.recipe(), {})
    resumed = start_fit(train, task.spec, task.schedule)
    priors.load(tmp_path / "half", resumed)
    for state in (whole, resumed):
        while state.step < 6:
            fit_step(state, train, task.schedule)
    pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("passed", [True, False])
def test_the_gate_is_recorded_and_a_failure_is_said(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], passed: bool
) -> None:
    task = _task(rows, tmp_path)
    train = priors.skeletons_of(read_rows(task.train), load_body())
    state = start_fit(train, task.spec, task.schedule)
    verdict = {"val_nll": -90.0, "gaussian_val_nll": -80.0 if passed else -100.0, "passed": passed}
    priors.save(tmp_path / "last", state, task.recipe(), verdict)
    priors.conclude(task, tmp_path / "last")
    meta = read_meta(task.weights)
    assert {name: meta[name] for name in verdict} == verdict
    assert ("not below the full-covariance Gaussian" in capsys.readouterr().err) is not passed
    assert runs.finished(tmp_path) is not None


@pytest.mark.slow
@pytest.mark.drill
@pytest.mark.usefixtures("ray_local")
def test_two_workers_fit_what_one_process_fits(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    config = load_config("smoke", SETTINGS)
    weights = fit_prior(config, rows, tmp_path, workers=2, progress=False)
    task = _task(rows, tmp_path)
    train, val = (
        priors.skeletons_of(read_rows(source), load_body()) for source in (task.train, task.val)
    )
    state = start_fit(train, task.spec, task.schedule)
    while state.step < 6:
        fit_step(state, train, task.schedule)
    found = load_prior(weights).state_dict()
    for name, tensor in state.model.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)
    meta, expected = read_meta(weights), judge(state.model, train, val)
    assert meta["passed"] == expected["passed"]
    assert set(meta["calibration"]) == set(CORRUPTIONS)
    assert meta["val_nll"] == pytest.approx(expected["val_nll"], rel=1e-4)
    assert meta["gaussian_val_nll"] == pytest.approx(expected["gaussian_val_nll"], rel=1e-6)
    assert [line["step"] for line in runs.read_journal(tmp_path / runs.JOURNAL)] == [6]
    monkeypatch.setattr(groups, "TorchTrainer", None)  # finished: nothing runs again
    fit_prior(config, rows, tmp_path, progress=False)
    with pytest.raises(UserError, match=r"prior\.steps"):
        fit_prior(load_config("smoke", {**SETTINGS, "prior.steps": 7}), rows, tmp_path)
