"""The sparse tables by which `posing` poses a body.

Shapes: V vertex; coordinate c of vertex v is entry v*3+c of a flat array. Index arrays
are unsigned: kernels then skip NumPy's wrap-around of negative indices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multibodies.core.body import BodyArrays
from multibodies.core.joints import (
    FACE_VERTICES,
    FEET_VERTICES,
    FIRST_EXTRA,
    FIRST_FACE,
    J24_FROM_54,
    OPENPOSE25_FROM_54,
)

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Index = NDArray[np.uint32]

FROM_54 = J24_FROM_54 + OPENPOSE25_FROM_54
VERTEX_JOINTS = FACE_VERTICES + FEET_VERTICES


class Sparse(NamedTuple):
    """Rows of a sparse matrix: row r has columns[start[r]:start[r+1]] and the values there."""

    start: Ints
    columns: Index
    values: Floats


class Poser(NamedTuple):
    """Tables of one body."""

    template: Floats  # [V*3]
    shape: Floats  # [10, V*3]
    correctives: Sparse  # [V, 23] joints, each value a block [9, 3]: coordinate per entry of R - I
    skinning: Sparse  # [V, 24]
    rest_joints: Floats  # [24, 3, 11]: template, then 10 shape components
    parents: Ints  # [24]
    regressor: Sparse  # [66, V]: j24's 24 rows and openpose25's (empty where kinematic), h36m's 17
    kinematic: Ints  # [49]: the SMPL joint that a joint of j24 or openpose25 is, or -1


def build_poser(body: BodyArrays) -> Poser:
    """Make the tables from SMPL-format arrays; joints at rest in double precision."""
    template, shapes = body.v_template.numpy(), body.shapedirs.numpy()[..., :10]
    basis = np.concatenate([template[..., None], shapes], axis=-1).astype(np.float64)
    rest = np.einsum("jv,vcs->jcs", body.J_regressor.numpy().astype(np.float64), basis)
    regressor, kinematic = _regressor(body)
    return Poser(
        template.reshape(-1).astype(np.float32),
        np.ascontiguousarray(shapes.reshape(-1, 10).T, np.float32),
        _correctives(body),
        _sparse(body.weights.numpy()),
        rest.astype(np.float32),
        body.parents.numpy().astype(np.int32),
        regressor,
        kinematic,
    )


def _regressor(body: BodyArrays) -> tuple[Sparse, Ints]:
    rows = np.zeros((len(FROM_54) + 17, len(body.v_template)))
    kinematic = np.full(len(FROM_54), -1, np.int32)
    for k, source in enumerate(FROM_54):
        if source < FIRST_FACE:
            kinematic[k] = source
        elif source < FIRST_EXTRA:
            rows[k, VERTEX_JOINTS[source - FIRST_FACE]] = 1.0
        else:
            rows[k] = body.J_regressor_extra[source - FIRST_EXTRA].numpy()
    rows[len(FROM_54) :] = body.J_regressor_h36m.numpy()
    return _sparse(rows), kinematic


def _correctives(body: BodyArrays) -> Sparse:
    blocks = body.posedirs.numpy().reshape(-1, 3, 23, 9).transpose(0, 2, 3, 1)  # [V, 23, 9, 3]
    used: NDArray[np.bool_] = np.asarray(blocks.any(axis=(2, 3)))
    pattern = _sparse(used.astype(np.float32))
    vertex = np.repeat(np.arange(len(blocks)), np.diff(pattern.start))
    values = np.ascontiguousarray(blocks[vertex, pattern.columns], np.float32)
    return Sparse(pattern.start, pattern.columns, values)


def _sparse(matrix: NDArray[np.floating]) -> Sparse:
    row, column = np.nonzero(matrix)
    start = np.searchsorted(row, np.arange(len(matrix) + 1)).astype(np.int32)
    return Sparse(start, column.astype(np.uint32), matrix[row, column].astype(np.float32))
