"""3DPW's importer on missing, damaged, hostile and mixed-up files."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibodies.core.body import load_body
from multibodies.data.sources.importer import Importer, SourceOptions
from multibodies.data.sources.record import Record
from multibodies.data.sources.threedpw import open_source
from multibodies.errors import UserError
from multibodies.lookalikes.threedpw import write_threedpw
from threedpw_samples import all_items, faults, importer_of, load_fields, write_bodies

Fields = dict[str, Any]
Open = Callable[[Fields], Importer]


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_bodies(tmp_path_factory.mktemp("bodies"))


@pytest.fixture(scope="module")
def template(bodies: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A look-alike's sequence file, without pictures."""
    root = tmp_path_factory.mktemp("3dpw")
    loaded = {gender: load_body(path) for gender, path in bodies.items()}
    write_threedpw(root, loaded, splits=("test",), pictures=False)
    return next(root.rglob("*.pkl"))


@pytest.fixture
def fields(template: Path) -> Fields:
    return deepcopy(load_fields(template)) | {"sequence": "seq"}


@pytest.fixture
def opened(bodies: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    return lambda fields: importer_of(fields, tmp_path, bodies, monkeypatch)


def root_with(tmp_path: Path, content: bytes) -> str:
    folder = tmp_path / "sequenceFiles" / "test"
    folder.mkdir(parents=True)
    (tmp_path / "imageFiles").mkdir()
    (folder / "seq.pkl").write_bytes(content)
    return str(tmp_path)


class Shell:
    """Runs a command when it is unpickled by pickle itself."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    content = pickle.dumps({"sequence": Shell(f"touch {mark}")}, protocol=2)
    importer = open_source(SourceOptions(root_with(tmp_path, content)))
    with pytest.raises(UserError, match=r"seq\.pkl: .*system.* is not allowed"):
        importer.listing("3dpw-test")
    assert not mark.exists()


@pytest.mark.parametrize("keep", [0, 1, 1000, -1])
def test_truncated_pickles_are_refused(tmp_path: Path, template: Path, keep: int) -> None:
    importer = open_source(SourceOptions(root_with(tmp_path, template.read_bytes()[:keep])))
    with pytest.raises(UserError, match=r"seq\.pkl: .*expected a 3DPW sequence file"):
        importer.listing("3dpw-test")


def test_another_pickle_is_refused(tmp_path: Path) -> None:
    importer = open_source(SourceOptions(root_with(tmp_path, pickle.dumps([1, 2], protocol=2))))
    with pytest.raises(UserError, match="holds list, expected a 3DPW sequence file"):
        importer.listing("3dpw-test")


def test_missing_folders_and_files_are_named(tmp_path: Path, bodies: dict[str, str]) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder; expected 3DPW's folder"):
        open_source(SourceOptions(str(tmp_path / "nowhere")))
    importer = open_source(SourceOptions(str(tmp_path), bodies=bodies))
    with pytest.raises(UserError, match="no split '3dpw-vall'; did you mean '3dpw-val'"):
        importer.listing("3dpw-vall")
    with pytest.raises(UserError, match="sequenceFiles/validation: no such folder"):
        importer.listing("3dpw-val")
    folder = tmp_path / "sequenceFiles" / "validation"
    folder.mkdir(parents=True)
    with pytest.raises(UserError, match="imageFiles: no such folder"):
        importer.listing("3dpw-val")
    (tmp_path / "imageFiles").mkdir()
    with pytest.raises(UserError, match=r"validation: no \*\.pkl in it"):
        importer.listing("3dpw-val")
    with pytest.raises(UserError, match=r"gone\.pkl: no such file"):
        list(importer.records("3dpw-val", "gone", 0, 1))


NEEDED = (
    "sequence", "poses", "betas", "trans", "genders", "poses2d", "jointPositions",
    "campose_valid", "cam_poses", "cam_intrinsics",
)  # fmt: skip


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_field_is_named(fields: Fields, opened: Open, name: str) -> None:
    del fields[name]
    with pytest.raises(UserError, match=rf"seq\.pkl: no field '{name}'"):
        opened(fields).listing("3dpw-test")


@pytest.mark.parametrize("name", sorted({"v_template_clothed", "texture_maps", "poses_60Hz"}))
def test_fields_that_are_not_used_may_be_missing(fields: Fields, opened: Open, name: str) -> None:
    del fields[name]
    assert len(all_items(opened(fields), "3dpw-test")) == 8


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("poses", np.zeros((6, 66)), r"'poses\[0\]' has shape \(6, 66\), expected \(any, 72\)"),
        ("trans", np.zeros((5, 3)), r"'trans\[0\]' has shape \(5, 3\), expected \(6, 3\)"),
        ("poses2d", np.zeros((6, 18, 3)), r"shape \(6, 18, 3\), expected \(6, 3, 18\)"),
        ("poses2d", np.zeros((6, 3, 17)), r"shape \(6, 3, 17\), expected \(6, 3, 18\)"),
        ("betas", np.zeros(9), r"'betas\[0\]' has 9 numbers, expected 10 or 300"),
        ("jointPositions", np.zeros((6, 24)), r"shape \(6, 24\), expected \(6, 72\)"),
        ("campose_valid", np.ones(7), r"shape \(7,\), expected \(6,\)"),
        ("poses", [["a"]], "holds list, expected an array of numbers"),
        ("trans", [[1.0], [1.0, 2.0]], "holds list, expected an array of numbers"),
        ("genders", "x", "gender of person 0 is 'x', expected 'm' or 'f'"),
    ],
)
def test_a_misshapen_field_of_a_person_is_named(
    fields: Fields, opened: Open, name: str, value: Any, reason: str
) -> None:
    fields[name][0] = value
    with pytest.raises(UserError, match=reason):
        opened(fields).listing("3dpw-test")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("genders", ["m"], "'genders' has 1 persons, 'poses' 2"),
        ("poses", 3.0, "'poses' is float, expected a list, one item per person"),
        ("cam_poses", np.zeros((6, 3, 4)), r"expected \(any, 4, 4\)"),
        ("cam_poses", np.zeros((5, 4, 4)), "person 0 has 6 frames, 'cam_poses' 5"),
        ("cam_intrinsics", np.zeros((3, 3)), r"expected \[fx 0 cx; 0 fy cy; 0 0 1\]"),
        ("cam_intrinsics", np.full((3, 3), np.nan), r"expected \[fx 0 cx; 0 fy cy; 0 0 1\]"),
        ("sequence", "other", r"'sequence' is 'other'; .*'other\.pkl'"),
    ],
)
def test_a_misshapen_field_of_the_sequence_is_named(
    fields: Fields, opened: Open, name: str, value: Any, reason: str
) -> None:
    fields[name] = value
    with pytest.raises(UserError, match=reason):
        opened(fields).listing("3dpw-test")


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


def test_a_missing_body_is_asked_for(
    fields: Fields, bodies: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importer = importer_of(fields, tmp_path, {"male": bodies["male"]}, monkeypatch)
    with pytest.raises(UserError, match=r"female one; .*`multibodies body import`.*body\.female="):
        importer.listing("3dpw-test")
    fields["genders"] = ["m", "m"]
    fields["jointPositions"][0] = fields["jointPositions"][1]  # whoever it is, he is in the file
    fields["poses"][0], fields["betas"][0] = fields["poses"][1], fields["betas"][1]
    sub = tmp_path / "men"
    importer = importer_of(fields, sub, {"male": bodies["male"]}, monkeypatch)
    assert importer.listing("3dpw-test").identity["bodies"].keys() == {"male"}


def test_bodies_that_are_not_the_sets_are_told(
    fields: Fields, bodies: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swapped = {"male": bodies["female"], "female": bodies["male"]}
    importer = importer_of(fields, tmp_path, swapped, monkeypatch)
    with pytest.raises(UserError, match=r"person 0 differ by \d+ cm .*wrong body or gender\?"):
        importer.listing("3dpw-test")


def test_joint_positions_in_millimetres_are_told(fields: Fields, opened: Open) -> None:
    fields["jointPositions"] = [1000 * j for j in fields["jointPositions"]]
    with pytest.raises(UserError, match=r"span \d+ m; expected metres, not millimetres"):
        opened(fields).listing("3dpw-test")


def test_joint_positions_may_be_in_any_frame(fields: Fields, opened: Open) -> None:
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    fields["jointPositions"] = [
        (j.reshape(-1, 24, 3) @ turned + 7.0).reshape(-1, 72) for j in fields["jointPositions"]
    ]
    assert len(all_items(opened(fields), "3dpw-test")) == 8


def test_more_records_than_there_are_is_an_error(fields: Fields, opened: Open) -> None:
    with pytest.raises(UserError, match=r"8 records, asked for 7\.\.8; the file has changed"):
        list(opened(fields).records("3dpw-test", "seq", 7, 2))
