"""Stage 8: pose correctives, a ridge fit of what dual-quaternion skinning adds to linear blending.

Q = 700 random poses. Dual quaternions (Kavan et al. 2008) keep the volume at bent joints; the
difference, un-posed, is linear in the rotations of the joints around a vertex to a good degree.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from multibodies.data.build_body.common import PARENTS, Array, Report

POSES: Final = 700
FITTED: Final = 560  # the others tell how much is left
STRENGTH: Final = 0.8  # of the dual quaternions' effect
LARGEST: Final = 0.05  # metres; un-posing blows up where linear blending collapses
RIDGE: Final = 2.0
SPREAD_DEG: Final = (
    0, 45, 45, 18, 55, 55, 18, 25, 25, 18, 20, 20, 25, 18, 18, 20, 50, 50, 55, 55, 35, 35, 8, 8,
)  # fmt: skip


def pose_correctives(template: Array, joints: Array, skin: Array, report: Report) -> Array:
    """posedirs [V, 3, 207] of template [V, 3], rest joints [24, 3] and weights [V, 24]."""
    rng = np.random.default_rng(1)
    features = np.empty((POSES, 207), np.float32)
    offsets = np.empty((POSES, len(template), 3), np.float32)
    for q in range(POSES):
        rotations = _random_pose(rng)
        features[q] = (rotations[1:] - np.eye(3)).ravel()
        offsets[q] = _offsets(rotations, template, joints, skin)
    length = np.linalg.norm(offsets, axis=-1, keepdims=True)
    offsets *= np.minimum(1, LARGEST / np.maximum(length, 1e-9))
    return _fit(features, offsets, skin, report)


def _random_pose(rng: np.random.Generator) -> Array:
    """Rotations [24, 3, 3] with SPREAD_DEG; knees bend backwards and elbows inwards."""
    vectors = rng.normal(size=(24, 3)) * np.radians(np.array(SPREAD_DEG))[:, None]
    angle = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors *= np.minimum(1, 2.3 / np.maximum(angle, 1e-9))
    vectors[0] = 0
    vectors[[4, 5], 1:] *= 0.15
    vectors[[4, 5], 0] = np.abs(vectors[[4, 5], 0]) * 1.3
    vectors[18, 1] = -abs(vectors[18, 1]) * 1.3
    vectors[19, 1] = abs(vectors[19, 1]) * 1.3
    vectors[[18, 19], 2] *= 0.2
    return np.asarray(Rotation.from_rotvec(vectors).as_matrix())


def _offsets(rotations: Array, template: Array, joints: Array, skin: Array) -> Array:
    """What to add to the template so that linear blending comes near dual quaternions: [V, 3]."""
    world = _chain(rotations, joints)
    blend = np.einsum("vj,jab->vab", skin, world)
    linear = np.einsum("vab,vb->va", blend[:, :3, :3], template) + blend[:, :3, 3]
    difference = STRENGTH * (_dual_quaternions(world, template, skin) - linear)
    return np.asarray(np.linalg.solve(blend[:, :3, :3], difference[..., None])[..., 0])


def _chain(rotations: Array, joints: Array) -> Array:
    """Transforms [24, 4, 4] from the rest pose to the pose."""
    world = np.zeros((24, 4, 4))
    for j, parent in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        local[:3, 3] = joints[j] - (joints[parent] if j else 0)
        world[j] = world[parent] @ local if j else local
    world[:, :3, 3] -= np.einsum("jab,jb->ja", world[:, :3, :3], joints)
    return world


def _dual_quaternions(world: Array, template: Array, skin: Array) -> Array:
    """Dual-quaternion skinning of the template: [V, 3]."""
    real = Rotation.from_matrix(world[:, :3, :3]).as_quat()[:, [3, 0, 1, 2]]
    for j in range(1, 24):
        if real[j] @ real[PARENTS[j]] < 0:
            real[j] *= -1
    shift = np.concatenate([np.zeros((24, 1)), world[:, :3, 3]], 1)
    dual = 0.5 * _times(shift, real)
    blended_real, blended_dual = skin @ real, skin @ dual
    norm = np.linalg.norm(blended_real, axis=1, keepdims=True)
    blended_real, blended_dual = blended_real / norm, blended_dual / norm
    moved = 2 * _times(blended_dual, blended_real * [1, -1, -1, -1])[:, 1:]
    return np.asarray(Rotation.from_quat(blended_real[:, [1, 2, 3, 0]]).apply(template) + moved)


def _times(a: Array, b: Array) -> Array:
    """Product of quaternions (w, x, y, z): [..., 4]."""
    a0, a1, a2, a3 = np.moveaxis(a, -1, 0)
    b0, b1, b2, b3 = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            a0 * b0 - a1 * b1 - a2 * b2 - a3 * b3,
            a0 * b1 + a1 * b0 + a2 * b3 - a3 * b2,
            a0 * b2 - a1 * b3 + a2 * b0 + a3 * b1,
            a0 * b3 + a1 * b2 - a2 * b1 + a3 * b0,
        ],
        -1,
    )


def _fit(features: Array, offsets: Array, skin: Array, report: Report) -> Array:
    """Ridge regression, each vertex on the joints that bend around it: posedirs [V, 3, 207]."""
    out = np.zeros((skin.shape[0], 3, 207))
    before = after = 0.0
    for bending, vertices in _groups(skin).items():
        columns = np.concatenate([np.arange(9 * (j - 1), 9 * j) for j in bending])
        seen = features[:FITTED, columns].astype(np.float64)
        wanted = offsets[:FITTED, vertices].reshape(FITTED, -1)
        normal = seen.T @ seen + RIDGE * np.eye(len(columns))
        solved = np.linalg.solve(normal, seen.T @ wanted)
        per_vertex = solved.reshape(len(columns), len(vertices), 3)
        out[np.array(vertices)[:, None], :, columns[None]] = per_vertex.transpose(1, 0, 2)
        held = offsets[FITTED:, vertices]
        rest = held - (features[FITTED:, columns] @ solved).reshape(held.shape)
        before += float((held**2).sum())
        after += float((rest**2).sum())
    report(f"pose correctives leave {after / before:.3f} of the held-out variance")
    out[np.abs(out) < 1e-5] = 0
    return out


def _groups(skin: Array) -> dict[tuple[int, ...], list[int]]:
    """Vertices by the joints that bend around them: their influences less the one highest up."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for vertex, weights in enumerate(skin):
        bending = tuple(np.nonzero(weights > 0.004)[0].tolist()[1:])
        if bending:
            groups.setdefault(bending, []).append(vertex)
    return groups
