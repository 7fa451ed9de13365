"""Stage 7: joint regressors. Sparse, non-negative, rows sum to one, equal to their mirror image."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.optimize import nnls

from multibodies.core.joints import FACE_VERTICES
from multibodies.data.build_body.common import ACROSS, FLIP, PARENTS, Array, Index, Mask

FITTED: Final = 160  # samples that the fit sees
LIMB_CANDIDATES: Final = 140
MOST_CANDIDATES: Final = 420
TRUNK: Final = (0, 1, 3, 6, 9)  # deep inside the body: a slab all round
SLAB: Final = 0.07  # half its height, metres
FAR: Final = 9.0
SUM_WEIGHT: Final = 1e2  # holds the row to sum one
RIDGE: Final = 4e-3  # pulls the row to equal weights


def joint_regressor(
    vertices: Array, joints: Array, template: Array, skin: Array, mirror: Index
) -> Array:
    """Fit sample joints [S, 24, 3] by sample vertices [S, V, 3]: [24, V]."""
    chosen = np.random.default_rng(0).choice(len(joints), FITTED, replace=False)
    mean = joints.mean(0)
    mean = 0.5 * (mean + mean[FLIP] * ACROSS)
    out = np.zeros((24, len(template)))
    for j in range(24):
        if FLIP[j] < j:  # right side
            out[j] = out[FLIP[j]][mirror]
            continue
        candidates = _candidates(j, mean[j], template, skin, mirror)
        out[j, candidates] = _fit(vertices[chosen][:, candidates], joints[chosen, j])
        if FLIP[j] == j:
            out[j] = 0.5 * (out[j] + out[j][mirror])
    return out


def _candidates(j: int, place: Array, template: Array, skin: Array, mirror: Index) -> Index:
    """Vertices that may carry joint j: near it, and moved by it or by its parent."""
    distance = np.linalg.norm(template - place, axis=1)
    if j in TRUNK:
        distance = np.where(np.abs(template[:, 1] - place[1]) < SLAB, distance, FAR)
    owned: Mask = np.ones(len(template), bool)
    if j:
        owned = (skin[:, j] > 0.02) | (skin[:, PARENTS[j]] > 0.02)
    distance = np.where(owned, distance, FAR)
    count = int((distance < FAR - 1).sum()) if j in TRUNK else LIMB_CANDIDATES
    found: Index = np.argsort(distance)[:count]
    if len(found) > MOST_CANDIDATES:
        found = np.random.default_rng(j).choice(found, MOST_CANDIDATES, replace=False)
    return np.unique(np.concatenate([found, mirror[found]])) if FLIP[j] == j else found


def _fit(vertices: Array, joint: Array) -> Array:
    """Non-negative least squares of joint [S, 3] by vertices [S, C, 3]: weights [C] of sum one."""
    count = vertices.shape[1]
    places = vertices.transpose(0, 2, 1).reshape(-1, count)
    rows = np.concatenate([places, np.full((1, count), SUM_WEIGHT), RIDGE * np.eye(count)])
    equal = np.full(count, RIDGE / count)
    weights, _ = nnls(rows, np.concatenate([joint.reshape(-1), np.array([SUM_WEIGHT]), equal]))
    weights[weights < 1e-4] = 0
    return np.asarray(weights / weights.sum())


def h36m_regressor(regressor: Array, template: Array, mirror: Index) -> Array:
    """H36M's 17 joints in SPIN's row order, left leg first, from SMPL's joints: [17, V]."""
    out = np.zeros((17, len(template)))
    same = {
        1: 1, 2: 4, 3: 7, 4: 2, 5: 5, 6: 8, 7: 6, 11: 16, 12: 18, 13: 20, 14: 17, 15: 19, 16: 21,
    }  # fmt: skip
    for row, joint in same.items():
        out[row] = regressor[joint]
    out[0] = 0.5 * (regressor[1] + regressor[2])
    out[8] = 0.25 * (regressor[16] + regressor[17]) + 0.5 * regressor[12]
    nose = np.zeros(len(template))
    nose[FACE_VERTICES[0]] = 1
    out[9] = 0.65 * nose + 0.35 * regressor[15]
    crown = np.argsort(-template[:, 1])[:6]
    crown = np.unique(np.concatenate([crown, mirror[crown]]))
    out[10, crown] = 1 / len(crown)
    return np.asarray(out / out.sum(1, keepdims=True))


def extra_regressor(regressor: Array, h36m: Array) -> Array:
    """SPIN's 9 extra joints: [9, V].

    Right hip, left hip, neck (LSP), top of head (LSP), pelvis (MPII), thorax (MPII), spine (H36M),
    jaw (H36M), head (H36M).
    """
    neck = 0.25 * (regressor[13] + regressor[14]) + 0.5 * regressor[12]
    head = 0.5 * (h36m[9] + h36m[10])
    rows = [regressor[2], regressor[1], neck, h36m[10], h36m[0], h36m[8], h36m[7], h36m[9], head]
    return np.stack(rows)
