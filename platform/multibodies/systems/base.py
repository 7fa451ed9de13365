"""What a system is: a network of hypotheses that starts from stage 1, and what it learns by.

Training, inference, scoring, tracking and reports know no system but by this interface.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from multibodies.config import Config
from multibodies.core.body import BodyArrays
from multibodies.core.objective import Loss
from multibodies.core.regressor import Regressor, RegressorSpec
from multibodies.training import Forward, Memory, build_objective, build_stage2


class System:
    """One way from images to hypotheses; what is not overridden is the plain regressor's.

    Whatever a system trains besides the trunk lies within its network's `head`, so that with a
    frozen trunk every system learns from the same cached features.

    keyed: whether it asks for a key of each row, by which it remembers something of it.
    """

    keyed: bool = False

    def network(self, spec: RegressorSpec) -> Regressor:
        """Make the untrained network of a checkpoint's recipe; it takes no body."""
        return Regressor(spec)

    def start(self, stage1: Regressor, config: Config, arrays: BodyArrays) -> Regressor:
        """Make the network at step 0 from the one-hypothesis network of stage 1.

        What is new in it is drawn with stage2.seed: every worker makes the same.
        """
        return build_stage2(stage1, config)

    def forward(self, model: Regressor, config: Config, arrays: BodyArrays) -> nn.Module:
        """Make what maps a batch of rows to Hypotheses while the network trains; DDP wraps it."""
        return Forward(model)

    def objective(self, config: Config, arrays: BodyArrays, memory: Memory | None) -> Loss:
        """Make the loss: (Hypotheses, Labels) -> Outcome."""
        return build_objective(arrays, config.loss)

    def memory(self, config: Config) -> Memory | None:
        """Return what is kept from step to step, empty at step 0, and goes into checkpoints."""
        return None

    def recipe(self, config: Config) -> dict[str, Any]:
        """Return what decides the result besides the settings, such as the content of files."""
        return {}
