"""GraphCMR behind the interface of systems: start, losses, checkpoints, eight images."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model_samples import SIZE, save_prior
from multibodies import fitting
from multibodies.bodies.coarsening import coarsen
from multibodies.bodies.loading import load_body
from multibodies.caching import features_of
from multibodies.checkpoints import load_module, load_prior, load_regressor
from multibodies.config import Config, load_config
from multibodies.core.body import JointBody, MeshBody
from multibodies.core.camera import project
from multibodies.core.joints import FACE_VERTICES, J24_FROM_54
from multibodies.core.objective import Labels
from multibodies.core.regressor import Hypotheses
from multibodies.core.rotations import axis_angle_to_matrix, matrix_to_rotation_6d
from multibodies.data.embedded import embedded_rows
from multibodies.data.training_rows import LABELS
from multibodies.errors import UserError
from multibodies.inference import Inference, j14
from multibodies.local import fit_local
from multibodies.systems.graphcmr import MESH, SYSTEM, GraphObjective
from multibodies.training import (
    TrainingState,
    epoch_batches,
    labels_of,
    make_optimizer,
    train,
)
from training_samples import save_rows, save_stage1, tiny_config

SHIPPED = Path(fitting.__file__).parent / "assets" / "stage1"
B, V = 3, 64
ONE: dict[str, Any] = {
    "system.name": "graphcmr",
    "stage2.num_hypotheses": 1,
    "evaluation.n": [1],
    "graphcmr.vertices": V,
    "graphcmr.channels": 16,
    "graphcmr.blocks": 1,
}


def _config(changes: dict[str, Any] | None = None) -> Config:
    return tiny_config({**ONE, **(changes or {})})


def _labels(has_3d: Tensor, has_smpl: Tensor) -> Labels:
    keypoints = torch.cat([torch.randn(B, 24, 2), (torch.rand(B, 24, 1) > 0.3).float()], -1)
    joints = torch.cat([torch.randn(B, 24, 3), torch.ones(B, 24, 1)], -1)
    return Labels(
        keypoints, joints, 0.3 * torch.randn(B, 24, 3), torch.randn(B, 10), has_3d, has_smpl
    )


def _hypotheses(mesh: Tensor) -> Hypotheses:
    rotations = axis_angle_to_matrix(0.3 * torch.randn(B, 1, 24, 3))
    camera = torch.tensor([0.9, 0.0, 0.0]) + 0.05 * torch.randn(B, 1, 3)
    beta, rotation_6d = torch.randn(B, 1, 10), matrix_to_rotation_6d(rotations)
    return Hypotheses(rotations, beta, camera, rotation_6d, extras={MESH: mesh})


def _joints_of(mesh: Tensor) -> Tensor:
    """Read j24 off upsampled meshes [B, 6890, 3], joint by joint."""
    arrays, joints = load_body(), []
    for source in J24_FROM_54:
        if source < 24:
            joints.append(torch.einsum("v,bvd->bd", arrays.J_regressor[source], mesh))
        elif source < 45:
            joints.append(mesh[:, FACE_VERTICES[source - 24]])
        else:
            joints.append(torch.einsum("v,bvd->bd", arrays.J_regressor_extra[source - 45], mesh))
    return torch.stack(joints, 1)


def _mid(x: Tensor) -> Tensor:
    return x - x[:, 2:4].mean(1, keepdim=True)


def test_the_meshs_losses_equal_naive_ones_on_the_upsampled_mesh() -> None:
    config = _config({"graphcmr.mesh": 2.0, "graphcmr.joints": 3.0, "graphcmr.keypoints": 5.0})
    arrays, coarse = load_body(), coarsen(load_body(), V)
    known = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([1.0, 1.0, 0.0])
    labels, mesh = _labels(*known), arrays.v_template[coarse.kept] + 0.1 * torch.randn(B, V, 3)
    hypotheses, objective = _hypotheses(mesh), SYSTEM.objective(config, arrays, None)
    assert isinstance(objective, GraphObjective)
    outcome = objective(hypotheses, labels)
    truth = MeshBody(arrays)(axis_angle_to_matrix(labels.theta), labels.beta)[:, coarse.kept]
    joints = _joints_of(coarse.upsampling.to_dense().float() @ mesh)
    away = (_mid(joints) - _mid(labels.joints[..., :3])).square().mean((1, 2))
    seen = labels.keypoints[..., 2:]
    off = (project(joints, hypotheses.camera[:, 0]) - labels.keypoints[..., :2]).square() * seen
    expected = {
        "graph_vertices": (mesh - truth).abs().mean((1, 2)) * known[1],
        "graph_joints": away * known[0],
        "graph_keypoints": off.mean((1, 2)),
    }
    for name, value in expected.items():
        torch.testing.assert_close(outcome.terms[name], value, rtol=1e-4, atol=1e-5)
    own = 2 * expected["graph_vertices"] + 3 * expected["graph_joints"]
    whole = objective.eq8(hypotheses, labels).total + own + 5 * expected["graph_keypoints"]
    torch.testing.assert_close(outcome.total, whole, rtol=1e-4, atol=1e-4)
    assert objective.weights["ri"] == 0  # eq. 8 at M = 1
    assert outcome.terms.keys() <= objective.weights.keys()


def test_joints_read_off_a_posed_mesh_are_near_the_bodys() -> None:
    """J_regressor on a posed mesh and the upsampling cost millimetres."""
    arrays, config = load_body(), load_config("embedded", {**ONE, "graphcmr.vertices": 108})
    objective = SYSTEM.objective(config, arrays, None)
    assert isinstance(objective, GraphObjective)
    rotations, beta = axis_angle_to_matrix(0.2 * torch.randn(8, 24, 3)), torch.randn(8, 10)
    mesh = MeshBody(arrays)(rotations, beta)[:, coarsen(arrays, 108).kept]
    truth = JointBody(arrays, ("j24",))(rotations, beta)["j24"]
    assert float((objective.rows @ mesh - truth).norm(dim=-1).mean()) < 0.01


def test_two_hypotheses_are_refused() -> None:
    with pytest.raises(UserError, match="system 'graphcmr' gives one hypothesis"):
        _config({"stage2.num_hypotheses": 2})


@pytest.mark.slow
def test_it_starts_from_stage_1s_trunk_with_a_head_drawn_by_the_seed(tmp_path: Path) -> None:
    stage1 = load_regressor(save_stage1(tmp_path, _config()))
    torch.manual_seed(1)
    first = SYSTEM.start(stage1, _config(), load_body())
    torch.manual_seed(2)
    again = SYSTEM.start(stage1, _config(), load_body())
    other = SYSTEM.start(stage1, _config({"stage2.seed": 1}), load_body())
    mine, its, drawn = (model.state_dict() for model in (first, again, other))
    assert all(torch.equal(mine[name], its[name]) for name in mine)
    for name, tensor in stage1.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(mine[name], tensor)
    assert not torch.equal(mine["head.graph.image.weight"], drawn["head.graph.image.weight"])
    assert torch.equal(mine["head.adjacency"], drawn["head.adjacency"])
    images = torch.rand(2, 3, SIZE, SIZE)
    assert first.train()(images).extras is not None
    assert first.eval()(images).extras is None


@pytest.mark.slow
def test_a_training_killed_goes_on_and_its_checkpoint_infers_without_a_body(
    tmp_path: Path,
) -> None:
    config, rows = _config(), save_rows(tmp_path / "data")
    stage1 = save_stage1(tmp_path / "stage1", config)
    run = partial(fit_local, config, "stage2", rows, start_from=stage1, progress=False)
    whole = run(tmp_path / "whole")

    def stop(step: int, _: dict[str, float]) -> None:
        if step == 4:  # before it is saved
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", on_report=stop)
    cut = run(tmp_path / "cut")
    for name, tensor in load_module(whole)[0].items():
        assert torch.equal(load_module(cut)[0][name], tensor), name
    model = load_regressor(whole)
    assert model.spec.system == "graphcmr"
    save_prior(tmp_path / "prior")
    inference = Inference(model, load_prior(tmp_path / "prior"), load_body())
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    found = inference(torch.from_numpy(images))
    assert found["joints_h36m14"].shape == (2, 1, 14, 3)
    assert all(bool(value.isfinite().all()) for value in found.values())


@pytest.mark.drill
@pytest.mark.slow
def test_it_learns_eight_images_by_heart() -> None:
    """From the shipped stage 1's features to under 20 mm MPJPE."""
    steps = {"stage2.steps": 200, "stage2.learning_rate": 1e-3, "stage2.warmup_steps": 20}
    small = {"graphcmr.vertices": 108, "graphcmr.channels": 32, "graphcmr.blocks": 2}
    config = load_config("embedded", {**ONE, **small, **steps})
    stage1, arrays = load_regressor(SHIPPED), load_body()
    made = embedded_rows("lab-train", 0, 8, config.data, arrays)
    rows = {name: torch.from_numpy(np.asarray(made[name])) for name in LABELS}
    rows["features"] = torch.from_numpy(features_of(stage1, np.asarray(made["image"])))
    model = SYSTEM.start(stage1, config, arrays)
    state = TrainingState(model, make_optimizer(model, config.stage2, "head"))
    forward = SYSTEM.forward(model, config, arrays)
    objective = SYSTEM.objective(config, arrays, None)
    batches = epoch_batches(rows, 8, seed=0)
    train(state, forward, objective, batches, config.stage2, lambda *_: None, lambda _: None)
    body, labels = JointBody(arrays, ("h36m17",)), labels_of(rows)
    with torch.no_grad():
        found = forward(rows)
        ours = j14(body(found.rotations[:, 0], found.beta[:, 0])["h36m17"])
        truth = j14(body(axis_angle_to_matrix(labels.theta), labels.beta)["h36m17"])
    assert 1e3 * float((ours - truth).norm(dim=-1).mean()) < 20
