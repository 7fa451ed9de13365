"""HMR behind the interface: iterations, losses, whose gradient goes where, recipe, training."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model_samples import save_prior
from multibodies import fitting, local
from multibodies.checkpoints import load_module, load_prior, load_regressor
from multibodies.config import Config, load_config
from multibodies.core.body import JointBody, load_body
from multibodies.core.joints import H36M_TO_J14
from multibodies.core.metrics import mpjpe
from multibodies.core.regressor import Regressor
from multibodies.core.rotations import rotation_6d_to_matrix
from multibodies.data.embedded import embedded_rows
from multibodies.data.motions import Motions
from multibodies.data.training_rows import LABELS, open_source, read_rows
from multibodies.errors import UserError
from multibodies.inference import Inference
from multibodies.local import fit_local
from multibodies.systems.hmr import HMR, SYSTEM, Judged
from multibodies.training import (
    TrainingState,
    build_objective,
    epoch_batches,
    labels_of,
    make_optimizer,
    train,
)
from training_samples import largest_difference, save_stage1, tiny_config

pytestmark = pytest.mark.slow

ONE: dict[str, Any] = {
    "system.name": "hmr",
    "stage2.num_hypotheses": 1,
    "evaluation.n": [1],
    "hmr.critic_hidden": 16,
    "hmr.bodies": 32,
}
SHIPPED = Path(fitting.__file__).parent / "assets" / "stage1"
WEIGHTS = {"hmr.adversarial": 0.7, "hmr.critic_rate": 5.0}


def _config(changes: dict[str, Any] | None = None) -> Config:
    return tiny_config({**ONE, **(changes or {})})


def _model(stage1: Path, config: Config) -> HMR:
    """Return the network at step 0 with other discriminators' biases than 0."""
    model = SYSTEM.start(load_regressor(stage1), config, load_body())
    for parameter in model.head.critic.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.train()


def _judged(stage1: Path, config: Config) -> tuple[HMR, Judged]:
    model = _model(stage1, config)
    forward = SYSTEM.forward(model, config, load_body())
    assert isinstance(forward, Judged)
    return model, forward.train()


def test_it_starts_as_stage_1_and_its_critic_takes_no_part_in_inference(stage1: Path) -> None:
    plain, images = load_regressor(stage1), torch.rand(2, 3, 32, 32)
    model = _model(stage1, _config()).eval()
    for mine, its in zip(model(images)[:4], plain(images)[:4], strict=True):
        torch.testing.assert_close(mine, its)
    before = model(images).beta
    for parameter in model.head.critic.parameters():
        parameter.data.fill_(float("nan"))
    assert torch.equal(model(images).beta, before)
    assert model(images).extras is None


@pytest.mark.parametrize("feedback", ["all", "mean"])
def test_every_iterations_state_equals_a_loop_over_the_plain_heads_layers(
    stage1: Path, tmp_path: Path, feedback: str
) -> None:
    config = _config({"model.feedback": feedback})
    model = _model(save_stage1(tmp_path / "one", config), config)
    head, features = model.head, torch.randn(3, model.head.fc1.in_features - 157)
    hypotheses = model.from_features(features)
    assert hypotheses.extras is not None
    state = head.init_state.expand(3, -1)
    for t in range(3):
        x = torch.relu(head.fc2(torch.relu(head.fc1(torch.cat([features, state], 1)))))
        state = state + torch.cat(
            [x @ d.weight.T + d.bias for d in (head.decpose, head.decshape, head.deccam)], 1
        )
        rotations = rotation_6d_to_matrix(state[:, :144].unflatten(1, (24, 6)))
        torch.testing.assert_close(hypotheses.extras["rotations"][:, t], rotations)
        torch.testing.assert_close(hypotheses.extras["beta"][:, t], state[:, 144:154])
    torch.testing.assert_close(hypotheses.rotations[:, 0], rotations)
    torch.testing.assert_close(hypotheses.camera[:, 0], state[:, 154:])


def test_terms_equal_naive_loops_and_the_total_their_weighted_sum(rows: Path, stage1: Path) -> None:
    config = _config(WEIGHTS)
    model, forward = _judged(stage1, config)
    batch = read_rows(open_source(rows, "lab-train"))
    hypotheses = forward(batch)
    outcome = SYSTEM.objective(config, load_body(), None)(hypotheses, labels_of(batch))
    eq8 = build_objective(load_body(), config.loss.for_stage1())(hypotheses, labels_of(batch))
    extras = model(batch["image"].permute(0, 3, 1, 2).float() / 255).extras
    assert extras is not None and hypotheses.extras is not None
    judge, real = model.head.critic, hypotheses.extras["real"].tolist()
    for b in range(4):
        fooled, told = 0.0, 0.0
        for t in range(3):
            scores = judge(extras["rotations"][b, t], extras["beta"][b, t]).tolist()
            fooled += sum((d - 1) ** 2 for d in scores) / 3
            told += sum(d**2 for d in scores) / 3 + sum((d - 1) ** 2 for d in real[b][t]) / 3
        assert outcome.terms["adversarial"][b].item() == pytest.approx(fooled, rel=1e-4)
        assert outcome.terms["critic"][b].item() == pytest.approx(told, rel=1e-4)
        expected = eq8.total[b].item() + 0.7 * fooled + told / 5
        assert outcome.total[b].item() == pytest.approx(expected, rel=1e-4)


