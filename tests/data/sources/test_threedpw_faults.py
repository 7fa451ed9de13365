"""Frames of 3DPW whose labels cannot be used: faults with a reason, in their places."""

from __future__ import annotations

import numpy as np
import pytest

from multibodies.data.sources.record import Record
from read_all import all_items
from threedpw_samples import (
    Fields,
    Open,
    faults,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize(
    ("name", "place"),
    [("poses", (3, 40)), ("trans", (3, 1)), ("cam_poses", (3, 0, 3)), ("cam_poses", (3, 1, 1))],
)
def test_unsound_numbers_of_a_frame_are_a_fault_in_its_place(
    fields: Fields, opened: Open, name: str, place: tuple[int, ...], bad: float
) -> None:
    own = fields[name] if name == "cam_poses" else fields[name][0]
    own[place] = bad
    items = all_items(opened(fields), "3dpw-test")
    assert [isinstance(item, Record) for item in items] == [True, False, *[True] * 6]
    reason = f"frame 3 of person 0: '{name}' holds NaN, infinite or absurdly large numbers"
    assert items[1] == ("3dpw-seq-p0-00003", reason)


def test_unsound_betas_are_a_fault_in_every_frame(fields: Fields, opened: Open) -> None:
    fields["betas"][1][4] = np.nan
    found = faults(opened(fields))
    assert len(found) == 4 and all("of person 1: 'betas' holds NaN" in f.reason for f in found)


def test_nan_points_count_only_where_they_have_confidence(fields: Fields, opened: Open) -> None:
    seen = int(np.flatnonzero(fields["poses2d"][0][0, 2] > 0)[0])
    fields["poses2d"][0][0, 0, seen] = np.nan
    fields["poses2d"][0][4, :, 9] = [np.nan, np.nan, 0]
    fields["poses2d"][0][5, 2, :] = np.nan
    importer = opened(fields)
    assert [f.image_id for f in faults(importer)] == ["3dpw-seq-p0-00000"]
    assert importer.listing("3dpw-test").skipped["no_keypoints"] == 2
    fourth = all_items(importer, "3dpw-test")[2]
    assert isinstance(fourth, Record) and fourth.openpose is not None
    assert not fourth.openpose[10].any()


def test_nan_in_frames_that_are_left_out_is_no_fault(fields: Fields, opened: Open) -> None:
    fields["poses"][0][1], fields["cam_poses"][1] = np.nan, np.nan
    assert faults(opened(fields)) == []


def test_a_single_point_spans_no_box(fields: Fields, opened: Open) -> None:
    fields["poses2d"][0][4, 2, 1:] = 0
    fields["poses2d"][0][4, 2, 0] = 0.9
    [fault] = faults(opened(fields))
    assert fault.reason.endswith("'poses2d' has 1 of 18 points, which span no box")


@pytest.mark.parametrize("turned", [2 * np.eye(4), np.diag([1.0, 1, -1, 1]), np.zeros((4, 4))])
def test_a_camera_must_turn(fields: Fields, opened: Open, turned: np.ndarray) -> None:
    fields["cam_poses"][2] = turned
    assert [f.reason for f in faults(opened(fields))] == [
        "frame 2 of person 1: 'cam_poses' holds no rotation"
    ]


@pytest.mark.parametrize("name", ["trans", "cam_poses"])
def test_millimetres_are_told_from_metres(fields: Fields, opened: Open, name: str) -> None:
    if name == "trans":
        fields["trans"] = [1000 * t for t in fields["trans"]]
    else:
        fields["cam_poses"][:, :3, 3] *= 1000
    found = faults(opened(fields))
    assert len(found) == 8
    assert all("must be in metres, not millimetres" in fault.reason for fault in found)


def test_joints_behind_the_camera_are_not_projected(fields: Fields, opened: Open) -> None:
    fields["cam_poses"][:, 2, 3] -= 6  # into the persons
    records = [item for item in all_items(opened(fields), "3dpw-test") if isinstance(item, Record)]
    behind = 0
    for record in records:
        assert record.keypoints is not None and record.joints_3d is not None
        depth = record.joints_3d[:, 2]
        np.testing.assert_array_equal(record.keypoints[:, 2], depth > 0)
        assert not record.keypoints[depth <= 0].any()
        behind += int((depth <= 0).sum())
    assert behind > 0 and len(records) == 8
