"""Vertices and joints of many bodies, row by row: sparse linear blend skinning in numba.

The same function as `core.body.MeshBody` (the tests hold them together to 1e-5 m), but each row is summed in a fixed
order of its own, so its bytes do not depend on the other rows, the batch size or the number of threads,
which a batched matrix product does not promise. Only non-zero skinning and corrective weights are visited.

Shapes: B row, V vertex, K joint.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multibodies.core.body import BodyArrays
from multibodies.core.joints import FACE_VERTICES, FIRST_EXTRA, FIRST_FACE, J24_FROM_54
from multibodies.data.jit import jit

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


class Sparse(NamedTuple):
    """Rows of a sparse matrix: row r has columns[start[r]:start[r+1]] and the values there."""

    start: Ints
    columns: Ints
    values: Floats


class Poser(NamedTuple):
    """Tables of one body, ready for the kernel. Row v*3+c of `correctives` is coordinate c of vertex v."""

    template: Floats
    shape: Floats
    correctives: Sparse
    skinning: Sparse
    rest_joints: Floats  # [24, 3, 11]: template, then 10 shape components
    parents: Ints
    regressor: Sparse  # [41, V]: 24 rows of j24 (empty where kinematic), then 17 of h36m
    kinematic: Ints  # [24]: the SMPL joint that a j24 joint is, or -1


class Bodies(NamedTuple):
    """Posed bodies in the frame of the root rotation, metres: vertices [B, V, 3], j24 [B, 24, 3], h36m17 [B, 17, 3]."""

    vertices: Floats
    j24: Floats
    h36m17: Floats


def build_poser(body: BodyArrays) -> Poser:
    """Make the kernel's tables from SMPL-format arrays."""
    template, shapes = body.v_template.numpy(), body.shapedirs.numpy()[..., :10]
    basis = np.concatenate([template[..., None], shapes], axis=-1).astype(np.float64)
    rest = np.einsum("jv,vcs->jcs", body.J_regressor.numpy().astype(np.float64), basis)
    regressor, kinematic = _regressor(body)
    return Poser(
        np.ascontiguousarray(template, np.float32),
        np.ascontiguousarray(shapes, np.float32),
        _sparse(body.posedirs.numpy().reshape(-1, 207)),
        _sparse(body.weights.numpy()),
        rest.astype(np.float32),
        body.parents.numpy().astype(np.int32),
        regressor,
        kinematic,
    )


def pose_bodies(poser: Poser, theta: Floats, beta: Floats) -> Bodies:
    """Pose bodies by theta [B, 24, 3] (axis-angle) and beta [B, 10]."""
    count, size = len(theta), len(poser.template)
    vertices = np.empty((count, size, 3), np.float32)
    joints = np.empty((count, 41, 3), np.float32)
    _pose(poser, theta, beta, vertices, joints)
    return Bodies(vertices, joints[:, :24], joints[:, 24:])


def _regressor(body: BodyArrays) -> tuple[Sparse, Ints]:
    rows = np.zeros((41, len(body.v_template)))
    kinematic = np.full(24, -1, np.int32)
    for k, source in enumerate(J24_FROM_54):
        if source < FIRST_FACE:
            kinematic[k] = source
        elif source < FIRST_EXTRA:
            rows[k, FACE_VERTICES[source - FIRST_FACE]] = 1.0
        else:
            rows[k] = body.J_regressor_extra[source - FIRST_EXTRA].numpy()
    rows[24:] = body.J_regressor_h36m.numpy()
    return _sparse(rows), kinematic


def _sparse(matrix: NDArray[np.floating]) -> Sparse:
    row, column = np.nonzero(matrix)
    start = np.searchsorted(row, np.arange(len(matrix) + 1)).astype(np.int32)
    return Sparse(start, column.astype(np.int32), matrix[row, column].astype(np.float32))


