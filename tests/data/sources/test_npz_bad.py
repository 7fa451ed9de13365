"""Bad rows and bad files of SPIN's and ProHMR's layouts: one clear sentence each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibodies.data.sources.npz.names import picture_name
from multibodies.data.sources.record import Fault, Record
from multibodies.errors import UserError
from multibodies.lookalikes.npz import write_prohmr_npz
from multibodies.lookalikes.people import Person
from npz_samples import (
    Change,
    drop,
    edited,
    faults,
    good,
    put,
    read,
    set_to,
    spin,
)


@pytest.mark.parametrize(
    ("key", "where", "value", "reason"),
    [
        ("part", (1, 3, 0), np.nan, r"'part' is NaN or infinite at joint 3"),
        ("part", (1, 3, 2), np.nan, r"'part' is NaN or infinite at joint 3"),
        ("openpose", (1, 4, 1), np.inf, r"'openpose' is NaN or infinite at joint 4"),
        ("S", (1, 9, 2), -np.inf, r"'S' is NaN or infinite at joint 9"),
        ("pose", (1, 5), np.nan, "pose or shape is NaN"),
        ("pose", (1, 0), 180.0, "pose: an angle of 180, expected radians"),
        ("shape", (1, 5), np.inf, "pose or shape is NaN"),
        ("has_smpl", 1, np.nan, "flag for a body is NaN"),
        ("center", 1, 0.0, "a box of .* px at 0, 0"),
        ("center", (1, 1), np.nan, "center, scale: NaN"),
        ("scale", 1, 0.0, "a box of 0 px"),
        ("scale", 1, -1.0, "a box of -200 px"),
        ("scale", 1, 180.0, "a box of 36000 px .*SPIN's scale is the box's side / 200"),
        ("imgname", 1, "/etc/passwd", "leads out of the folder"),
        ("imgname", 1, "S1/../../secret.jpg", "leads out of the folder"),
        ("imgname", 1, "", "names no picture"),
        ("imgname", 1, "a\nb.jpg", "names no picture"),
        ("imgname", 1, "\ud800.jpg", "not readable as text"),
        ("imgname", 1, "x" * 300, "too long"),
    ],
)  # fmt: skip
def test_one_bad_row_is_a_fault_and_costs_no_other(
    key: str, where: Any, value: Any, reason: str, tmp_path: Path, people: list[Person]
) -> None:
    path, _ = spin(tmp_path, "mpi_inf_3dhp_train", people)

    def change(arrays: dict[str, Any]) -> None:
        arrays["imgname"] = arrays["imgname"].astype("<U300")
        arrays[key][where] = value

    found = faults(edited(path, change), "mpii3d")
    assert list(found) == [1]
    assert re.search(reason, found[1]), found[1]
    assert "\n" not in found[1] and found[1].startswith("row 1: ")


def test_a_nan_where_a_joint_is_absent_is_no_fault(tmp_path: Path, people: list[Person]) -> None:
    path, _ = spin(tmp_path, "lsp_dataset_original_train", people)
    record = good(read(edited(path, set_to("part", (0, 20, 0), np.nan)), "lsp"))[0]
    assert record.keypoints is not None and np.isfinite(record.keypoints).all()


def test_s_in_millimetres_is_said_so(tmp_path: Path, people: list[Person]) -> None:
    path, _ = spin(tmp_path, "h36m_valid_protocol2", people)

    def change(arrays: dict[str, Any]) -> None:
        arrays["S"][0, :, :3] *= 1000
        arrays["S"][1, :, :3] /= 1000
        arrays["S"][2, :, :3] *= 1e300

    found = faults(edited(path, change), "h36m")
    assert list(found) == [0, 1, 2]
    assert "joints of 'S' span" in found[0] and "looks like millimetres" in found[0]
    assert "expected a body in metres" in found[1] and "millimetres" not in found[1]


def test_an_empty_person_is_a_fault(tmp_path: Path, people: list[Person]) -> None:
    path, _ = spin(tmp_path, "coco_2014_train", people)

    def change(arrays: dict[str, Any]) -> None:
        arrays["part"][2] = 0
        arrays["openpose"][2:] = 0

    records = read(edited(path, change), "coco")
    assert isinstance(records[2], Fault) and "an empty person" in records[2].reason
    assert isinstance(records[3], Record) and records[3].openpose is None


def test_gender_is_m_or_f(tmp_path: Path, people: list[Person], bodies: dict[str, str]) -> None:
    path, _ = spin(tmp_path, "3dpw_test", people)
    found = faults(edited(path, set_to("gender", 0, "x")), "3dpw", bodies=bodies)
    assert found == {0: "row 0: gender: 'x', expected 'm' or 'f'"}

    def as_bytes(arrays: dict[str, Any]) -> None:
        arrays["gender"] = arrays["gender"].astype(np.bytes_)

    records = good(read(edited(path, as_bytes), "3dpw", bodies=bodies))
    assert [r.gender for r in records] == ["male", "female", "male", "female"]


def test_imgname_may_be_bytes_that_are_no_text(tmp_path: Path, people: list[Person]) -> None:
    path, _ = spin(tmp_path, "mpii_train", people)

    def change(arrays: dict[str, Any]) -> None:
        arrays["imgname"] = arrays["imgname"].astype(np.bytes_)
        arrays["imgname"][1] = b"images/\xff\xfe.jpg"

    items = read(edited(path, change), "mpii")
    assert isinstance(items[0], Record) and items[0].source == "images/000000001.jpg"
    assert isinstance(items[1], Fault) and "not readable as text" in items[1].reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("center"), "no array 'center'"),
        (drop("imgname"), "no array 'imgname'"),
        (drop("shape"), "no array 'shape', which 'pose' needs"),
        (drop("pose"), "no array 'pose', which 'shape' needs"),
        (put("part", np.zeros((4, 14, 3))), r"'part': has shape .*14, 3\), expected \(N, 24, 3\)"),
        (put("openpose", np.zeros((4, 18, 3))), r"'openpose': has shape \(4, 18, 3\)"),
        (put("S", np.zeros((3, 24, 4))), "'S': has 3 rows, but 'imgname' .* has 4"),
        (put("pose", np.zeros((4, 24, 3, 3))), r"'pose': has shape .* expected \(N, 72\)"),
        (put("center", np.zeros((4, 2), np.complex128)), "'center': holds complex128"),
        (put("imgname", np.zeros(4)), "'imgname': holds float64, expected text"),
        (put("imgname", np.array(["a"] * 4, object)), "'imgname': holds Python objects"),
        (put("imgname", np.zeros(0, "<U3")), "'imgname' has no rows"),
        (put("part", np.array([None] * 4, object)), "'part': holds Python objects, .*needed"),
        (put("body_pose", np.zeros((4, 72))), "labels of both"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_refused_by_name(
    change: Change, message: str, tmp_path: Path, people: list[Person]
) -> None:
    path, _ = spin(tmp_path, "mpi_inf_3dhp_train", people)
    with pytest.raises(UserError, match=message) as error:
        read(edited(path, change), "mpii3d")
    assert "edited.npz" in str(error.value)


def test_prohmrs_bodies_without_flags_are_refused(tmp_path: Path, people: list[Person]) -> None:
    write_prohmr_npz(tmp_path, "h36m_train", people)
    with pytest.raises(UserError, match="no array 'has_body_pose', which 'body_pose' needs"):
        read(edited(tmp_path / "h36m_train.npz", drop("has_body_pose")), "h36m")


def test_prohmrs_own_script_keeps_only_the_last_frames_joints(
    tmp_path: Path, people: list[Person]
) -> None:
    write_prohmr_npz(tmp_path, "h36m_train", people)
    path = edited(tmp_path / "h36m_train.npz", put("extra_keypoints_2d", np.zeros((19, 3))))
    with pytest.raises(UserError, match=r"'extra_keypoints_2d': has shape \(19, 3\)"):
        read(path, "h36m")


def test_a_file_without_labels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.npz"
    np.savez(path, imgname=["a.jpg"], center=[[1.0, 2.0]], scale=[1.0])
    with pytest.raises(UserError, match="no labels of either; SPIN has part, openpose"):
        read(path, "lsp")
    with pytest.raises(UserError, match=r"none\.npz: no such file"):
        read(tmp_path / "none.npz", "lsp")


def test_objects_under_other_keys_do_no_harm(tmp_path: Path, people: list[Person]) -> None:
    path, _ = spin(tmp_path, "lsp_dataset_original_train", people)
    odd = edited(path, put("maskname", np.array([{"a": 1}, None, 2, 3], object)))
    assert len(good(read(odd, "lsp"))) == 4


def test_code_points_that_do_not_exist_are_a_rows_fault() -> None:
    for order, text in (("<", "ü".encode("utf-32-le")), (">", "ü".encode("utf-32-be"))):
        column = np.frombuffer(text + b"\x7f\xff\xff\x7f", f"{order}U1")
        assert picture_name(column, 0) == "ü"
        with pytest.raises(UserError, match="imgname: not readable as text"):
            picture_name(column, 1)
