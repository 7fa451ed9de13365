"""SPIN's joint regressors, that SMPL's own files lack: .npy files of one matrix each."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from multibodies.errors import UserError

VERTICES: Final = 6890
ROWS: Final = {"J_regressor_h36m": 17, "J_regressor_extra": 9}
OPTIONS: Final = {"J_regressor_h36m": "--regressor-h36m", "J_regressor_extra": "--regressor-extra"}
MAX_BYTES: Final = 16 << 20


def read_regressor(path: Path, name: str) -> NDArray[np.float32]:
    """Read a regressor [17 or 9, 6890].

    Raises UserError naming the file that is missing, no .npy, of another shape or not numbers.
    """
    expected = f"{name}.npy [{ROWS[name]}, {VERTICES}] of SPIN's data folder"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        content = io.BytesIO(path.read_bytes())
        _check_header(content, (ROWS[name], VERTICES))
        content.seek(0)
        matrix = np.load(content, allow_pickle=False).astype(np.float32)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None
    except (ValueError, TypeError, EOFError) as error:
        raise UserError(f"{path}: {error}; expected {expected}") from None
    return matrix


def missing_regressor(path: Path, name: str) -> UserError:
    """Return the error that says which file to fetch, and how to pass it."""
    return UserError(
        f"{path}: no '{name}' in it, as in SMPL's own files; fetch {name}.npy of SPIN's data "
        f"folder (nkolot/SPIN, fetch_data.sh) and give {OPTIONS[name]} FILE"
    )


def _check_header(content: io.BytesIO, shape: tuple[int, int]) -> None:
    """Look at shape and dtype before anything is allocated. Raises ValueError."""
    try:
        version = npy.read_magic(content)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        found, _, dtype = read(content)
    except ValueError:
        raise ValueError("not a whole .npy file") from None
    if found != shape:
        raise ValueError(f"a matrix of shape {found}")
    if dtype.kind not in "fiu":
        raise ValueError(f"holds {dtype}, not numbers")