@jit
def _rotation(x: float, y: float, z: float, out: NDArray[np.float64]) -> None:
    """Rodrigues: out [3, 3] = I + sin(a) K + (1 - cos(a)) K^2 of the axis-angle vector (x, y, z)."""
    angle = np.sqrt(x * x + y * y + z * z)
    if angle < 1e-12:
        out[:] = np.eye(3)
        return
    x, y, z = x / angle, y / angle, z / angle
    s, c = np.sin(angle), np.cos(angle)
    d = 1.0 - c
    out[0, 0], out[0, 1], out[0, 2] = c + d * x * x, d * x * y - s * z, d * x * z + s * y
    out[1, 0], out[1, 1], out[1, 2] = d * x * y + s * z, c + d * y * y, d * y * z - s * x
    out[2, 0], out[2, 1], out[2, 2] = d * x * z - s * y, d * y * z + s * x, c + d * z * z


@jit
def _chain(poser: Poser, theta: Floats, beta: Floats, feature: Floats, affine: Floats, posed: Floats) -> None:
    """Forward kinematics of one body: pose feature [207] = R - I, skinning transforms [24, 12], joints [24, 3]."""
    rest = np.empty((24, 3))
    local = np.empty((24, 3, 3))
    world = np.empty((24, 3, 3))
    place = np.empty((24, 3))
    for j in range(24):
        for c in range(3):
            rest[j, c] = poser.rest_joints[j, c, 0]
            for b in range(10):
                rest[j, c] += poser.rest_joints[j, c, b + 1] * beta[b]
        _rotation(theta[j, 0], theta[j, 1], theta[j, 2], local[j])
        parent = poser.parents[j]
        for r in range(3):
            place[j, r] = rest[j, r]
            for c in range(3):
                world[j, r, c] = local[j, r, c]
                if j > 0:
                    feature[(j - 1) * 9 + r * 3 + c] = local[j, r, c] - (1.0 if r == c else 0.0)
        if j > 0:
            for r in range(3):
                place[j, r] = place[parent, r]
                for c in range(3):
                    place[j, r] += world[parent, r, c] * (rest[j, c] - rest[parent, c])
                    total = 0.0
                    for k in range(3):
                        total += world[parent, r, k] * local[j, k, c]
                    world[j, r, c] = total
        for r in range(3):
            posed[j, r] = place[j, r]
            shift = place[j, r]
            for c in range(3):
                affine[j, r * 4 + c] = world[j, r, c]
                shift -= world[j, r, c] * rest[j, c]
            affine[j, r * 4 + 3] = shift


@jit
def _skin(poser: Poser, beta: Floats, feature: Floats, affine: Floats, vertices: Floats) -> None:
    """Blend shapes, pose correctives and skinning of one body into vertices [V, 3]."""
    point = np.empty(3, np.float32)
    blend = np.empty(12, np.float32)
    for v in range(vertices.shape[0]):
        for c in range(3):
            value = poser.template[v, c]
            for b in range(10):
                value += poser.shape[v, c, b] * beta[b]
            for k in range(poser.correctives.start[v * 3 + c], poser.correctives.start[v * 3 + c + 1]):
                value += poser.correctives.values[k] * feature[poser.correctives.columns[k]]
            point[c] = value
        blend[:] = 0
        for k in range(poser.skinning.start[v], poser.skinning.start[v + 1]):
            weight, joint = poser.skinning.values[k], poser.skinning.columns[k]
            for e in range(12):
                blend[e] += weight * affine[joint, e]
        for c in range(3):
            moved = blend[c * 4] * point[0] + blend[c * 4 + 1] * point[1]
            vertices[v, c] = moved + blend[c * 4 + 2] * point[2] + blend[c * 4 + 3]


@jit
def _pose(poser: Poser, theta: Floats, beta: Floats, vertices: Floats, joints: Floats) -> None:
    """Pose every row; joints [B, 41, 3] are j24, then h36m17."""
    feature = np.zeros(207, np.float32)
    affine = np.zeros((24, 12), np.float32)
    posed = np.zeros((24, 3), np.float32)
    for row in range(theta.shape[0]):
        _chain(poser, theta[row], beta[row], feature, affine, posed)
        _skin(poser, beta[row], feature, affine, vertices[row])
        for k in range(41):
            for c in range(3):
                total = 0.0
                for e in range(poser.regressor.start[k], poser.regressor.start[k + 1]):
                    total += poser.regressor.values[e] * vertices[row, poser.regressor.columns[e], c]
                joints[row, k, c] = total
            if k < 24 and poser.kinematic[k] >= 0:
                joints[row, k] = posed[poser.kinematic[k]]
