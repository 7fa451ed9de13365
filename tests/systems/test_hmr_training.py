"""Trainings of HMR: whole, killed, with others' motions, on eight images."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributed import HashStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from hmr_samples import ONE, hmr_config
from model_samples import save_prior
from multibodies import fitting, local
from multibodies.checkpoints import load_module, load_prior, load_regressor
from multibodies.config import load_config
from multibodies.core.body import JointBody, load_body
from multibodies.core.joints import H36M_TO_J14
from multibodies.core.metrics import mpjpe
from multibodies.core.regressor import Regressor
from multibodies.data.embedded import embedded_rows
from multibodies.data.training_rows import LABELS, open_source, read_rows
from multibodies.errors import UserError
from multibodies.inference import Inference
from multibodies.local import fit_local
from multibodies.systems.hmr import HMR, SYSTEM
from multibodies.training import (
    TrainingState,
    epoch_batches,
    make_optimizer,
    train,
    train_step,
)
from training_samples import largest_difference, save_stage1

pytestmark = pytest.mark.slow

SHIPPED = Path(fitting.__file__).parent / "assets" / "stage1"


def test_a_trained_checkpoint_loads_by_itself_and_infers(
    rows: Path, stage1: Path, tmp_path: Path
) -> None:
    weights = fit_local(
        hmr_config(), "stage2", rows, tmp_path / "a", start_from=stage1, progress=False
    )
    model, before = load_regressor(weights), load_module(stage1)[0]
    assert isinstance(model, HMR) and model.spec.system == "hmr"
    after = load_module(weights)[0]
    fresh = SYSTEM.start(load_regressor(stage1), hmr_config(), load_body()).state_dict()
    for name, tensor in after.items():
        learns = name.startswith("head.") and name != "head.init_state"
        assert torch.equal(tensor, before.get(name, fresh[name])) != learns, name
    save_prior(tmp_path / "prior")
    found = Inference(model, load_prior(tmp_path / "prior"), load_body())(
        torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    )
    assert found["joints_h36m14"].shape == (2, 1, 14, 3)
    assert all(torch.isfinite(x).all() for x in found.values())


class _Killed(Exception):
    pass


def test_a_killed_training_ends_like_an_undisturbed_one(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout and the choice of real bodies are random: each depends on the step alone."""
    config = hmr_config({"model.dropout": 0.5})
    start = save_stage1(tmp_path / "stage1", config)

    def fit(name: str) -> Path:
        return fit_local(config, "stage2", rows, tmp_path / name, start_from=start, progress=False)

    save = local._save

    def save_and_die(folder: Path, recipe: dict[str, Any], state: TrainingState) -> None:
        save(folder, recipe, state)
        if state.step == 4:
            raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(local, "_save", save_and_die)
        with pytest.raises(_Killed):
            fit("hit")
    assert largest_difference(fit("calm"), fit("hit")) == 0


def test_the_recipe_counts_hmrs_settings_and_the_content_of_motions(
    rows: Path, stage1: Path, tmp_path: Path
) -> None:
    source = open_source(rows, "lab-train")

    def recipe(changes: dict[str, Any]) -> Any:
        task = fitting.Task(hmr_config(changes), "stage2", rows, tmp_path / "out", stage1)
        return fitting.recipe_of(task, source)["system"]

    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", poses=np.ones((40, 156)), betas=np.zeros(16))
    shutil.copy(tmp_path / "a.npz", tmp_path / "c.npz")
    np.savez(tmp_path / "b.npz", poses=np.zeros((40, 156)), betas=np.zeros(16))
    a, b, c = (recipe({"hmr.motions": str(tmp_path / f"{name}.npz")}) for name in "abc")
    assert a == c != b
    assert recipe({})["adversarial"] == 1.0
    assert recipe({"hmr.adversarial": 0.5}) != recipe({}) != a
    with pytest.raises(UserError, match=r"gone\.npz: no such file"):
        recipe({"hmr.motions": "gone.npz"})


@pytest.fixture
def alone() -> Iterator[None]:
    """A process group of this process alone."""
    torch.distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("adversarial", [0.0, 1.0])
@pytest.mark.usefixtures("alone")
def test_a_wrapped_network_learns_as_a_bare_one(
    rows: Path, stage1: Path, adversarial: float
) -> None:
    """Every weight takes part in every step, also those of a critic that nobody listens to."""
    config = hmr_config({"hmr.adversarial": adversarial})
    batch, weights = read_rows(open_source(rows, "lab-train")), []
    objective = SYSTEM.objective(config, load_body(), None)
    for wrap in (DistributedDataParallel, lambda module: module):
        model = SYSTEM.start(load_regressor(stage1), config, load_body())
        optimizer = make_optimizer(model, config.stage2, "head")
        forward = wrap(SYSTEM.forward(model, config, load_body())).train()
        for step in range(3):
            torch.manual_seed(step)
            train_step(forward, objective, optimizer, batch, 0.01)
        weights.append(model.head.state_dict())
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-4, atol=1e-6)


def test_files_of_motions_train_it(rows: Path, stage1: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", poses=0.1 * rng.normal(size=(40, 156)), betas=np.zeros(16))
    config = hmr_config({"hmr.motions": str(tmp_path / "a.npz"), "stage2.steps": 2})
    weights = fit_local(config, "stage2", rows, tmp_path / "a", start_from=stage1, progress=False)
    assert load_module(weights)[1]["recipe"]["system"]["name"] == "hmr"


def test_it_has_one_hypothesis() -> None:
    with pytest.raises(UserError, match=r"system 'hmr' gives one hypothesis"):
        hmr_config({"stage2.num_hypotheses": 3})


def _error_mm(model: Regressor, features: Tensor, truth: Tensor) -> float:
    """Return MPJPE over 14 joints, pelvis-centred."""
    with torch.no_grad():
        found = model.eval().from_features(features)
        joints = JointBody(load_body(), ("h36m17",))(found.rotations[:, 0], found.beta[:, 0])
    centred = [x - x[:, :1] for x in (joints["h36m17"], truth)]
    return 1000 * float(mpjpe(*[x[:, list(H36M_TO_J14)] for x in centred]).mean())


@pytest.mark.drill
def test_it_overfits_8_images_below_20_mm() -> None:
    """Of the shipped stage 1's features, the adversarial prior on."""
    steps = {"stage2.steps": 100, "stage2.learning_rate": 3e-3, "stage2.warmup_steps": 10}
    fewer = {"hmr.critic_hidden": 64, "hmr.bodies": 512, "loss.vertices_sampled": 64}
    settings = {**ONE, **steps, **fewer, "model.dropout": 0.0}
    config, arrays = load_config("embedded", settings), load_body()
    made = embedded_rows("lab-train", 0, 8, config.data, arrays)
    stage1 = load_regressor(SHIPPED)
    with torch.no_grad():
        pixels = torch.from_numpy(made["image"]).permute(0, 3, 1, 2).float() / 255
        features = stage1.pooled(pixels)[0]
    batch = {name: torch.from_numpy(made[name]) for name in LABELS} | {"features": features}
    truth = torch.from_numpy(made["h36m17"]).float()
    before = _error_mm(stage1, features, truth)
    model = SYSTEM.start(stage1, config, arrays)
    train(
        TrainingState(model, make_optimizer(model, config.stage2, "head")),
        SYSTEM.forward(model, config, arrays),
        SYSTEM.objective(config, arrays, None),
        epoch_batches(batch, 8, seed=0),
        config.stage2,
        report=lambda step, means: None,
        save=lambda state: None,
    )
    assert _error_mm(model, features, truth) < 20 < before
