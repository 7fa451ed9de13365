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
Index = NDArray[np.uint32]  # unsigned: the kernels then skip NumPy's wrap-around of negative indices


class Sparse(NamedTuple):
    """Rows of a sparse matrix: row r has columns[start[r]:start[r+1]] and the values there."""

    start: Ints
    columns: Index
    values: Floats


class Poser(NamedTuple):
    """Tables of one body, ready for the kernel. Coordinate c of vertex v is entry v*3+c."""

    template: Floats  # [V*3]
    shape: Floats  # [10, V*3]
    correctives: Sparse  # [V, 23] joints, each value a block [9, 3]: coordinate per entry of R - I
    skinning: Sparse  # [V, 24]
    rest_joints: Floats  # [24, 3, 11]: template, then 10 shape components
    parents: Ints  # [24]
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
        template.reshape(-1).astype(np.float32),
        np.ascontiguousarray(shapes.reshape(-1, 10).T, np.float32),
        _correctives(body),
        _sparse(body.weights.numpy()),
        rest.astype(np.float32),
        body.parents.numpy().astype(np.int32),
        regressor,
        kinematic,
    )


def pose_bodies(poser: Poser, theta: Floats, beta: Floats) -> Bodies:
    """Pose bodies by theta [B, 24, 3] (axis-angle) and beta [B, 10]."""
    count, size = len(theta), len(poser.template) // 3
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


def _correctives(body: BodyArrays) -> Sparse:
    blocks = body.posedirs.numpy().reshape(-1, 3, 23, 9).transpose(0, 2, 3, 1)  # [V, 23, 9, 3]
    pattern = _sparse(blocks.any(axis=(2, 3)).astype(np.float32))
    vertex = np.repeat(np.arange(len(blocks)), np.diff(pattern.start))
    values = np.ascontiguousarray(blocks[vertex, pattern.columns], np.float32)
    return Sparse(pattern.start, pattern.columns, values)


def _sparse(matrix: NDArray[np.floating]) -> Sparse:
    row, column = np.nonzero(matrix)
    start = np.searchsorted(row, np.arange(len(matrix) + 1)).astype(np.int32)
    return Sparse(start, column.astype(np.uint32), matrix[row, column].astype(np.float32))


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
def _shape(poser: Poser, beta: Floats, points: Floats) -> None:
    """Template + shape blend of one body into points [V*3]."""
    points[:] = poser.template
    for b in range(10):
        points += poser.shape[b] * beta[b]


@jit
def _correct(correctives: Sparse, feature: Floats, points: Floats) -> None:
    """Add the pose correctives, 9 x 3 numbers per vertex and joint that moves it, to points [V*3]."""
    for v in range(len(correctives.start) - 1):
        x, y, z = points[v * 3], points[v * 3 + 1], points[v * 3 + 2]
        for k in range(correctives.start[v], correctives.start[v + 1]):
            joint, block = correctives.columns[k] * np.uint32(9), correctives.values[k]
            for f in range(9):
                amount = feature[joint + np.uint32(f)]
                x += block[f, 0] * amount
                y += block[f, 1] * amount
                z += block[f, 2] * amount
        points[v * 3], points[v * 3 + 1], points[v * 3 + 2] = x, y, z


@jit
def _skin(skinning: Sparse, affine: Floats, points: Floats, vertices: Floats) -> None:
    """Linear blend skinning of points [V*3] by transforms [24, 12] into vertices [V, 3]."""
    for v in range(vertices.shape[0]):
        x, y, z = points[v * 3], points[v * 3 + 1], points[v * 3 + 2]
        a, b, c = np.float32(0), np.float32(0), np.float32(0)
        for k in range(skinning.start[v], skinning.start[v + 1]):
            weight, t = skinning.values[k], affine[skinning.columns[k]]
            a += weight * (t[0] * x + t[1] * y + t[2] * z + t[3])
            b += weight * (t[4] * x + t[5] * y + t[6] * z + t[7])
            c += weight * (t[8] * x + t[9] * y + t[10] * z + t[11])
        vertices[v, 0], vertices[v, 1], vertices[v, 2] = a, b, c


@jit
def _pose(poser: Poser, theta: Floats, beta: Floats, vertices: Floats, joints: Floats) -> None:
    """Pose every row; joints [B, 41, 3] are j24, then h36m17."""
    feature = np.zeros(207, np.float32)
    affine = np.zeros((24, 12), np.float32)
    points = np.empty(len(poser.template), np.float32)
    posed = np.zeros((24, 3), np.float32)
    for row in range(theta.shape[0]):
        _chain(poser, theta[row], beta[row], feature, affine, posed)
        _shape(poser, beta[row], points)
        _correct(poser.correctives, feature, points)
        _skin(poser.skinning, affine, points, vertices[row])
        for k in range(41):
            for c in range(3):
                total = 0.0
                for e in range(poser.regressor.start[k], poser.regressor.start[k + 1]):
                    total += poser.regressor.values[e] * vertices[row, poser.regressor.columns[e], c]
                joints[row, k, c] = total
            if k < 24 and poser.kinematic[k] >= 0:
                joints[row, k] = posed[poser.kinematic[k]]
