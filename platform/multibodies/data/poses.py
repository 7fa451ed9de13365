"""Widening: a few keyframes become as many different, plausible poses as rows are asked for.

Mirror, swap arms or the upper body between keyframes of the split, interpolate within a posture
class, joint noise, limits, a new heading, the camera's pitch. Shapes: B row, F keyframe.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from multibodies.data.draws import Draws
from multibodies.data.keyframes import (
    LYING,
    keyframe_names,
    load_keyframes,
    mirror,
    rotation_limits,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SWAP_SHARE, BLEND_SHARE = 0.5, 0.25
LEFT_ARM, RIGHT_ARM = (13, 16, 18, 20), (14, 17, 19, 21)
PARTS = (  # what a swap takes from the other keyframe, and how often
    (LEFT_ARM + RIGHT_ARM, 0.4),
    (LEFT_ARM, 0.15),
    (RIGHT_ARM, 0.15),
    ((3, 6, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21), 0.3),
)
NOISE_DEG = np.array(
    [5, 6, 6, 4, 6, 6, 4, 6, 6, 4, 4, 4, 6, 3, 3, 6, 11, 11, 10, 10, 10, 10, 4, 4], float
)
KNEES, LEFT_ELBOW, RIGHT_ELBOW = [4, 5], 18, 19
TO_CAMERA = Rotation.from_rotvec([np.pi, 0.0, 0.0])  # y up, facing +z -> y down, z forward


@dataclass(frozen=True)
class PoseBank:
    """The keyframes of one split and their mirrors."""

    names: tuple[str, ...]  # 2F
    rotations: Floats  # [2F, 24, 3] axis-angle
    chances: Floats  # [2F] cumulative
    relatives: Floats  # [2F, 2F] cumulative, within the posture class (upright, leaning, lying)


@lru_cache(maxsize=32)
def pose_bank(split: str, lying_share: float) -> PoseBank:
    """Return a split's keyframes; lying ones weigh `lying_share` (0 never, 1 like any other)."""
    names = keyframe_names(split)
    poses = np.stack([load_keyframes()[name] for name in names])
    rotations = np.concatenate([poses, mirror(poses)])
    weights = np.tile([lying_share if name in LYING else 1.0 for name in names], 2)
    posture = np.digitize(_uprightness(rotations), [0.2, 0.75])
    same = (posture[:, None] == posture) * weights + 1e-12 * np.eye(len(weights))
    return PoseBank((*names, *names), rotations, _cumulative(weights), _cumulative(same))


def widen(
    bank: PoseBank, draws: Draws, heading_std_deg: float, pitch: tuple[float, float]
) -> tuple[Floats, list[str]]:
    """Return poses [B, 24, 3] (axis-angle, root in the camera frame) and the keyframes of each.

    The heading is N(0, heading_std_deg), wrapped; the camera looks down by N(*pitch) degrees.
    """
    first, mix = _pick(bank.chances, draws.u("keyframe")[:, 0]), draws.u("mix")
    swapped, other = _swap(bank, first, mix)
    blended, relative = _blend(bank, first, mix)
    swap, blend = mix[:, 0] < SWAP_SHARE, mix[:, 0] >= 1 - BLEND_SHARE
    pose = np.where(blend[:, None, None], blended, bank.rotations[first])
    pose = np.where(swap[:, None, None], swapped, pose)
    pose = _limit(_noisy(pose, draws))
    pose[:, 0] = _turn(pose[:, 0], draws, heading_std_deg, pitch)
    return pose, _sources(bank, first, np.where(swap, other, relative), swap, blend)


def _uprightness(rotations: Floats) -> Floats:
    up: Floats = Rotation.from_rotvec(rotations[:, 0]).apply([0.0, 1.0, 0.0])[:, 1]
    return up


def _cumulative(weights: Floats) -> Floats:
    total = np.cumsum(weights, axis=-1, dtype=np.float64)
    return np.asarray(
        total / total[..., -1:]
    )  # ends in exactly 1, so that no uniform number lies beyond


