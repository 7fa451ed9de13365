"""SMPL-CVAE's network: HMR's head reads a code z beside the image; an encoder makes z of a mesh.

Shapes: B image, M draw, F features, Z size of the code, V vertex, H hidden. Metres.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Generator, Tensor

from multibodies.core.cvae import MeshEncoder, reparametrised, without_evidence
from multibodies.core.expansion import AT_ONE, check_start
from multibodies.core.heads import StackedHead
from multibodies.core.regressor import Hypotheses, Parts, Regressor, hypotheses_of, parts_with
from multibodies.core.spec import STATE, RegressorSpec


class CodedHead(StackedHead):
    """One HMR head for features and code, the mesh's encoder, and M codes for testing.

    bank [M, Z] is drawn from N(0, I) once, and saved: inference is a function of the image.
    """

    bank: Tensor

    def __init__(self, features: int, spec: RegressorSpec) -> None:
        size, hidden = (int(spec.options[name]) for name in ("code", "hidden"))
        super().__init__(features + size, replace(spec, num_hypotheses=1, **AT_ONE))
        self.encoder = MeshEncoder(int(spec.options["vertices"]), hidden, size)
        self.register_buffer("bank", torch.zeros(spec.num_hypotheses, size))

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, F] to the states [B, M, 157] of the bank's codes."""
        return self.coded(features, self.bank.expand(len(features), -1, -1))

    def coded(self, features: Tensor, codes: Tensor) -> Tensor:
        """Map features [B, F] and codes [B, M, Z] to states [B, M, 157]."""
        shape = codes.shape[:2]
        joined = torch.cat([features[:, None].expand(*shape, -1), codes], -1).flatten(0, 1)
        return super().forward(joined).view(*shape, STATE)


class CodedRegressor(Regressor):
    """Hypotheses are decoded from the bank's codes, all of one weight."""

    weighs = True
    head: CodedHead

    def parts(self, spec: RegressorSpec) -> Parts:
        """Make trunk, pooling and head."""
        return parts_with(spec, CodedHead)

    def from_features(self, features: Tensor, heatmaps: Tensor | None = None) -> Hypotheses:
        """Decode features [B, F] with each code of the bank into M hypotheses."""
        found, m = super().from_features(features, heatmaps), self.spec.num_hypotheses
        return found._replace(log_weights=torch.full_like(found.beta[..., 0], -math.log(m)))

    def reconstructed(
        self, features: Tensor, vertices: Tensor, known: Tensor, heatmaps: Tensor | None = None
    ) -> Hypotheses:
        """Decode features [B, F] with a code drawn for the true mesh, or, where known [B] is 0,
        from N(0, I), into one hypothesis.

        vertices [B, V, 3], root-centred; extras "code_mean" and "code_log_variance" [B, Z].
        """
        mean, log_variance = self.head.encoder(vertices)
        mean, log_variance = without_evidence(mean, log_variance, known)
        codes = reparametrised(mean, log_variance, torch.randn_like(mean))
        found = hypotheses_of(self.head.coded(features, codes[:, None]), heatmaps)
        return found._replace(extras={"code_mean": mean, "code_log_variance": log_variance})


def coded_from(
    stage1: Regressor, spec: RegressorSpec, spread: float, generator: Generator
) -> CodedRegressor:
    """Make the network that starts as stage 1, but for small weights of the code.

    fc1's new columns are Gaussian noise of `spread` times the standard deviation of its others;
    the bank is drawn after them. Raises ValueError as `expansion.expand`.
    """
    check_start(stage1, spec)
    model = CodedRegressor(spec)
    state = dict(stage1.state_dict())
    features, seen = state["head.fc1.weight"].tensor_split([-STATE], 1)
    bank = model.head.bank
    columns = torch.randn(len(features), bank.shape[1], generator=generator) * features.std()
    state["head.fc1.weight"] = torch.cat([features, spread * columns, seen], 1)
    state["head.bank"] = torch.randn(bank.shape, generator=generator)
    model.load_state_dict(model.state_dict() | state)
    return model
