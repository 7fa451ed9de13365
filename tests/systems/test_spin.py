"""SPIN behind the interface of systems: its training, its fits in checkpoints, eight images."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model_samples import SIZE, save_prior
from multibodies import fitting, local, states
from multibodies.augmenting import augmented
from multibodies.caching import features_of
from multibodies.checkpoints import load_module, load_prior, load_regressor
from multibodies.config import Config, load_config
from multibodies.core.augment import Draws, Ranges
from multibodies.core.best_fits import BestFits
from multibodies.core.body import JointBody, load_body
from multibodies.core.fit_loss import unchanged_pose
from multibodies.core.joints import H36M_TO_J14
from multibodies.core.metrics import mpjpe
from multibodies.core.regressor import Regressor
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.data.embedded import embedded_rows
from multibodies.data.row_keys import keys_of, with_keys
from multibodies.data.training_rows import LABELS, batch_of, open_source
from multibodies.inference import Inference
from multibodies.local import fit_local
from multibodies.systems.spin import SYSTEM
from multibodies.training import Forward, TrainingState, epoch_batches, make_optimizer, train
from training_samples import largest_difference, save_rows, save_stage1, tiny_config

SHIPPED = Path(fitting.__file__).parent / "assets" / "stage1"
ONE: dict[str, Any] = {
    "system.name": "spin",
    "stage2.num_hypotheses": 1,
    "evaluation.n": [1],
    "spin.camera_iterations": 2,
    "spin.body_iterations": 2,
    "spin.threshold": 20000.0,  # random rows: nearly everything is a fit
}


def _config(changes: dict[str, Any] | None = None) -> Config:
    return tiny_config({**ONE, **(changes or {})})


class _Killed(Exception):
    pass


def _kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let a local training die right after the checkpoint of a step."""
    save = local._save

    def save_and_die(folder: Path, recipe: dict[str, Any], state: TrainingState) -> None:
        save(folder, recipe, state)
        if state.step == step:
            raise _Killed

    monkeypatch.setattr(local, "_save", save_and_die)


def _remember(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """Return a list that gets the dictionary at the end of each training."""
    kept: list[dict[str, Tensor]] = []
    save = local._save

    def save_and_look(folder: Path, recipe: dict[str, Any], state: TrainingState) -> None:
        save(folder, recipe, state)
        if state.step == 6:
            kept.append(load_module(folder / states.name_of(6) / states.MEMORY)[0])

    monkeypatch.setattr(local, "_save", save_and_look)
    return kept


@pytest.mark.slow
def test_a_killed_training_ends_with_the_weights_and_the_fits_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = save_rows(tmp_path / "rows", (8, 8))
    config = _config({"model.dropout": 0.5, "spin.every": 2})
    stage1 = save_stage1(tmp_path / "stage1", config)

    def go(out: str) -> Path:
        return fit_local(config, "stage2", rows, tmp_path / out, start_from=stage1, progress=False)

    kept = _remember(monkeypatch)
    calm = go("calm")
    with monkeypatch.context() as patch:
        _kill_at(patch, 4)
        with pytest.raises(_Killed):
            go("hit")
    hit = go("hit")
    assert largest_difference(calm, hit) == 0
    assert len(kept) == 2
    assert len(kept[0]["key"]) == 16
    assert kept[0]["visits"].tolist() == [3] * 16
    assert bool(kept[0]["error"].isfinite().all())
    for name, tensor in kept[0].items():
        assert torch.equal(tensor, kept[1][name]), name


@pytest.mark.slow
def test_a_checkpoint_gives_one_hypothesis_to_inference(tmp_path: Path) -> None:
    rows, config = save_rows(tmp_path / "rows", (8,)), _config({"stage2.steps": 2})
    stage1 = save_stage1(tmp_path / "stage1", config)
    weights = fit_local(config, "stage2", rows, tmp_path / "run", start_from=stage1, progress=False)
    save_prior(tmp_path / "prior")
    model = load_regressor(weights)
    inference = Inference(model, load_prior(tmp_path / "prior"), load_body())
    made = inference(torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8))
    assert {len(value[0]) for value in made.values()} == {1}
    recipe = load_module(weights)[1]["recipe"]
    assert recipe["system"]["name"] == "spin"
    assert recipe["system"]["labels"] == "fits"  # of the embedded profiles


def _eight() -> tuple[Config, Regressor, dict[str, Tensor], Tensor]:
    """Return the shipped stage 1, its features of eight embedded images, and the 14 joints."""
    config = load_config(
        "embedded",
        {
            **ONE,
            "spin.camera_iterations": 2,
            "spin.body_iterations": 3,
            "spin.threshold": 100.0,
            "loss.vertices_sampled": 32,
            "stage2.steps": 80,
            "stage2.batch_size": 8,
            "stage2.warmup_steps": 10,
            "stage2.learning_rate": 1e-3,
        },
    )
    made = embedded_rows("lab-train", 0, 8, config.data, load_body())
    columns = {name: np.asarray(made[name]) for name in ("image_id", *LABELS)}
    stage1 = load_regressor(SHIPPED)
    columns["features"] = features_of(stage1, made["image"])
    joints = torch.from_numpy(made["h36m17"])
    model = SYSTEM.start(stage1, config, load_body())
    return config, model, batch_of(columns, keyed=True), joints


