"""`camera.calibration` of MPI-INF-3DHP. Legend: C camera, N row, K joint."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multibodies.data.sources.importer import require_file
from multibodies.data.sources.record import Floats
from multibodies.errors import UserError

LINES = ("name", "sensor", "size", "animated", "intrinsic", "extrinsic", "radial")  # of a camera
MAX_BYTES = 2**20


def read_intrinsics(path: Path) -> dict[int, Floats]:
    """Return camera number -> [3, 3] from a header and 7 lines a camera.

    The extrinsics (world to camera, in mm) are not needed: annot3 is in the camera's frame.
    Raises UserError naming the line that is not as expected.
    """
    require_file(path, "the sequence's camera.calibration, as distributed")
    with path.open("rb") as file:
        content = file.read(MAX_BYTES).decode("latin-1").splitlines()
    while content and not content[-1].strip():
        content.pop()
    if len(content) < 8 or (len(content) - 1) % len(LINES):
        raise UserError(f"{path}: {len(content)} lines, expected a header and 7 lines a camera")
    cameras: dict[int, Floats] = {}
    for first in range(1, len(content), len(LINES)):
        block = [line.split() for line in content[first : first + len(LINES)]]
        for offset, (words, key) in enumerate(zip(block, LINES, strict=True)):
            if words[:1] != [key]:
                found = " ".join(words)[:40]
                raise UserError(
                    f"{path}: line {first + offset + 1}: '{found}', expected '{key} ...'"
                )
        name, matrix = block[0][1:], block[4][1:]
        if len(name) != 1 or not name[0].isdecimal():
            raise UserError(f"{path}: line {first + 1}: expected 'name' and the camera's number")
        cameras[int(name[0])] = _matrix(matrix, f"{path}: line {first + 5}")[:3, :3]
    return cameras


def distances(intrinsics: Floats, joints: Floats, points: Floats) -> Floats:
    """Return the largest distance in pixels, over joints, from points to the projected joints.

    intrinsics [3, 3], joints [N, K, 3] in the camera's frame, points [N, K, 2] -> [N]; infinite
    where a joint is not before the camera, NaN where a label is.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        seen = joints @ intrinsics.T
        apart = np.linalg.norm(seen[..., :2] / seen[..., 2:] - points, axis=-1).max(axis=-1)
        return np.asarray(np.where((joints[..., 2] <= 0).any(axis=-1), np.inf, apart))


def _matrix(words: list[str], where: str) -> Floats:
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        values = np.zeros(0)
    if values.shape != (16,) or not np.isfinite(values).all():
        raise UserError(f"{where}: expected 16 numbers, a 4x4 matrix by rows")
    return values.reshape(4, 4)
