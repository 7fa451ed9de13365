"""SPIN (Kolotouros et al., ICCV 2019): regression and SMPLify in one loop. One hypothesis, learnt
from the best fits to its keypoints instead of theta and beta.
"""

from __future__ import annotations

from typing import Any

from multibodies.config import Config
from multibodies.core.best_fits import BestFits
from multibodies.core.body import BodyArrays, JointBody
from multibodies.core.fit_loss import FitLoss, Rules
from multibodies.core.objective import Loss
from multibodies.core.pose_prior import PosePrior
from multibodies.core.smplify import FitSettings, SMPLify
from multibodies.data.motions import identity_of, motions_of
from multibodies.systems.base import System
from multibodies.training import Memory, build_objective

POSES = 2048  # of the motions, to which the prior is fitted


class Spin(System):
    """The plain regressor with another teacher."""

    keyed = True

    def objective(self, config: Config, arrays: BodyArrays, memory: Memory | None) -> Loss:
        """Make eq. 8 for one hypothesis, supervised by the fits in `memory`."""
        assert isinstance(memory, BestFits)
        spin = config.spin
        settings = FitSettings(**{name: getattr(spin, name) for name in FitSettings._fields})
        rules = Rules(**{name: getattr(spin, name) for name in Rules._fields})
        prior = PosePrior(motions_of(config.spin.motions, POSES, config.data).theta)
        smplify = SMPLify(JointBody(arrays, ("j24",)), prior, settings)
        return FitLoss(build_objective(arrays, config.loss.for_stage1()), smplify, memory, rules)

    def memory(self, config: Config) -> Memory:
        """Return an empty dictionary of fits."""
        return BestFits()

    def recipe(self, config: Config) -> dict[str, Any]:
        """Count the motions by content. Raises UserError on bad files."""
        return {"motions": identity_of(config.spin.motions, POSES, config.data)}


SYSTEM = Spin()