@pytest.mark.drill
@pytest.mark.slow
def test_it_overfits_eight_images() -> None:
    config, model, rows, truth = _eight()
    model.head.drop.p = 0.0
    memory = SYSTEM.memory(config)
    state = TrainingState(model, make_optimizer(model, config.stage2, "head"), memory=memory)
    objective = SYSTEM.objective(config, load_body(), memory)
    body = JointBody(load_body(), ("h36m17",))

    def error() -> float:
        with torch.no_grad():
            found = model.from_features(rows["features"].float())
            joints = body(found.rotations[:, 0], found.beta[:, 0])["h36m17"]
        centred = [(x - x[:, :1])[:, list(H36M_TO_J14)] for x in (joints, truth)]
        return 1000 * float(mpjpe(*centred).mean())

    before = error()
    batches = epoch_batches(rows, 8, seed=0)
    train(state, Forward(model), objective, batches, config.stage2, lambda *_: None, lambda _: None)
    assert isinstance(memory, BestFits)
    kept, visits = memory.recall(rows["key"])
    assert before > 40
    assert error() < 20, error()
    assert visits.tolist() == [80] * 8
    assert float(kept.error.median()) < 25  # 5 pixels


def test_keys_depend_on_the_names_alone() -> None:
    names = ["lab-train-00000001", "lab-train-00000000"]
    keys = keys_of(names)
    assert keys.dtype == np.int64
    digest = hashlib.blake2b(b"lab-train-00000001", digest_size=8).digest()
    assert keys[0] == struct.unpack("<q", digest)[0]
    assert keys_of(names[::-1]).tolist() == keys.tolist()[::-1]
    batch = batch_of({"image_id": np.array(names), "x": np.array([1.0, 0.0])}, keyed=True)
    assert batch["key"].tolist() == keys.tolist()[::-1]
    assert batch["x"].tolist() == [0.0, 1.0]
    rows = {"image_id": np.array(names), "x": np.array([1.0, 0.0])}
    assert "key" not in batch_of(rows)
    streamed = with_keys(rows, keyed=True)  # in no order
    assert (streamed["key"].tolist(), list(streamed)) == (keys.tolist(), ["x", "key"])
    assert list(with_keys(rows, keyed=False)) == ["x"]


def test_rows_with_keys_tell_how_they_were_augmented() -> None:
    batch = {"key": torch.arange(6), "theta": torch.randn(6, 24, 3, dtype=torch.float64)}
    batch["image"] = torch.zeros(6, 8, 8, 3, dtype=torch.uint8)
    ranges = Ranges(flip=0.5, rotation=0.5)
    made = next(augmented(lambda _: iter([batch]), ranges, 8, seed=0)(0))
    assert {"flip", "angle"} <= set(made)
    assert 0 < int(made["flip"].sum()) < 6
    one = torch.ones(6)
    view = Draws(made["flip"], made["angle"], one, one[:, None].expand(6, 3))
    back = axis_angle_to_matrix(unchanged_pose(made["theta"], view))
    torch.testing.assert_close(back, axis_angle_to_matrix(batch["theta"]))
    unkeyed = {name: batch[name] for name in ("theta", "image")}
    assert set(next(augmented(lambda _: iter([unkeyed]), ranges, 8, seed=0)(0))) == set(unkeyed)


def test_only_a_system_that_asks_reads_keys(tmp_path: Path) -> None:
    rows, stage1 = save_rows(tmp_path / "rows", (8,)), tmp_path / "stage1"
    for config, keyed in ((_config(), True), (tiny_config(), False)):
        task = fitting.Task(config, "stage2", rows, tmp_path, stage1)
        assert fitting.open_rows(task).keyed is keyed
    assert not open_source(rows, "lab-train").keyed


def test_motions_count_by_content(tmp_path: Path) -> None:
    poses, path = np.random.default_rng(0).normal(size=(5, 156)), tmp_path / "amass.npz"
    np.savez(path, poses=poses, betas=np.zeros(16))
    config = _config({"spin.motions": str(path)})
    first = SYSTEM.recipe(config)
    np.savez(path, poses=poses + 1, betas=np.zeros(16))
    assert SYSTEM.recipe(config) != first != SYSTEM.recipe(_config())
    np.savez(path, poses=poses, betas=np.zeros(16))
    assert SYSTEM.recipe(config) == first
