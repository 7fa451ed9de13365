"""MoSh's fits of SMPL to Human3.6M, where a user has them: pose and shape of every fifth frame.

Legend: N rows of a fit.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from multibodies.core.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from multibodies.data.sources.record import Floats
from multibodies.errors import UserError
from multibodies.pickles import read_pickle

EVERY = 5  # frames a row
EXPECTED = "a MoSh fit of Human3.6M: a dict with 'new_poses' (N, 72) and 'betas' (10)"


class Fits(NamedTuple):
    """theta [N, 24, 3] axis-angle with the root in the camera's frame, beta [10]."""

    theta: Floats
    beta: Floats

    def of(self, frame: int) -> tuple[Floats, Floats] | None:
        """Return theta and beta of a frame; None between the fitted frames, behind the last one,
        and where they are no numbers."""
        row, between = divmod(frame, EVERY)
        if between or row >= len(self.theta) or not np.isfinite(self.theta[row]).all():
            return None
        return self.theta[row], self.beta


def read_fits(path: Path, frames: int) -> Fits:
    """Read the fits of a sequence of that many frames.

    Raises UserError naming the file when it is no fit, or has more rows than one for every fifth
    frame. The pickle is read behind bars.
    """
    return _read(path, path.stat().st_mtime_ns, frames)


@lru_cache(maxsize=4)
def _read(path: Path, _: int, frames: int) -> Fits:
    fields = read_pickle(path, EXPECTED)
    if not isinstance(fields, dict):
        raise UserError(f"{path}: holds a {type(fields).__name__}; expected {EXPECTED}")
    poses = _numbers(fields, "new_poses", path)
    beta = _numbers(fields, "betas", path)
    if poses.ndim != 2 or poses.shape[1] != 72:
        raise UserError(f"{path}: 'new_poses' is {poses.shape}; expected {EXPECTED}")
    if beta.size != 10 or not np.isfinite(beta).all():
        raise UserError(f"{path}: 'betas' is {beta.shape}, expected 10 numbers")
    if len(poses) > frames // EVERY + 2:
        raise UserError(
            f"{path}: {len(poses)} poses for {frames} frames; expected one for every fifth frame"
        )
    return Fits(turned(poses.reshape(-1, 24, 3)), beta.reshape(10))


def turned(theta: Floats) -> Floats:
    """Return theta [N, 24, 3] with each root R as R Rodrigues(pi, 0, 0), as SPIN reads MoSh."""
    half_turn = axis_angle_to_matrix(torch.tensor([np.pi, 0.0, 0.0], dtype=torch.float64))
    roots = axis_angle_to_matrix(torch.from_numpy(theta[:, 0])) @ half_turn
    return np.concatenate([matrix_to_axis_angle(roots).numpy()[:, None], theta[:, 1:]], axis=1)


def _numbers(fields: dict[str, Any], name: str, path: Path) -> Floats:
    if name not in fields:
        raise UserError(
            f"{path}: no '{name}' among {sorted(map(str, fields))}; expected {EXPECTED}"
        )
    try:
        return np.asarray(fields[name], np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{path}: '{name}' holds no numbers; expected {EXPECTED}") from None
