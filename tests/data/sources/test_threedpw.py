"""3DPW's importer on a look-alike whose truth comes from meshes posed in the world.

Points in the camera's frame are held to 1e-7 m, not less: the regressors' rows are float32 and
sum to one within 5e-8, so they do not commute exactly with a shift.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from multibodies.core.body import load_body
from multibodies.data.photo import load_photo
from multibodies.data.sources.labels import body_joints
from multibodies.data.sources.threedpw.file import read_sequence
from multibodies.data.sources.threedpw.records import pose_in_camera
from multibodies.lookalikes.people import COLOURS
from multibodies.lookalikes.threedpw_truth import SIZE
from threedpw_samples import (
    Tree,
    load_fields,
)

pytestmark = pytest.mark.slow

# OpenPose's output.md: COCO's 18 keypoints, and where BODY_25 has them.
COCO18_IN_25 = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 9, 9: 10, 10: 11, 11: 12,
                12: 13, 13: 14, 14: 15, 15: 16, 16: 17, 17: 18}  # fmt: skip


@pytest.mark.parametrize("split", ["3dpw-train", "3dpw-val", "3dpw-test"])
def test_records_hold_the_truth_in_the_cameras_frame(threedpw: Tree, split: str) -> None:
    for record, truth in threedpw.pairs(split):
        assert record.joints_3d is not None and record.keypoints is not None
        assert record.h36m17 is not None and record.theta is not None
        np.testing.assert_allclose(record.joints_3d[:, :3], truth.j24, atol=1e-7)
        np.testing.assert_allclose(record.h36m17, truth.h36m17, atol=1e-7)
        np.testing.assert_allclose(record.keypoints[:, :2], truth.pixels, atol=1e-4)
        assert (record.joints_3d[:, 3] == 1).all() and (record.keypoints[:, 2] == 1).all()
        np.testing.assert_array_equal(record.theta[1:], truth.world.theta[1:])
        assert record.gender == truth.world.gender


def test_the_root_is_turned_into_the_camera(threedpw: Tree) -> None:
    for record, truth in threedpw.pairs("3dpw-test"):
        assert record.theta is not None
        world = Rotation.from_rotvec(truth.world.theta[0])
        expected = Rotation.from_matrix(truth.camera[:3, :3]) * world
        found = Rotation.from_rotvec(record.theta[0])
        assert (found.inv() * expected).magnitude() < 1e-12
        assert (found.inv() * world).magnitude() > 1  # upside down for a camera, so it matters


def test_theta_and_beta_posed_are_the_joints(threedpw: Tree) -> None:
    for record, truth in threedpw.pairs("3dpw-test"):
        assert record.theta is not None and record.beta is not None
        body = threedpw.loaded[record.gender]
        posed = body_joints(body, record.theta[None], record.beta[None]).smpl24[0]
        np.testing.assert_allclose(posed - posed[0], truth.smpl24 - truth.smpl24[0], atol=1e-9)


def test_moving_the_posed_body_is_posing_the_moved_one(threedpw: Tree) -> None:
    sequence = read_sequence(threedpw.file("test"))
    for actor in sequence.actors:
        body = threedpw.loaded[actor.gender]
        frames = actor.kept
        cameras = sequence.cameras[frames]
        moved = pose_in_camera(actor, frames, cameras, body).joints.smpl24
        betas = np.tile(actor.beta, (len(frames), 1))
        world = body_joints(body, actor.poses[frames], betas).smpl24
        world = world + actor.trans[frames][:, None]
        expected = np.einsum("nij,nkj->nki", cameras[:, :3, :3], world)
        np.testing.assert_allclose(moved, expected + cameras[:, None, :3, 3], atol=1e-9)


def test_the_truth_is_posed_with_the_body_of_the_gender(threedpw: Tree) -> None:
    neutral = load_body()
    for record, _ in threedpw.pairs("3dpw-test"):
        assert record.theta is not None and record.beta is not None and record.h36m17 is not None
        other = body_joints(neutral, record.theta[None], record.beta[None]).h36m17[0]
        apart = (record.h36m17 - record.h36m17[0]) - (other - other[0])
        assert np.linalg.norm(apart, axis=1).max() > 0.02


def test_keypoints_are_the_middles_of_their_marks_in_the_picture(threedpw: Tree) -> None:
    pairs = threedpw.pairs("3dpw-train")
    checked = 0
    for record, truth in pairs:
        picture = load_photo(record.picture.path).astype(float)
        assert record.keypoints is not None
        frame = [t.pixels for t in threedpw.truths if t.image == truth.image]
        others = np.concatenate(frame)
        for k, (x, y, _) in enumerate(record.keypoints):
            alone = (np.hypot(*(others - [x, y]).T) < 20).sum() == 1
            if not alone or not (10 < x < SIZE[0] - 10 and 10 < y < SIZE[1] - 10):
                continue
            left, top = int(x) - 6, int(y) - 6
            window = picture[top : top + 13, left : left + 13]
            marked = np.abs(window - COLOURS[k]).max(-1) < 80
            rows, columns = np.nonzero(marked)
            middle = columns.mean() + left + 0.5, rows.mean() + top + 0.5
            np.testing.assert_allclose(middle, (x, y), atol=0.4)
            checked += 1
    assert checked > 5 * len(pairs)


def test_poses2d_are_turned_round_and_go_to_openposes_places(threedpw: Tree) -> None:
    absent = 0
    for record, truth in threedpw.pairs("3dpw-test"):
        assert record.openpose is not None
        for coco, place in COCO18_IN_25.items():
            np.testing.assert_array_equal(record.openpose[place], truth.points[coco])
        unknown = sorted(set(range(25)) - set(COCO18_IN_25.values()))
        assert not record.openpose[unknown].any()
        absent += int((truth.points[:, 2] == 0).sum())
    assert absent > 0


def test_the_box_is_padded_and_ignores_points_without_confidence(threedpw: Tree) -> None:
    for record, truth in threedpw.pairs("3dpw-test"):
        seen = [(x, y) for x, y, c in truth.points if c > 0]
        xs, ys = [x for x, _ in seen], [y for _, y in seen]
        side = 1.2 * max(max(xs) - min(xs), max(ys) - min(ys))
        expected = ((max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2, side)
        np.testing.assert_allclose(record.box, expected, rtol=1e-12)


def test_both_spellings_are_read(threedpw: Tree) -> None:
    first, second = load_fields(threedpw.file("test")), load_fields(threedpw.file("validation"))
    assert {"genders", "poses2d"} <= first.keys() and {"gender", "poses2D"} <= second.keys()
    genders = [record.gender for record, _ in threedpw.pairs("3dpw-val")]
    assert genders == ["female"] * 4 + ["male"] * 4


def test_of_300_betas_the_first_ten_are_taken(threedpw: Tree) -> None:
    assert [b.shape for b in load_fields(threedpw.file("test"))["betas"]] == [(10,), (300,)]
    for record, truth in threedpw.pairs("3dpw-test"):
        assert record.beta is not None
        np.testing.assert_array_equal(record.beta, truth.world.beta)
