"""Inputs of the benchmarks: seeded bodies, sets of hypotheses, weights, labels.

Legend: B image, M hypothesis, N body, K = 24 joint. Metres.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from multibodies.core.body import BodyArrays, JointBody, load_body
from multibodies.core.joints import centre_on_mid_hips
from multibodies.core.rotations import axis_angle_to_matrix

MODES = 6  # of a set of hypotheses


def generator(seed: int = 0) -> torch.Generator:
    """Return a CPU generator: the same numbers on every device."""
    return torch.Generator().manual_seed(seed)


def bodies(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return rotations [N, 24, 3, 3] and betas [N, 10] of plausible spread."""
    draw = generator()
    rotations = axis_angle_to_matrix(0.4 * torch.randn(count, 24, 3, generator=draw))
    return rotations.to(device), torch.randn(count, 10, generator=draw).to(device)


def hypotheses(images: int, count: int) -> Tensor:
    """Return skeletons [B, M, 24, 3] of poses about a few modes per image, as a network gives them.

    Joints differ in how uncertain they are, as visible and hidden ones do.
    """
    draw = generator(1)
    spread = 0.25 * torch.randn(images, 1, 24, 1, generator=draw).abs() + 0.02
    modes = 1.5 * spread * torch.randn(images, MODES, 24, 3, generator=draw)
    mode = torch.randint(0, MODES, (images, count), generator=draw)
    pose = 0.35 * torch.randn(images, 1, 24, 3, generator=draw)
    pose = pose + modes[torch.arange(images)[:, None], mode]
    pose = pose + spread * torch.randn(images, count, 24, 3, generator=draw)
    beta = torch.randn(images, 1, 10, generator=draw)
    beta = beta + 0.3 * torch.randn(images, count, 10, generator=draw)
    body = JointBody(load_body())
    joints = body(axis_angle_to_matrix(pose.flatten(0, 1)), beta.flatten(0, 1))["j24"]
    return centre_on_mid_hips(joints).unflatten(0, (images, count))


def weights(images: int, count: int) -> Tensor:
    """Return softmax weights [B, M] of effective sizes 1 / sum w^2 from 4 to M, evenly in log."""
    logits = torch.randn(images, count, generator=generator(2), dtype=torch.float64)
    least = min(4, count)
    sizes = torch.logspace(0, 1, images, base=0.999 * count / least, dtype=torch.float64)
    low, high = torch.zeros(images, 1).double(), torch.full((images, 1), 100.0).double()
    for _ in range(60):
        middle = (low + high) / 2
        many = 1 / (logits * middle).softmax(1).square().sum(1) > least * sizes
        low = torch.where(many[:, None], middle, low)
        high = torch.where(many[:, None], high, middle)
    return (logits * low).softmax(1).float()


def worst_body() -> BodyArrays:
    """Return the embedded body with a regressor that touches every bone: 17 x 24 = 408 pairs.

    Sixty vertices a row, and at each the weights of all bones above zero.
    """
    arrays = load_body()
    rng = np.random.default_rng(0)
    rows = np.zeros((17, len(arrays.v_template)), np.float32)
    for row in rows:
        row[rng.choice(len(row), 60, replace=False)] = 1 / 60
    skinning = arrays.weights + 1e-3
    skinning = skinning / skinning.sum(1, keepdim=True)
    return replace(arrays, weights=skinning, J_regressor_h36m=torch.from_numpy(rows))
