"""SPIN (Kolotouros et al., ICCV 2019): regression and SMPLify in one loop. One hypothesis, learnt
from the best fits to its keypoints instead of theta and beta.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from multibodies.config import Config
from multibodies.core.best_fits import BestFits
from multibodies.core.body import BodyArrays, JointBody
from multibodies.core.fit_loss import FitLoss, Rules
from multibodies.core.objective import Loss
from multibodies.core.pose_prior import PosePrior
from multibodies.core.smplify import FitSettings, SMPLify
from multibodies.data.draws import draw_rows
from multibodies.data.poses import pose_bank, widen
from multibodies.data.sources.npz.safe_npz import NUMBERS, open_npz
from multibodies.files import sha256
from multibodies.systems.base import System
from multibodies.training import Memory, build_objective

POSES = 2048  # to which the prior is fitted
BODY = 66  # numbers of the root and the 21 joints that SMPL and SMPL+H share
WIDTHS = ((BODY,), (72,), (156,))  # of a row of `poses`: SMPL's body, SMPL, SMPL+H as AMASS


class Spin(System):
    """The plain regressor with another teacher."""

    keyed = True

    def objective(self, config: Config, arrays: BodyArrays, memory: Memory | None) -> Loss:
        """Make eq. 8 for one hypothesis, supervised by the fits in `memory`."""
        assert isinstance(memory, BestFits)
        spin = config.spin
        settings = FitSettings(**{name: getattr(spin, name) for name in FitSettings._fields})
        rules = Rules(**{name: getattr(spin, name) for name in Rules._fields})
        prior = PosePrior(training_poses(config))
        smplify = SMPLify(JointBody(arrays, ("j24",)), prior, settings)
        return FitLoss(build_objective(arrays, config.loss.for_stage1()), smplify, memory, rules)

    def memory(self, config: Config) -> Memory:
        """Return an empty dictionary of fits."""
        return BestFits()

    def recipe(self, config: Config) -> dict[str, Any]:
        """Return the checksum of the file of poses, if one is set."""
        path = config.spin.poses
        return {} if path is None else {"poses": sha256(Path(path))}


def training_poses(config: Config) -> Tensor:
    """Return the poses to which the prior is fitted, theta [N, 24, 3].

    They are those of `spin.poses`, or the embedded training split's, widened as its rows are.
    Raises UserError on a file without `poses` of SMPL's numbers.
    """
    if config.spin.poses is not None:
        return poses_of_file(config.spin.poses)
    bank = pose_bank("lab-train", config.data.lying_share)
    theta, _ = widen(bank, draw_rows(config.data.seed, 0, range(POSES)), 0.0, (0.0, 0.0))
    return torch.from_numpy(theta)


def poses_of_file(path: str) -> Tensor:
    """Read `poses` [N, 66, 72 or 156] of an .npz, axis-angle in radians, every so manieth of them,
    -> theta [N, 24, 3]. The hands of SMPL are straight: AMASS has fingers instead."""
    array = open_npz(path).array("poses").expect(WIDTHS, NUMBERS)
    rows = array.rows(0, array.shape[0]).astype(np.float64)
    chosen = rows[:: max(1, len(rows) // (8 * POSES)), :BODY]
    theta = np.zeros((len(chosen), 72))
    theta[:, :BODY] = chosen
    return torch.from_numpy(theta).unflatten(1, (24, 3))


SYSTEM = Spin()
