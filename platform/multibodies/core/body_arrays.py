"""The arrays of a body model in SMPL's file format, read from an .npz and checked.

Shapes: V vertices, J = 24 kinematic joints, 10 shape components, P = 207 pose features. Metres.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from multibodies.errors import UserError

EMBEDDED_BODY: Final = Path(__file__).parents[1] / "assets" / "body" / "SMPL_FORMAT_NEUTRAL.npz"
NUM_BETAS: Final = 10
NUM_JOINTS: Final = 24
POSE_FEATURES: Final = 9 * (NUM_JOINTS - 1)
REQUIRED: Final = (
    "v_template",
    "shapedirs",
    "posedirs",
    "J_regressor",
    "weights",
    "kintree_table",
    "f",
    "J_regressor_h36m",
    "J_regressor_extra",
)


@dataclass(frozen=True, eq=False)
class BodyArrays:
    """A body in SMPL's format: float32 tensors on the CPU, metres."""

    v_template: Tensor  # [V, 3]
    shapedirs: Tensor  # [V, 3, 10]
    posedirs: Tensor  # [V, 3, 207]
    J_regressor: Tensor  # [24, V]
    weights: Tensor  # [V, 24], rows sum to one
    parents: Tensor  # [24] int64, -1 at the root, parents before children
    faces: Tensor  # [F, 3] int64
    J_regressor_h36m: Tensor  # [17, V]
    J_regressor_extra: Tensor  # [9, V]
    name: str
    sha256: str  # of the file


def load_body(path: str | None = None) -> BodyArrays:
    """Read an .npz of SMPL-format arrays; None is the embedded, licence-free body.

    Nothing is unpickled. Raises UserError naming the file and the missing or misshapen array.
    """
    file = Path(path) if path is not None else EMBEDDED_BODY
    arrays, sha256 = _read(file)
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise UserError(
            f"{file}: no array '{missing[0]}' (needs {', '.join(REQUIRED)}); "
            "SMPL's own file lacks the last two: add SPIN's J_regressor_h36m and J_regressor_extra"
        )
    return checked_body(arrays, name=file.stem, sha256=sha256, where=str(file))


def checked_body(
    arrays: Mapping[str, np.ndarray], *, name: str, sha256: str = "", where: str = "body"
) -> BodyArrays:
    """Do as `body_from_arrays`; raise UserError also on values that would give wrong bodies."""
    body = body_from_arrays(arrays, name=name, sha256=sha256, where=where)
    _check_values(body, where)
    return body


def body_from_arrays(
    arrays: Mapping[str, np.ndarray], *, name: str, sha256: str = "", where: str = "body"
) -> BodyArrays:
    """Convert SMPL's arrays by their file names; of more shape components the first 10 are taken.

    Raises UserError on an array without numbers or of an unexpected shape.
    """
    _check_arrays(arrays, where)
    parents = torch.from_numpy(arrays["kintree_table"][0].astype(np.int64))
    parents[0] = -1  # stored as 2^32 - 1
    return BodyArrays(
        v_template=_float32(arrays["v_template"]),
        shapedirs=_float32(arrays["shapedirs"][..., :NUM_BETAS]),
        posedirs=_float32(arrays["posedirs"]),
        J_regressor=_float32(arrays["J_regressor"]),
        weights=_float32(arrays["weights"]),
        parents=parents,
        faces=torch.from_numpy(arrays["f"].astype(np.int64)),
        J_regressor_h36m=_float32(arrays["J_regressor_h36m"]),
        J_regressor_extra=_float32(arrays["J_regressor_extra"]),
        name=name,
        sha256=sha256,
    )


def _check_arrays(arrays: Mapping[str, np.ndarray], where: str) -> None:
    """Refuse arrays without numbers and arrays of other shapes than SMPL's; None is any size."""
    vertices = arrays["v_template"].shape[0] if arrays["v_template"].ndim else 0
    shapes: dict[str, tuple[int | None, ...]] = {
        "v_template": (vertices, 3),
        "shapedirs": (vertices, 3, None),
        "posedirs": (vertices, 3, POSE_FEATURES),
        "J_regressor": (NUM_JOINTS, vertices),
        "weights": (vertices, NUM_JOINTS),
        "kintree_table": (2, NUM_JOINTS),
        "f": (None, 3),
        "J_regressor_h36m": (17, vertices),
        "J_regressor_extra": (9, vertices),
    }
    for key, shape in shapes.items():
        got = arrays[key].shape
        same = len(got) == len(shape) and all(
            b in (a, None) for a, b in zip(got, shape, strict=True)
        )
        if not same:
            raise UserError(f"{where}: array '{key}' has shape {got}, expected {shape}")
        if arrays[key].dtype.kind not in "fiu":
            raise UserError(f"{where}: array '{key}' holds {arrays[key].dtype}, expected numbers")
    if arrays["shapedirs"].shape[2] < NUM_BETAS or not arrays["f"].size:
        raise UserError(f"{where}: 'shapedirs' needs at least 10 components, 'f' at least one face")


def _read(file: Path) -> tuple[dict[str, np.ndarray], str]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot read the body model: {error.strerror}") from None
    try:
        archive = np.load(io.BytesIO(data), allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is one bare array")
        arrays = {key: archive[key] for key in archive.files}
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, OSError, MemoryError) as error:
        raise UserError(
            f"{file}: not an .npz of plain arrays ({error}); SMPL's own .pkl is not read here: "
            "`multibodies body import FILE` makes an .npz of it"
        ) from None
    return arrays, hashlib.sha256(data).hexdigest()


def _float32(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _check_values(body: BodyArrays, where: str) -> None:
    """Refuse arrays that would give wrong bodies silently."""
    for field in fields(body):
        value = getattr(body, field.name)
        if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
            raise UserError(f"{where}: array '{field.name}' holds a NaN or an infinity")
    for key, rows in (("weights", body.weights), ("J_regressor", body.J_regressor)):
        if bool((rows.sum(1) - 1).abs().max() > 1e-2):
            raise UserError(f"{where}: a row of '{key}' does not sum to one")
    joints = torch.arange(1, NUM_JOINTS)
    if bool(((body.parents[1:] < 0) | (body.parents[1:] >= joints)).any()):
        raise UserError(f"{where}: 'kintree_table' must list every parent before its children")
    if bool((body.faces < 0).any()) or int(body.faces.max()) >= len(body.v_template):
        raise UserError(f"{where}: 'f' names vertices that 'v_template' lacks")
