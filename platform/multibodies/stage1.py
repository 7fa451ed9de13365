"""The converged one-hypothesis HMR that stage 2 starts from (appendix D), in the form in which it
is shipped: half the size, with how it was made and how well it does on val.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from multibodies.bodies.loading import load_body
from multibodies.checkpoints import load_module, load_regressor, save_module
from multibodies.config import Config
from multibodies.core.body import BodyArrays, JointBody
from multibodies.core.joints import H36M_TO_J14
from multibodies.core.metrics import mpjpe
from multibodies.core.regressor import Regressor
from multibodies.data.embedded import embedded_rows
from multibodies.runs import wall_seconds

VAL_ROWS = 512


def ship(weights: Path, out: Path, config: Config, command: str, rows: int = VAL_ROWS) -> float:
    """Write a finished stage 1 to `out` with its matrices in half precision; return MPJPE in mm on
    the first `rows` of `lab-val`, which its meta tells.

    Raises UserError where the weights are missing or damaged.
    """
    state, meta = load_module(weights)
    save_module(out, rounded(state), meta)
    error = validation_error(load_regressor(out), load_body(config.body.path), config, rows)
    about: dict[str, Any] = {
        **meta,
        "command": command,
        "seconds": wall_seconds(weights.parent),
        "images_seen": meta["step"] * config.stage1.batch_size,
        "lab_val_mpjpe_mm": round(error, 2),
        "trained_on": "synthetic images only",
    }
    save_module(out, rounded(state), about)
    return error


def rounded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with its matrices and kernels in half precision."""
    return {k: v.half() if v.is_floating_point() and v.ndim > 1 else v for k, v in state.items()}


@torch.no_grad()
def validation_error(model: Regressor, arrays: BodyArrays, config: Config, rows: int) -> float:
    """Return MPJPE in mm over the first `rows` of `lab-val`, 14 joints, pelvis-centred."""
    made = embedded_rows("lab-val", 0, rows, config.data, arrays)
    body, errors = JointBody(arrays, ("h36m17",)), []
    for start in range(0, rows, 128):
        pixels = torch.from_numpy(np.asarray(made["image"][start : start + 128]))
        predicted = model(pixels.permute(0, 3, 1, 2).float() / 255)
        joints = body(predicted.rotations[:, 0], predicted.beta[:, 0])["h36m17"]
        truth = torch.from_numpy(np.asarray(made["h36m17"][start : start + 128]))
        errors.append(mpjpe(_evaluated(joints), _evaluated(truth)))
    return float(torch.cat(errors).mean()) * 1000


def _evaluated(joints: Tensor) -> Tensor:
    return (joints - joints[:, :1])[:, list(H36M_TO_J14)]
