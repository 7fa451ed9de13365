"""SMPL-MDN's network: HMR's head with M poses of one person, and the mixture they are modes of.

Shapes: B image, M mode, F features, H hidden. The modes share root (gamma), shape and camera
(supplement C: {(mu_m, beta, gamma, t)}); mu_m is the logarithm of the head's 6D rotations, so that
the network starts as M copies of stage 1's prediction and ends in rotations like any other.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Generator, Tensor, nn

from multibodies.core.decoders import Decoder, LowRankDecoder, decoder
from multibodies.core.expansion import check_start, grown_feedback
from multibodies.core.heads import StackedHead
from multibodies.core.regressor import Hypotheses, Parts, Regressor, parts_with
from multibodies.core.spec import CAMERA, POSE, SHAPE, RegressorSpec

ROOT = 6  # of a state's numbers: the root's rotation in 6D comes first
LEAST_VARIANCE = 1e-5  # radians^2, a fifth of a degree: a variance that learns stays above


class FixedMixing(nn.Module):
    """The paper's best: alpha_m = 1 / M, and one variance for all modes."""

    def __init__(self, features: int, hidden: int, num_modes: int, variance: float) -> None:
        super().__init__()
        self.num_modes, self.variance = num_modes, variance

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return log alpha and log variance, each [B, M], for features [B, F]."""
        ones = features.new_ones(len(features), self.num_modes)
        return -math.log(self.num_modes) * ones, math.log(self.variance) * ones


class FreeMixing(nn.Module):
    """Weights and variances of the modes are read from the image; they start as FixedMixing's."""

    def __init__(self, features: int, hidden: int, num_modes: int, variance: float) -> None:
        super().__init__()
        self.variance = variance
        self.layers = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 2 * num_modes)
        )
        last = cast(nn.Linear, self.layers[-1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return log alpha and log variance, each [B, M], for features [B, F]."""
        logits, shift = self.layers(features).chunk(2, 1)
        log_variance = (math.log(self.variance) + shift).clamp_min(math.log(LEAST_VARIANCE))
        return logits.log_softmax(1), log_variance


MIXINGS = {"means": FixedMixing, "mixture": FreeMixing}  # by what learns


class MixtureHead(StackedHead):
    """HMR's head that gives M poses of the body below one root, one shape and one camera."""

    def __init__(self, features: int, spec: RegressorSpec) -> None:
        super().__init__(features, spec)
        make = MIXINGS[str(spec.options["learns"])]
        variance = float(spec.options["variance"])
        self.mixing = make(features, spec.hidden, spec.num_hypotheses, variance)

    def add_decoders(self, hidden: int, m: int, rank: int) -> None:
        """Make M decoders of the body's joints, and one of each of the others."""
        self.decroot = decoder(hidden, ROOT, 1, 0)
        self.decpose = decoder(hidden, POSE - ROOT, m, rank)
        self.decshape = decoder(hidden, SHAPE, 1, 0)
        self.deccam = decoder(hidden, CAMERA, 1, 0)

    def decoders(self) -> tuple[Decoder | LowRankDecoder, ...]:
        """Return the decoders, in the order of a state's numbers."""
        return self.decroot, self.decpose, self.decshape, self.deccam

    def _decode(self, x: Tensor) -> Tensor:
        m = self.spec.num_hypotheses
        return torch.cat([part(x).expand(-1, m, -1) for part in self.decoders()], -1)


class MixtureRegressor(Regressor):
    """Hypotheses are the modes mu_m, log_weights log alpha_m; extras has "log_variance" [B, M]."""

    weighs = True
    head: MixtureHead

    def parts(self, spec: RegressorSpec) -> Parts:
        """Make trunk, pooling and head."""
        return parts_with(spec, MixtureHead)

    def from_features(self, features: Tensor, heatmaps: Tensor | None = None) -> Hypotheses:
        """Decode features [B, F] into M modes and their mixture."""
        modes = super().from_features(features, heatmaps)
        log_weights, log_variance = self.head.mixing(features)
        return modes._replace(log_weights=log_weights, extras={"log_variance": log_variance})


def mixture_from(
    stage1: Regressor, spec: RegressorSpec, spread: float, generator: Generator
) -> MixtureRegressor:
    """Make the network that starts as M noisy copies of stage 1's pose, all else as it is.

    The noise is that of `expansion.expand`. Raises ValueError as it does.
    """
    check_start(stage1, spec)
    model = MixtureRegressor(spec)
    state = dict(stage1.state_dict())
    weight, bias = (state.pop(f"head.decpose.{leaf}") for leaf in ("weight", "bias"))
    state |= {"head.decroot.weight": weight[:ROOT], "head.decroot.bias": bias[:ROOT]}
    copies = model.head.decpose.copies(weight[ROOT:], bias[ROOT:], spread, generator)
    state |= {f"head.decpose.{leaf}": tensor for leaf, tensor in copies.items()}
    state["head.fc1.weight"] = grown_feedback(state["head.fc1.weight"], spec)
    model.load_state_dict(model.state_dict() | state)
    return model
