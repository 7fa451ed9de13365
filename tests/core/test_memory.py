"""The arithmetic of a step's memory against torch's own count of parameters and saved tensors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from multibodies.core.body import JointBody, load_body
from multibodies.core.camera import project
from multibodies.core.losses import reprojection_distance
from multibodies.core.memory import parameters, training_step
from multibodies.core.regressor import Regressor, RegressorSpec

BATCH, SIDE = 4, 64
SPECS = [
    RegressorSpec("resnet18", 16, hidden=64, num_hypotheses=6),
    RegressorSpec("resnet18", 16, hidden=64, num_hypotheses=200, rank=4),
    RegressorSpec("resnet50", 8, hidden=64, num_hypotheses=40, feedback="mean", activation="relu"),
    RegressorSpec("resnet18", 16, hidden=64, num_hypotheses=6, head="layer5"),
    RegressorSpec("resnet50", 8, hidden=64, num_hypotheses=40, head="layer5", dropout=0.0),
]


def saved_bytes(function: Callable[[], object], known: set[int]) -> int:
    """Sum the distinct storages that autograd keeps, but for known ones (weights, tables)."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        function()
    return sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in known)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.trunk}-{s.head}-{s.num_hypotheses}")
def test_activations_are_what_autograd_keeps_within_a_tenth(spec: RegressorSpec) -> None:
    model, body = Regressor(spec).train(), JointBody(load_body(), ("j24",))
    tables = [*model.parameters(), *model.buffers(), *body.buffers()]
    images, keypoints = torch.rand(BATCH, 3, SIDE, SIDE), torch.rand(BATCH, 24, 3)

    def eq5() -> Tensor:
        found = model(images)
        joints = body(found.rotations.flatten(0, 1), found.beta.flatten(0, 1))["j24"]
        points = project(joints.unflatten(0, found.beta.shape[:2]), found.camera)
        return reprojection_distance(points, keypoints).sum()

    measured = saved_bytes(eq5, {t.untyped_storage().data_ptr() for t in tables})
    assert training_step(spec, SIDE, BATCH).activations == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.trunk}-{s.head}-{s.num_hypotheses}")
def test_parameters_gradients_and_moments_are_torchs(spec: RegressorSpec) -> None:
    model = Regressor(spec)
    step = training_step(spec, SIDE, BATCH)
    assert parameters(spec) == sum(p.numel() for p in model.parameters())
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moments = [t for state in optimizer.state.values() for t in state.values() if t.ndim]
    assert step.parameters == step.gradients == sum(p.nbytes for p in model.parameters())
    assert step.moments == pytest.approx(sum(t.nbytes for t in moments), rel=1e-6)
    assert step.total == sum(step)


def test_half_precision_halves_the_maps() -> None:
    spec = RegressorSpec("resnet50", num_hypotheses=200, head="layer5")
    whole, half = (training_step(spec, 224, 64, size).activations for size in (4, 2))
    assert half == pytest.approx(whole / 2, rel=0.02)


def test_other_poolings_are_not_counted() -> None:
    with pytest.raises(ValueError, match="'keypoints'"):
        training_step(RegressorSpec(pooling="keypoints"), 64, 4)
