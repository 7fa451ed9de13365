"""HMR's start, smpl_mean_params.npz: where the regressor's iterations begin."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from multibodies.errors import UserError

PARTS: Final = {"pose": 144, "shape": 10, "cam": 3}


def read_mean_params(path: str | Path) -> Tensor:
    """Return `head.init_state`: 144 pose (6D, SPIN's order), 10 shape, 3 camera -> [157] float32.

    Nothing is unpickled. Raises UserError naming the file and the key that is missing, misshapen,
    not numbers or not finite.
    """
    try:
        content = io.BytesIO(Path(path).read_bytes())  # np.load leaves a damaged file open
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); SPIN's data holds smpl_mean_params.npz"
        ) from None
    try:
        with np.load(content, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in PARTS if key in archive}
    except (ValueError, TypeError, zipfile.BadZipFile, zlib.error, EOFError, OSError):
        raise UserError(f"{path}: not an .npz of plain arrays; download it again") from None
    return torch.cat([_part(arrays, key, size, path) for key, size in PARTS.items()])


def _part(arrays: dict[str, np.ndarray], key: str, size: int, path: str | Path) -> Tensor:
    if key not in arrays:
        raise UserError(f"{path}: no array '{key}' (needs {', '.join(PARTS)})")
    array = arrays[key]
    if array.dtype.kind not in "fiu" or array.size != size or max(array.shape) != size:
        found = f"{array.dtype} of shape {array.shape}"
        raise UserError(f"{path}: array '{key}' is {found}, expected {size} numbers")
    values = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).flatten()
    if not bool(torch.isfinite(values).all()):
        raise UserError(f"{path}: array '{key}' holds a NaN or an infinity")
    return values
