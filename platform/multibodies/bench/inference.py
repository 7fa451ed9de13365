"""Inference with ResNet-50 at 224 pixels, M = 100, n = 10: K-means against everything else."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from multibodies.bench import samples
from multibodies.bench.harness import Row, Setting, alternate, faster
from multibodies.core.body import JointBody, load_body
from multibodies.core.prior import PriorSpec, SkeletonPrior, prior_skeletons
from multibodies.core.quantizer import hypothesis_weights, kmeans
from multibodies.core.regressor import Regressor, RegressorSpec


class Inference:
    """Everything but K-means: images [B, 3, S, S] -> joints [B, M, 24, 3], weights [B, M]."""

    def __init__(
        self,
        spec: RegressorSpec,
        prior: PriorSpec,
        device: torch.device,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        torch.manual_seed(0)
        self.dtype = dtype
        self.model = Regressor(spec).to(device).eval()
        self.body = JointBody(load_body()).to(device)
        self.prior = SkeletonPrior(prior).to(device).eval()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return joints and the weights of eq. 2."""
        with torch.autocast(images.device.type, self.dtype, enabled=self.dtype != torch.float32):
            bodies = self.model(images)
        rotations, beta = bodies.rotations.flatten(0, 1), bodies.beta.flatten(0, 1)
        shape = bodies.beta.shape[:2]
        density = self.prior.log_prob(prior_skeletons(self.body, rotations, beta))
        joints = self.body(rotations, beta)["j24"].unflatten(0, shape)
        return joints, hypothesis_weights(density.view(shape), 1.0)


def sizes(quick: bool) -> tuple[RegressorSpec, PriorSpec, int]:
    """Return the paper's network, prior and image side, or tiny ones."""
    if quick:
        return RegressorSpec(trunk="resnet50", width=8, num_hypotheses=12), PriorSpec(2, 16), 32
    return RegressorSpec(trunk="resnet50", num_hypotheses=100), PriorSpec(), 224


def measure(setting: Setting) -> Iterator[Row]:
    """Yield one row: 3 % of the time for K-means is 32 times as much for the rest.

    K-means takes hypotheses and weights as a trained network and prior give them, and searches as
    `predict` does.
    """
    spec, prior, side = sizes(setting.quick)
    images, n = (2, 3) if setting.quick else (16, 10)
    rest = Inference(spec, prior, setting.device)
    pictures = torch.rand(images, 3, side, side, generator=samples.generator()).to(setting.device)
    points = samples.hypotheses(images, spec.num_hypotheses).flatten(2).to(setting.device)
    weights = samples.weights(images, spec.num_hypotheses).to(setting.device)
    roads = {
        "rest": lambda: rest(pictures),
        "kmeans": lambda: kmeans(points, weights, n, restarts=2, rounds=3),
    }
    times = alternate("inference", roads, setting)
    yield faster("inference: all but K-means / K-means", times["rest"], times["kmeans"], 32)