def test_real_scores_are_those_of_bodies_of_the_bank(stage1: Path) -> None:
    """One body in the bank: every real score is its."""
    model = _model(stage1, _config())
    theta, beta = 0.3 * torch.randn(1, 24, 3), torch.randn(1, 10)
    forward = Judged(model, Motions(theta, beta)).train()
    extras = forward({"image": torch.zeros(2, 32, 32, 3, dtype=torch.uint8)}).extras
    assert extras is not None
    rotations = torch.stack([torch.matrix_exp(_cross(v)) for v in theta[0]])
    expected = model.head.critic(rotations, beta[0])
    torch.testing.assert_close(extras["real"], expected.expand(2, 3, 25), rtol=1e-4, atol=1e-5)


def _cross(v: Tensor) -> Tensor:
    x, y, z = v.tolist()
    return torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def _gradients(
    rows: Path, stage1: Path, config: Config, terms: tuple[str, ...]
) -> dict[str, Tensor]:
    """Return the gradients of the weighted sum of some terms, in a graph of their own."""
    torch.manual_seed(0)
    model, forward = _judged(stage1, config)
    batch = read_rows(open_source(rows, "lab-train"))
    objective = SYSTEM.objective(config, load_body(), None)
    torch.manual_seed(1)
    outcome = objective(forward(batch), labels_of(batch))
    chosen = [objective.weights[name] * outcome.terms[name].mean() for name in terms]
    (torch.stack(chosen).sum() if terms else outcome.total.mean()).backward()
    named = model.head.named_parameters()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in named}


def test_neither_players_gradient_reaches_the_other(rows: Path, stage1: Path) -> None:
    config = _config(WEIGHTS)
    both = _gradients(rows, stage1, config, ())
    generator = _gradients(
        rows, stage1, config, ("best", "theta", "beta", "vertices", "rb", "adversarial")
    )
    critic = _gradients(rows, stage1, config, ("critic",))
    without = _gradients(rows, stage1, config, ("best", "theta", "beta", "vertices", "rb"))
    for name, gradient in both.items():
        own, other = (critic, generator) if name.startswith("critic.") else (generator, critic)
        torch.testing.assert_close(gradient, own[name], rtol=1e-4, atol=1e-5)
        assert other[name].abs().max() == 0, name
        assert own[name].abs().max() > 0, name
    assert any((generator[n] - without[n]).abs().max() > 1e-3 for n in ("fc1.weight",))


def test_a_trained_checkpoint_loads_by_itself_and_infers(
    rows: Path, stage1: Path, tmp_path: Path
) -> None:
    weights = fit_local(
        _config(), "stage2", rows, tmp_path / "a", start_from=stage1, progress=False
    )
    model, before = load_regressor(weights), load_module(stage1)[0]
    assert isinstance(model, HMR) and model.spec.system == "hmr"
    after = load_module(weights)[0]
    fresh = SYSTEM.start(load_regressor(stage1), _config(), load_body()).state_dict()
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
    config = _config({"model.dropout": 0.5})
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
        task = fitting.Task(_config(changes), "stage2", rows, tmp_path / "out", stage1)
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


def test_files_of_motions_train_it(rows: Path, stage1: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", poses=0.1 * rng.normal(size=(40, 156)), betas=np.zeros(16))
    config = _config({"hmr.motions": str(tmp_path / "a.npz"), "stage2.steps": 2})
    weights = fit_local(config, "stage2", rows, tmp_path / "a", start_from=stage1, progress=False)
    assert load_module(weights)[1]["recipe"]["system"]["name"] == "hmr"


def test_it_has_one_hypothesis() -> None:
    with pytest.raises(UserError, match=r"system 'hmr' gives one hypothesis"):
        _config({"stage2.num_hypotheses": 3})


def _error_mm(model: Regressor, features: Tensor, truth: Tensor) -> float:
    """Return MPJPE over 14 joints, pelvis-centred."""
    with torch.no_grad():
        found = model.eval().from_features(features)
        joints = JointBody(load_body(), ("h36m17",))(found.rotations[:, 0], found.beta[:, 0])
    centred = [x - x[:, :1] for x in (joints["h36m17"], truth)]
    return 1000 * float(mpjpe(*[x[:, list(H36M_TO_J14)] for x in centred]).mean())


def test_it_overfits_8_images_below_20_mm() -> None:
    """Of the shipped stage 1's features, the adversarial prior on."""
    settings = {"stage2.steps": 250, "stage2.batch_size": 8, "stage2.learning_rate": 1e-3}
    fewer = {"model.dropout": 0.0, "hmr.critic_hidden": 64, "hmr.bodies": 512}
    config, arrays = load_config("embedded", {**ONE, **settings, **fewer}), load_body()
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