def _pick(chances: Floats, uniform: Floats) -> Ints:
    """Index [B] whose cumulative chance ([2F] or [B, 2F]) first exceeds `uniform` [B]."""
    return np.asarray((chances <= uniform[:, None]).sum(1), np.int64)


def _swap(bank: PoseBank, first: Ints, mix: Floats) -> tuple[Floats, Ints]:
    """Take arms or the upper body from another keyframe."""
    other = _pick(bank.chances, mix[:, 2])
    masks = np.zeros((len(PARTS), 24, 1), bool)
    for k, (joints, _) in enumerate(PARTS):
        masks[k, list(joints)] = True
    part = _pick(_cumulative(np.array([share for _, share in PARTS])), mix[:, 1])
    return np.where(masks[part], bank.rotations[other], bank.rotations[first]), other


def _blend(bank: PoseBank, first: Ints, mix: Floats) -> tuple[Floats, Ints]:
    """Interpolate every joint (slerp), by 0.2 to 0.8, towards a keyframe of the posture class."""
    relative = _pick(bank.relatives[first], mix[:, 4])
    start = Rotation.from_rotvec(bank.rotations[first].reshape(-1, 3))
    step = (start.inv() * Rotation.from_rotvec(bank.rotations[relative].reshape(-1, 3))).as_rotvec()
    share = np.repeat(0.2 + 0.6 * mix[:, 5], 24)[:, None]
    return (start * Rotation.from_rotvec(step * share)).as_rotvec().reshape(-1, 24, 3), relative


def _noisy(pose: Floats, draws: Draws) -> Floats:
    """Turn every joint by a small random rotation; knees and elbows mostly about their hinge."""
    noise = draws.n("joints").reshape(-1, 24, 3) * np.radians(NOISE_DEG)[:, None]
    noise *= (0.3 + draws.u("noise"))[:, :, None]
    noise[:, KNEES, 1:] *= 0.2
    noise[:, [LEFT_ELBOW, RIGHT_ELBOW]] *= [0.5, 1.0, 0.3]
    turned = Rotation.from_rotvec(pose.reshape(-1, 3)) * Rotation.from_rotvec(noise.reshape(-1, 3))
    return np.asarray(turned.as_rotvec().reshape(-1, 24, 3), np.float64)


def _limit(pose: Floats) -> Floats:
    """Clip all joints but the root to the keyframes' range; knees and elbows bend one way only."""
    low, high = rotation_limits()
    low[KNEES, 0], high[KNEES, 0] = -0.05, 2.6
    high[LEFT_ELBOW, 1], low[RIGHT_ELBOW, 1] = 0.05, -0.05
    clipped = np.clip(pose, low, high)
    clipped[:, 0] = pose[:, 0]
    return clipped


def _turn(root: Floats, draws: Draws, heading_std_deg: float, pitch: tuple[float, float]) -> Floats:
    """Replace the root's heading, tip it by the camera's pitch, and go to the camera frame."""
    rotation = Rotation.from_rotvec(root)
    facing = rotation.apply([0.0, 0.0, 1.0])
    wanted = np.radians(heading_std_deg) * draws.n("heading")[:, 0]
    heading = wanted - np.arctan2(facing[:, 0], facing[:, 2])
    tip = np.radians(pitch[0] + pitch[1] * draws.n("pitch")[:, 0])
    upright = Rotation.from_euler("y", heading[:, None]) * rotation
    turned: Floats = (TO_CAMERA * Rotation.from_euler("x", tip[:, None]) * upright).as_rotvec()
    return turned


def _sources(
    bank: PoseBank, first: Ints, second: Ints, swap: NDArray[np.bool_], blend: NDArray[np.bool_]
) -> list[str]:
    joiner = np.where(swap, "+", np.where(blend, "~", ""))
    names = zip(first, joiner, second, strict=True)
    return [bank.names[a] + (f"{sign}{bank.names[b]}" if sign else "") for a, sign, b in names]
