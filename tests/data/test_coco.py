"""The COCO importer on look-alike files, on broken ones and on four real photographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from multibodies.data.coco import coco_rows, keypoints_j24
from multibodies.data.coco_file import Person, find_annotations, select_people
from multibodies.data.crops import Square, crop
from multibodies.data.schema import table_from_rows
from multibodies.data.validation import validate_rows
from multibodies.errors import UserError
from row_samples import SIDE, annotation, write_coco

REAL = Path(__file__).parents[2] / "../shared/real/coco"
# nkolot/SPIN, datasets/preprocess/coco.py: the J24 index of each COCO keypoint, spelt out here.
J24_OF = {
    "nose": 19, "left_eye": 20, "right_eye": 21, "left_ear": 22, "right_ear": 23,
    "left_shoulder": 9, "right_shoulder": 8, "left_elbow": 10, "right_elbow": 7,
    "left_wrist": 11, "right_wrist": 6, "left_hip": 3, "right_hip": 2,
    "left_knee": 4, "right_knee": 1, "left_ankle": 5, "right_ankle": 0,
}  # fmt: skip


def only(folder: Path, **changes: Any) -> Person:
    people, _ = select_people(write_coco(folder, [annotation(1, **changes)]), 0)
    return people[0]


def rows_of(folder: Path, people: Any) -> tuple[list[str], list[str]]:
    """Return the ids that become rows and the reasons of those that do not."""
    made, refused = coco_rows(people, folder, SIDE, "coco-train")
    good, invalid = validate_rows(made, SIDE)
    return list(good["image_id"]), [r.reason for r in [*refused, *invalid]]


def test_a_person_becomes_a_row_without_3d(tmp_path: Path) -> None:
    rows, refused = coco_rows([only(tmp_path)], tmp_path, SIDE, "coco-train")
    assert refused == []
    assert rows["image_id"] == ["coco-000000000001-1"]
    # The box 20,10,40,60 has its centre at 40,40; 1.2 times its longer side is 72.
    np.testing.assert_array_equal(rows["crop"][0], [4, 4, 76, 76])
    source = np.asarray(Image.open(tmp_path / "000000000001.png"))
    np.testing.assert_array_equal(rows["image"][0], crop(source, Square(4, 4, 72), SIDE))
    assert (rows["has_3d"][0], rows["has_smpl"][0]) == (False, False)
    for name in ("joints_3d", "h36m17", "theta", "beta", "camera"):
        assert not np.any(rows[name][0])
    assert table_from_rows(rows, SIDE).num_rows == 1


def test_keypoints_go_to_the_joints_of_their_names() -> None:
    flat = [n for k in range(17) for n in (k, 2 * k, 1 + k % 2)]
    found = keypoints_j24(flat, Square(0, 0, 100))
    for k, joint in enumerate(J24_OF.values()):
        expected = [2 * (k + 0.5) / 100 - 1, 2 * (2 * k + 0.5) / 100 - 1, 1]
        np.testing.assert_allclose(found[joint], expected, atol=1e-6)
    absent = sorted(set(range(24)) - set(J24_OF.values()))
    assert absent == [12, 13, 14, 15, 16, 17, 18]
    assert not found[absent].any()


def test_joints_unlabelled_or_outside_the_crop_are_hidden() -> None:
    flat = [n for _ in range(17) for n in (5, 5, 2)]
    flat[0:3], flat[3:6], flat[6:9] = [0, 0, 0], [-3, 5, 2], [5, 99, 1]
    found = keypoints_j24(flat, Square(0, 0, 10))
    np.testing.assert_array_equal(found[19], [0, 0, 0])
    assert found[[20, 21], 2].tolist() == [0, 0]
    assert found[9, 2] == 1


def test_crowds_and_persons_with_few_joints_are_left_out_and_counted(tmp_path: Path) -> None:
    ankle_gone = [*annotation(3)["keypoints"][:-1], 0]
    face_gone = [0] * 15 + annotation(4)["keypoints"][15:]
    people = [
        annotation(2),
        annotation(1),
        annotation(3, keypoints=ankle_gone),
        annotation(4, keypoints=face_gone),
        annotation(5, iscrowd=1),
        annotation(6, keypoints=[]),
        annotation(7, category_id=2),
    ]
    path = write_coco(tmp_path, people)
    selection = select_people(path)
    assert [person["annotation_id"] for person in selection.people] == [1, 2, 4]
    assert selection.skipped == {"crowd": 1, "few_visible": 2}
    assert [p["annotation_id"] for p in select_people(path, 11).people] == [1, 2, 3, 4]


@pytest.mark.parametrize("min_visible", [0, 1])
def test_a_person_with_no_visible_joint_is_refused_when_kept(
    tmp_path: Path, min_visible: int
) -> None:
    path = write_coco(tmp_path, [annotation(1, keypoints=[0] * 51)])
    people, skipped = select_people(path, min_visible)
    assert (len(people), skipped["few_visible"]) == ((1, 0) if min_visible == 0 else (0, 1))
    assert rows_of(tmp_path, people)[1] == ["keypoints_2d: no visible joint"] * len(people)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bbox": [20, 10, 0, 60]}, "box 20,10,0,60: zero area"),
        ({"bbox": [20, 10, float("nan"), 60]}, "expected four finite numbers"),
        ({"bbox": [20, 10, 40]}, "bbox: 3 numbers, expected 4"),
        ({"bbox": [200, 10, 40, 60]}, "does not fit the 100x80 photograph"),
        ({"keypoints": annotation(1)["keypoints"][:-3]}, "keypoints: 48 numbers, expected 51"),
        (
            {"keypoints": [float("nan"), *annotation(1)["keypoints"][1:]]},
            "keypoints_2d: NaN or infinite value",
        ),
    ],
)
def test_a_bad_person_is_refused_and_its_neighbours_stay(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    people = [annotation(1), annotation(2, **changes), annotation(3)]
    selection = select_people(write_coco(tmp_path, people), 0)
    good, bad = rows_of(tmp_path, selection.people)
    assert good == ["coco-000000000001-1", "coco-000000000001-3"]
    assert len(bad) == 1
    assert reason in bad[0]


def test_bad_images_are_refused_with_their_names(tmp_path: Path) -> None:
    people = [annotation(k, image_id=k) for k in range(1, 6)]
    path = write_coco(tmp_path, people, images=5)
    (tmp_path / "000000000002.png").unlink()
    (tmp_path / "000000000003.png").write_bytes(b"no image")
    whole = (tmp_path / "000000000004.png").read_bytes()
    (tmp_path / "000000000004.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (50, 80)).save(tmp_path / "000000000005.png")
    good, bad = rows_of(tmp_path, select_people(path).people)
    assert good == ["coco-000000000001-1"]
    said = ["no such image file", "not an image", "truncated or damaged", "image is 50x80 pixels"]
    for number, (reason, expected) in enumerate(zip(bad, said, strict=True), 2):
        assert f"{number:012d}.png: " in reason
        assert expected in reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"annotations": [{"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "category_id": 1}]},
            "nobody has keypoints",
        ),
        ({"annotations": []}, "nobody has keypoints"),
        ({"annotations": {}}, "no list 'annotations'"),
        ({"images": None}, "no list 'images'"),
        ({"annotations": [{"keypoints": []}]}, "an entry of 'annotations' lacks 'id'"),
        ({"images": [{"id": 1}]}, "an entry of 'images' lacks 'file_name'"),
        ({"annotations": [annotation(1, image_id=9)]}, "names image 9, which is not listed"),
        ({"annotations": [annotation(1, keypoints=[None] * 51)]}, "expected lists of numbers"),
        ({"annotations": [annotation(1, bbox="1,2,3,4")]}, "expected lists of numbers"),
        ({"annotations": [7]}, "expected objects in 'annotations'"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write_coco(tmp_path, [annotation(1)], changes=changes)
    with pytest.raises(UserError, match=rf"person_keypoints_test\.json: .*{message}"):
        select_people(path)


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"images": [', "\x00"])
def test_a_file_that_is_no_coco_json_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"a\.json: (not readable as JSON|no list 'images')"):
        select_people(path)


def test_the_annotation_file_of_a_folder_is_found(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found none"):
        find_annotations(tmp_path)
    path = write_coco(tmp_path, [annotation(1)])
    (tmp_path / "captions.json").write_text("{}")
    assert find_annotations(tmp_path) == path
    (tmp_path / "person_keypoints_other.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"found person_keypoints_other\.json, person_keypoints_test"
    ):
        find_annotations(tmp_path)
    with pytest.raises(UserError, match="no such COCO annotation file"):
        select_people(tmp_path / "absent.json")


@pytest.mark.skipif(not REAL.is_dir(), reason="the four real COCO photographs are not here")
def test_real_photographs_give_rows_whose_crops_show_the_person() -> None:
    path = find_annotations(REAL)
    selection = select_people(path)
    truth = {a["id"]: a for a in json.loads(path.read_text())["annotations"]}
    chosen = [i for i, a in truth.items() if sum(v > 0 for v in a["keypoints"][17::3]) >= 12]
    assert sorted(p["annotation_id"] for p in selection.people) == sorted(chosen)
    assert selection.skipped == {"crowd": 0, "few_visible": len(truth) - len(chosen)}
    made, refused = coco_rows(selection.people, REAL, 64, "coco-train")
    good, invalid = validate_rows(made, 64)
    assert (refused, invalid, len(good["image_id"])) == ([], [], len(chosen))
    for row, person in enumerate(selection.people):
        x0, y0, x1, y1 = good["crop"][row]
        left, top, width, height = truth[person["annotation_id"]]["bbox"]
        assert x0 <= left + 1
        assert y0 <= top + 1
        assert x1 >= left + width - 1
        assert y1 >= top + height - 1
        labelled = sum(v > 0 for v in person["keypoints"][2::3])
        assert int(good["keypoints_2d"][row][:, 2].sum()) == labelled
