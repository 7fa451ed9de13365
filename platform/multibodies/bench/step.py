"""A whole training step of eq. 8 at M = 100: meshing the best hypothesis against meshing all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from multibodies.bench import samples
from multibodies.bench.harness import Road, Row, Setting, alternate, faster
from multibodies.bench.memory import leaner
from multibodies.core.body import BodyArrays, JointBody, MeshBody, load_body
from multibodies.core.joints import J24_FROM_54
from multibodies.core.objective import Labels, Objective
from multibodies.core.regressor import Regressor, RegressorSpec
from multibodies.core.skinning import VertexBody

WEIGHTS = {
    **{"ri": 1.0, "best": 25.0, "theta": 1.0, "beta": 0.001, "vertices": 1.0},
    **{"rb": 1.0, "heatmap": 0.0},
}
BATCH, HYPOTHESES, SIDE = 32, 100, 64


class MeshedJoints(nn.Module):
    """The joints of every hypothesis read off its mesh, as the paper's code does."""

    def __init__(self, arrays: BodyArrays) -> None:
        super().__init__()
        self.mesh = MeshBody(arrays)

    def forward(self, rotations: Tensor, beta: Tensor) -> dict[str, Tensor]:
        """Rotations [B, 24, 3, 3], beta [B, 10] -> {"j24": [B, 24, 3]}."""
        return {"j24": self.mesh.joints54(rotations, beta)[:, list(J24_FROM_54)]}


def labels(images: int, device: torch.device) -> Labels:
    """Return full labels of random bodies."""
    draw = samples.generator(3)
    theta, beta = 0.3 * torch.randn(images, 24, 3, generator=draw), torch.randn(images, 10)
    known = torch.ones(images, 24, 1)
    keypoints = torch.cat([torch.rand(images, 24, 2, generator=draw) * 2 - 1, known], 2)
    joints = torch.cat([samples.hypotheses(images, 1)[:, 0], known], 2)
    ones = torch.ones(images)
    return Labels(*(t.to(device) for t in (keypoints, joints, theta, beta, ones, ones)))


def training_road(
    make_joints: Callable[[BodyArrays], nn.Module], feedback: str, setting: Setting
) -> Road:
    """Return a whole step: images to loss, gradients, clipping, Adam."""
    batch, count = (2, 4) if setting.quick else (BATCH, HYPOTHESES)
    arrays = load_body()
    torch.manual_seed(0)
    spec = RegressorSpec(num_hypotheses=count, feedback=feedback)
    if setting.quick:
        spec = replace(spec, width=8, hidden=16)
    model = Regressor(spec).to(setting.device).train()
    vertices = VertexBody(arrays)
    joints: JointBody = make_joints(arrays)  # type: ignore[assignment]  # or what poses as it does
    objective = Objective(joints, vertices, WEIGHTS, "sum").to(setting.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)
    images = torch.rand(batch, 3, SIDE, SIDE, generator=samples.generator()).to(setting.device)
    truth = labels(batch, setting.device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        objective(model(images), truth).total.mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 50.0)
        optimizer.step()

    return step


ROADS: dict[str, Callable[[Setting], Road]] = {
    "all meshed": partial(training_road, MeshedJoints, "all"),
    "best meshed": partial(training_road, JointBody, "all"),
    "all meshed, mean": partial(training_road, MeshedJoints, "mean"),
    "best meshed, mean": partial(training_road, JointBody, "mean"),
}


def measure(setting: Setting) -> Iterator[Row]:
    """Yield speed and memory of the head that reads back every hypothesis, and of the mean's."""
    for name, suffix in (("step", ""), ("step, mean fed back", ", mean")):
        slow, fast = "all meshed" + suffix, "best meshed" + suffix
        roads = {road: ROADS[road](setting) for road in (slow, fast)}
        times = alternate(name, roads, setting)
        yield faster(f"{name}: all meshed / best meshed", times[slow], times[fast], 6)
        del roads
        yield leaner(f"{name}: peak memory", __name__, (slow, fast), 9, setting)
