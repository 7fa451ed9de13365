"""HMR's start of the regression: smpl_mean_params.npz, as HMR and SPIN give it away.

Keys: pose [144] (24 rotations in 6D, columns interleaved as in core/rotations.py), shape [10],
cam [3] (s, tx, ty).
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from multibodies.core.spec import CAMERA, POSE, SHAPE
from multibodies.errors import UserError

SIZES = {"pose": POSE, "shape": SHAPE, "cam": CAMERA}


def read_mean_params(path: str | Path) -> Tensor:
    """Return the state [157] at which the regression starts; nothing is unpickled.

    Raises UserError naming the file, and the key that is missing or of another shape.
    """
    archive = _open(Path(path))
    parts = [torch.from_numpy(_array(archive, key, str(path))) for key in SIZES]
    return torch.cat(parts)


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file. Raises UserError where it cannot be read."""
    return hashlib.sha256(_bytes(Path(path))).hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot read the mean parameters ({error.strerror}); set model.mean_params to "
            "HMR's smpl_mean_params.npz or leave it out"
        ) from None


def _open(path: Path) -> dict[str, np.ndarray]:
    try:
        archive = np.load(io.BytesIO(_bytes(path)), allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is one bare array")
        return {key: archive[key] for key in SIZES if key in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise UserError(
            f"{path}: not an .npz of plain arrays ({error}); give HMR's smpl_mean_params.npz"
        ) from None


def _array(archive: dict[str, np.ndarray], key: str, where: str) -> np.ndarray:
    if key not in archive:
        raise UserError(f"{where}: no array '{key}'; expected {', '.join(SIZES)}")
    array, shape = archive[key], (SIZES[key],)
    if array.shape != shape:
        raise UserError(f"{where}: array '{key}' has shape {array.shape}, expected {shape}")
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise UserError(f"{where}: array '{key}' must hold finite numbers, got {array.dtype}")
    return array.astype(np.float32)
