"""SMPL-CVAE (supplement C): a code of the true mesh while it trains, z ~ N(0, I) afterwards.

Shapes: B image, V vertex, Z size of the code. Metres.
"""

from __future__ import annotations

import torch
from torch import nn

from multibodies.config import Config
from multibodies.core.body import BodyArrays, JointBody
from multibodies.core.coded_regressor import CodedRegressor, coded_from
from multibodies.core.cvae import kl_to_standard_normal
from multibodies.core.objective import Labels, Loss, Objective, Outcome
from multibodies.core.regressor import Hypotheses, Regressor, RegressorSpec
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.core.skinning import VertexBody
from multibodies.systems.base import System
from multibodies.systems.recipes import seeded, spec_of
from multibodies.training import Batch, Forward, Memory, build_objective


class CodedForward(Forward):
    """Decodes each image with a code drawn for its true mesh; DDP wraps it."""

    model: CodedRegressor

    def __init__(self, model: CodedRegressor, arrays: BodyArrays, sampled: int) -> None:
        super().__init__(model)
        self.vertices, self.joints = VertexBody(arrays, sampled), JointBody(arrays, ("smpl24",))

    def forward(self, batch: Batch) -> Hypotheses:
        """Map a batch with theta, beta and has_smpl to one hypothesis each."""
        features, heatmaps = self.pooled(batch)
        return self.model.reconstructed(features, self.mesh(batch), batch["has_smpl"], heatmaps)

    @torch.no_grad()
    def mesh(self, batch: Batch) -> torch.Tensor:
        """Pose the labels: vertices [B, V, 3] about the root joint."""
        pose = axis_angle_to_matrix(batch["theta"]), batch["beta"]
        return self.vertices(*pose) - self.joints(*pose)["smpl24"][:, :1]


class CodedObjective(Loss):
    """Eq. 8 of the one prediction, and KL(q(z | V) || N(0, I))."""

    def __init__(self, single: Objective, kl: float) -> None:
        super().__init__()
        self.single = single
        self.weights = single.weights | {"kl": kl}

    def forward(self, hypotheses: Hypotheses, labels: Labels) -> Outcome:
        """Return the total per image."""
        assert hypotheses.extras is not None
        outcome = self.single(hypotheses, labels)
        codes = hypotheses.extras["code_mean"], hypotheses.extras["code_log_variance"]
        kl = kl_to_standard_normal(*codes)
        total = outcome.total + self.weights["kl"] * kl
        return outcome._replace(total=total, terms=outcome.terms | {"kl": kl})


class Cvae(System):
    """One body per image and code; stage 2's settings say how many codes are drawn at test."""

    def network(self, spec: RegressorSpec) -> Regressor:
        """Make the untrained network of a checkpoint's recipe."""
        return CodedRegressor(spec)

    def start(self, stage1: Regressor, config: Config, arrays: BodyArrays) -> Regressor:
        """Make stage 1 with a code beside its features, and a new encoder.

        Raises UserError on a head that it has not.
        """
        size = config.loss.vertices_sampled
        vertices = len(VertexBody(arrays, size).index)
        options = config.cvae.model_dump(include={"code", "hidden"}) | {"vertices": vertices}
        spec = spec_of(config, options)
        with seeded(config) as generator:
            return coded_from(stage1, spec, config.stage2.spread, generator)

    def forward(self, model: Regressor, config: Config, arrays: BodyArrays) -> nn.Module:
        """Make what also reads the true mesh."""
        assert isinstance(model, CodedRegressor)
        return CodedForward(model, arrays, config.loss.vertices_sampled)

    def objective(self, config: Config, arrays: BodyArrays, memory: Memory | None) -> Loss:
        """Make eq. 8 of one prediction and the divergence."""
        return CodedObjective(build_objective(arrays, config.loss.for_stage1()), config.cvae.kl)


SYSTEM = Cvae()
