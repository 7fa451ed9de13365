"""Vertices and joints of many bodies, row by row: sparse linear blend skinning in numba.

The same function as `core.body.MeshBody` (the tests hold them together to 1e-5 m), but each row is
summed in a fixed order of its own, so its bytes do not depend on the other rows, the batch size or
the number of threads, which a batched matrix product does not promise. Only non-zero skinning and
corrective weights are visited.

Shapes: B row, V vertex, K joint.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multibodies.data.body_tables import Floats, Index, Ints, Poser
from multibodies.data.jit import jit

Doubles = NDArray[np.float64]


class Bodies(NamedTuple):
    """Posed bodies in the frame of the root rotation, metres: [B, V | 24 | 25 | 17, 3]."""

    vertices: Floats
    j24: Floats
    openpose25: Floats
    h36m17: Floats


def pose_bodies(poser: Poser, theta: Floats, beta: Floats) -> Bodies:
    """Pose bodies by theta [B, 24, 3] (axis-angle) and beta [B, 10]."""
    count, size = len(theta), len(poser.template)
    vertices = np.empty((count, size // 3, 3), np.float32)
    joints = np.empty((count, 66, 3), np.float32)
    feature, points = np.zeros(207, np.float32), np.empty(size, np.float32)
    affine, posed = np.zeros((24, 12), np.float32), np.zeros((24, 3), np.float32)
    local = np.empty((24, 3, 3))
    for row in range(count):
        _rotations(theta[row], local, feature)
        _chain(poser.rest_joints, poser.parents, beta[row], local, affine, posed)
        _shape(poser.template, poser.shape, beta[row], points)
        _correct(*poser.correctives, feature, points)
        _skin(*poser.skinning, affine, points, vertices[row])
        _regress(*poser.regressor, vertices[row], poser.kinematic, posed, joints[row])
    return Bodies(vertices, joints[:, :24], joints[:, 24:49], joints[:, 49:])


@jit
def _rotations(theta: Floats, local: Doubles, feature: Floats) -> None:
    """Rodrigues: local [24, 3, 3] = I + sin(a) K + (1 - cos(a)) K^2; feature [207] = R - I."""
    for j in range(24):
        x, y, z = np.float64(theta[j, 0]), np.float64(theta[j, 1]), np.float64(theta[j, 2])
        angle = np.sqrt(x * x + y * y + z * z)
        scale = 1 / angle if angle > 1e-12 else 0.0
        x, y, z = x * scale, y * scale, z * scale
        s, c, r = np.sin(angle), np.cos(angle), local[j]
        d = 1.0 - c
        r[0, 0], r[0, 1], r[0, 2] = c + d * x * x, d * x * y - s * z, d * x * z + s * y
        r[1, 0], r[1, 1], r[1, 2] = d * x * y + s * z, c + d * y * y, d * y * z - s * x
        r[2, 0], r[2, 1], r[2, 2] = d * x * z - s * y, d * y * z + s * x, c + d * z * z
        if j > 0:
            for k in range(9):
                feature[j * 9 - 9 + k] = r[k // 3, k % 3] - (1.0 if k % 4 == 0 else 0.0)


@jit
def _chain(
    rest_joints: Floats, parents: Ints, beta: Floats, local: Doubles, affine: Floats, posed: Floats
) -> None:
    """Forward kinematics: skinning transforms [24, 12] = [R | t - R rest], joints [24, 3]."""
    rest, place = np.empty((24, 3)), np.empty((24, 3))
    world = np.empty((24, 3, 3))
    for j in range(24):
        parent = parents[j]
        for r in range(3):
            rest[j, r] = rest_joints[j, r, 0]
            for b in range(10):
                rest[j, r] += rest_joints[j, r, b + 1] * beta[b]
        for r in range(3):
            place[j, r] = rest[j, r] if j == 0 else place[parent, r]
            for c in range(3):
                world[j, r, c] = local[j, r, c]
                if j > 0:
                    place[j, r] += world[parent, r, c] * (rest[j, c] - rest[parent, c])
                    world[j, r, c] = world[parent, r, 0] * local[j, 0, c]
                    world[j, r, c] += world[parent, r, 1] * local[j, 1, c]
                    world[j, r, c] += world[parent, r, 2] * local[j, 2, c]
            posed[j, r] = place[j, r]
            shift = place[j, r]
            for c in range(3):
                affine[j, r * 4 + c] = world[j, r, c]
                shift -= world[j, r, c] * rest[j, c]
            affine[j, r * 4 + 3] = shift


@jit
def _shape(template: Floats, shape: Floats, beta: Floats, points: Floats) -> None:
    """Template + shape blend of one body into points [V*3]."""
    for k in range(points.shape[0]):
        points[k] = template[k]
    for b in range(10):
        amount = beta[b]
        for k in range(points.shape[0]):
            points[k] += shape[b, k] * amount


@jit
def _correct(start: Ints, joints: Index, blocks: Floats, feature: Floats, points: Floats) -> None:
    """Add the pose correctives, a block 9 x 3 per vertex and moving joint, to points [V*3]."""
    for v in range(start.shape[0] - 1):
        x, y, z = points[v * 3], points[v * 3 + 1], points[v * 3 + 2]
        for k in range(start[v], start[v + 1]):
            first = joints[k] * np.uint32(9)
            for f in range(9):
                amount = feature[first + np.uint32(f)]
                x += blocks[k, f, 0] * amount
                y += blocks[k, f, 1] * amount
                z += blocks[k, f, 2] * amount
        points[v * 3], points[v * 3 + 1], points[v * 3 + 2] = x, y, z


@jit
def _skin(
    start: Ints, joints: Index, weights: Floats, affine: Floats, points: Floats, vertices: Floats
) -> None:
    """Linear blend skinning of points [V*3] by transforms [24, 12] into vertices [V, 3]."""
    for v in range(vertices.shape[0]):
        x, y, z = points[v * 3], points[v * 3 + 1], points[v * 3 + 2]
        a, b, c = np.float32(0), np.float32(0), np.float32(0)
        for k in range(start[v], start[v + 1]):
            w, t = weights[k], affine[joints[k]]
            a += w * (t[0] * x + t[1] * y + t[2] * z + t[3])
            b += w * (t[4] * x + t[5] * y + t[6] * z + t[7])
            c += w * (t[8] * x + t[9] * y + t[10] * z + t[11])
        vertices[v, 0], vertices[v, 1], vertices[v, 2] = a, b, c


@jit
def _regress(
    start: Ints,
    sources: Index,
    weights: Floats,
    vertices: Floats,
    kinematic: Ints,
    posed: Floats,
    joints: Floats,
) -> None:
    """Joints [66, 3] of one body, j24, openpose25, h36m17: regressed from vertices or kinematic."""
    for k in range(joints.shape[0]):
        for c in range(3):
            total = 0.0
            for e in range(start[k], start[k + 1]):
                total += weights[e] * vertices[sources[e], c]
            joints[k, c] = total
            if k < kinematic.shape[0] and kinematic[k] >= 0:
                joints[k, c] = posed[kinematic[k], c]
