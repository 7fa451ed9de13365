"""Keyframes, their split, and the widening."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from multibodies.config import SPLITS
from multibodies.data.draws import NORMAL, UNIFORM, Draws, draw_rows
from multibodies.data.keyframes import (
    KEYFRAME_SPLITS,
    LYING,
    keyframe_names,
    load_keyframes,
    mirror,
    rotation_limits,
)
from multibodies.data.poses import PoseBank, pose_bank, widen
from multibodies.errors import UserError


def quiet(count: int, **uniform: list[float]) -> Draws:
    """Draws without noise, heading or pitch; `name=[...]` sets the uniforms of one use."""
    draws = Draws(
        np.full((count, sum(UNIFORM.values())), 0.5),
        np.zeros((count, sum(NORMAL.values()))),
        np.zeros(count, np.uint64),
    )
    for name, values in uniform.items():
        draws.u(name)[:] = values
    return draws


def test_every_keyframe_is_in_one_split() -> None:
    assert tuple(KEYFRAME_SPLITS) == SPLITS
    named = [name for split in SPLITS for name in keyframe_names(split)]
    assert len(named) == 48
    assert set(named) == set(load_keyframes())
    assert len(set(named)) == 48
    for split in SPLITS:
        assert len(set(keyframe_names(split)) - LYING) >= 4
        assert set(keyframe_names(split)) & LYING
    with pytest.raises(UserError, match="lab-train"):
        keyframe_names("lab-trian")


def test_lying_is_what_does_not_stand_on_its_feet() -> None:
    for name, pose in load_keyframes().items():
        up = Rotation.from_rotvec(pose[0]).apply([0, 1, 0])[1]
        assert name in LYING or up > 0.6, name


def test_mirror_twice_is_the_pose_and_mirrors_joint_positions() -> None:
    pose = np.stack(list(load_keyframes().values()))
    np.testing.assert_array_equal(mirror(mirror(pose)), pose)
    flip = np.diag([-1.0, 1.0, 1.0])  # conjugation by the reflection of x is the other road
    left, right = 16, 17
    reflected = flip @ Rotation.from_rotvec(pose[:, left]).as_matrix() @ flip
    np.testing.assert_allclose(
        Rotation.from_rotvec(mirror(pose)[:, right]).as_matrix(), reflected, atol=1e-12
    )


def still(bank: PoseBank, **uniform: list[float]) -> np.ndarray:
    return np.asarray(widen(bank, quiet(1, **uniform), 0.0, (0.0, 0.0))[0][0])


def test_without_randomness_a_keyframe_comes_back() -> None:
    """Mix 0.6 neither swaps nor blends, and keyframes are within the limits."""
    bank = pose_bank("lab-val", 0.0)
    pose = still(bank, keyframe=[0.0, 0.5], mix=[0.6, 0, 0, 0, 0, 0])
    want = load_keyframes()[bank.names[0]]
    np.testing.assert_allclose(pose[1:], want[1:], atol=1e-9)
    flip = Rotation.from_rotvec([np.pi, 0, 0])
    facing = Rotation.from_rotvec(want[0]).apply([0, 0, 1])
    heading = Rotation.from_euler("y", -np.arctan2(facing[0], facing[2]))
    root = (flip * heading * Rotation.from_rotvec(want[0])).as_matrix()
    np.testing.assert_allclose(Rotation.from_rotvec(pose[0]).as_matrix(), root, atol=1e-9)


def test_arm_swap_takes_arms_only() -> None:
    bank = pose_bank("lab-train", 0.0)
    names = list(bank.names)
    pose = still(
        bank, keyframe=[0.0, 0.5], mix=[0.1, 0.1, 0.999999, 0, 0, 0]
    )  # both arms, of the last upright mirrored
    other = max(k for k, name in enumerate(names) if name not in LYING)
    arms = [13, 14, 16, 17, 18, 19, 20, 21]
    legs = [1, 2, 4, 5, 7, 8, 10, 11]
    np.testing.assert_allclose(pose[arms], bank.rotations[other][arms], atol=1e-9)
    np.testing.assert_allclose(pose[legs], bank.rotations[0][legs], atol=1e-9)
    assert np.abs(bank.rotations[other][arms] - bank.rotations[0][arms]).max() > 0.3


def test_blend_is_a_geodesic_within_the_posture_class() -> None:
    bank = pose_bank("lab-test", 0.0)
    pose = still(bank, keyframe=[0.0, 0.5], mix=[0.9, 0, 0, 0, 0.6, 0.5])
    relative = int((bank.relatives[0] <= 0.6).sum())
    for joint in range(1, 24):
        a, b = (Rotation.from_rotvec(bank.rotations[k][joint]) for k in (0, relative))
        middle = Rotation.from_rotvec(pose[joint])
        whole = (a.inv() * b).magnitude()
        assert (a.inv() * middle).magnitude() == pytest.approx(whole / 2, abs=1e-7)
        assert (middle.inv() * b).magnitude() == pytest.approx(whole / 2, abs=1e-7)


def test_heading_has_the_asked_spread_and_wraps() -> None:
    draws = draw_rows(0, 0, range(600))
    for std in (20.0, 180.0):
        poses, _ = widen(pose_bank("lab-val", 0.0), draws, std, (0.0, 0.0))
        facing = (
            Rotation.from_rotvec([np.pi, 0, 0]).inv() * Rotation.from_rotvec(poses[:, 0])
        ).apply([0, 0, 1])
        heading = np.arctan2(facing[:, 0], facing[:, 2])
        resultant = np.abs(np.exp(1j * heading).mean())  # exp(-std^2/2) for a wrapped Gaussian
        assert resultant == pytest.approx(np.exp(-(np.radians(std) ** 2) / 2), abs=0.06)


def test_poses_keep_the_limits_and_differ() -> None:
    draws = draw_rows(0, 0, range(300))
    for split in SPLITS:
        poses, names = widen(pose_bank(split, 1.0), draws, 20.0, (5.0, 6.0))
        low, high = rotation_limits()
        assert (poses[:, 1:] >= low[1:] - 0.05).all()
        assert (poses[:, 1:] <= np.maximum(high[1:], 2.6) + 1e-9).all()
        assert (poses[:, [4, 5], 0] >= -0.05 - 1e-9).all()
        assert len(np.unique(poses.reshape(300, -1).round(6), axis=0)) == 300
        used = {part for name in names for part in name.replace("~", "+").split("+")}
        assert used == set(keyframe_names(split))


def test_lying_share_weights_the_lying_keyframes() -> None:
    draws = draw_rows(1, 0, range(2000))
    for share in (0.0, 0.5, 1.0):
        _, names = widen(pose_bank("lab-train", share), draws, 20.0, (0.0, 0.0))
        lying = np.mean([name.replace("~", "+").split("+")[0] in LYING for name in names])
        assert lying == pytest.approx(9 * share / (19 + 9 * share), abs=0.03)


def test_rows_have_streams_of_their_own() -> None:
    whole, part = draw_rows(5, 2, range(10, 20)), draw_rows(5, 2, range(13, 15))
    np.testing.assert_array_equal(whole.uniform[3:5], part.uniform)
    np.testing.assert_array_equal(whole.normal[3:5], part.normal)
    np.testing.assert_array_equal(whole.bits[3:5], part.bits)
    assert len({row.tobytes() for row in whole.uniform}) == 10
    assert not np.array_equal(draw_rows(5, 3, range(10, 11)).uniform, whole.uniform[:1])
