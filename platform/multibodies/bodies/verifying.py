"""Checks of one body: its bytes, its origin, its arrays, and its joints by two roads.

Legend: B body, K joint. Metres.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from multibodies.bodies.embedded import BODY_SHA256
from multibodies.bodies.naming import find_body
from multibodies.bodies.store import ORIGIN, digest, read_provenance
from multibodies.core.body import BodyArrays, JointBody, MeshBody, load_body
from multibodies.core.body_arrays import EMBEDDED_BODY
from multibodies.core.joints import J24_FROM_54, OPENPOSE25_FROM_54
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.errors import UserError

BOUND: Final = 1e-5  # metres
POSES: Final = 4
SPREAD: Final = 0.5  # radians, of every joint's rotation vector


class Check(NamedTuple):
    """One line: what was looked at, whether it holds, what was found."""

    name: str
    good: bool
    detail: str


def verify_body(body: str) -> Iterator[Check]:
    """Yield the checks of a body by name or file; the last is the first that does not hold.

    Raises UserError where no such body is.
    """
    path = find_body(body)
    if not path.is_file():
        raise UserError(f"{path}: no such body; `multibodies body list` shows those there are")
    try:
        arrays = load_body(str(path))
    except UserError as error:
        yield Check("arrays", False, str(error))
        return
    yield Check("file", True, f"{path}, sha256 {arrays.sha256[:12]}")
    yield _built_in(arrays) if path == EMBEDDED_BODY else _imported(path)
    sizes = f"{len(arrays.v_template)} vertices, {len(arrays.parents)} joints, all finite"
    yield Check("arrays", True, sizes)
    for name, distance in joint_distances(arrays).items():
        detail = f"{distance:.1e} m between joints alone and smplx's mesh, bound {BOUND:.0e}"
        yield Check(name, distance < BOUND, detail)


def joint_distances(arrays: BodyArrays) -> dict[str, float]:
    """Pose random bodies without and with a mesh, and return each set's largest distance."""
    generator = torch.Generator().manual_seed(0)
    turns = SPREAD * torch.randn(POSES, 24, 3, generator=generator)
    beta = torch.randn(POSES, 10, generator=generator)
    rotations = axis_angle_to_matrix(turns)
    with torch.inference_mode():
        expected = _by_mesh(arrays, rotations, beta)
        found = JointBody(arrays, tuple(expected))(rotations, beta)
    return {
        name: float((found[name] - joints).norm(dim=-1).max()) for name, joints in expected.items()
    }


def _by_mesh(arrays: BodyArrays, rotations: Tensor, beta: Tensor) -> dict[str, Tensor]:
    mesh = MeshBody(arrays)
    all54 = mesh.joints54(rotations, beta)
    h36m = torch.einsum("kv,bvd->bkd", arrays.J_regressor_h36m, mesh(rotations, beta))
    return {
        "smpl24": all54[:, :24],
        "j24": all54[:, list(J24_FROM_54)],
        "openpose25": all54[:, list(OPENPOSE25_FROM_54)],
        "h36m17": h36m,
    }


def _built_in(arrays: BodyArrays) -> Check:
    same = arrays.sha256 == BODY_SHA256
    return Check("origin", same, "as built" if same else f"not as built, {BODY_SHA256[:12]}")


def _imported(path: Path) -> Check:
    """Hash the arrays again, and compare with what the import wrote down."""
    told = read_provenance(path)
    if not told:
        return Check("origin", True, "not written down; only an imported body's arrays are hashed")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        found = digest({key: archive[key] for key in archive.files if key != ORIGIN})
    source = f"{told.get('source')}, sha256 {str(told.get('source_sha256'))[:12]}"
    same = found == told.get("arrays_sha256")
    return Check("origin", same, source if same else f"{source}: the arrays are not those imported")
