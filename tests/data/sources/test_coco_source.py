"""COCO: flags, selection, box, ids and half pixels; real photographs where they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flat_checks import confident, keypoints, mark_errors
from multibodies.core.body import BodyArrays
from multibodies.core.joints import J24_NAMES
from multibodies.data.photo import load_photo
from multibodies.data.sources import coco
from multibodies.data.sources.coco_file import select_people
from multibodies.data.sources.importer import Importer, SourceOptions
from multibodies.data.sources.record import Box, Fault, Record
from multibodies.data.sources.registry import open_importer
from multibodies.errors import UserError
from multibodies.lookalikes.coco import KEYPOINTS, write_coco
from multibodies.lookalikes.marked import SIZE, Truth
from read_all import all_items, all_records

REAL = Path(__file__).parents[3] / "../shared/real/coco"
Tree = tuple[Path, list[Truth]]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, body: BodyArrays) -> Tree:
    root = tmp_path_factory.mktemp("coco")
    return root, write_coco(root, body)


def opened(root: Path, **options: Any) -> Importer:
    return open_importer("coco", SourceOptions(str(root), **options))


def grid(**changes: Any) -> dict[str, Any]:
    """A person whose keypoint k is at 22 + 2k, 12 + 3k."""
    flat = [n for k in range(17) for n in (22 + 2 * k, 12 + 3 * k, 1 + k % 2)]
    whole = {"id": 5, "image_id": 7, "category_id": 1, "iscrowd": 0}
    return whole | {"bbox": [20, 10, 40, 60], "keypoints": flat} | changes


def written(root: Path, *annotations: dict[str, Any], **changes: Any) -> Path:
    content = {
        "images": [{"id": 7, "file_name": "7.jpg", "width": 100, "height": 80}],
        "annotations": list(annotations),
        "categories": [{"id": 1, "name": "person"}],
    } | changes
    (root / "a.json").write_text(json.dumps(content))
    return root


def test_a_person_becomes_a_record(tmp_path: Path) -> None:
    (record,) = all_records(opened(written(tmp_path, grid())), "coco-train")
    assert record.image_id == "coco-000000000007-5"
    assert (record.subject, record.sequence, record.source) == ("coco-5", "7", "7.jpg")
    assert record.picture == (tmp_path / "7.jpg", None)
    assert record.box == pytest.approx(Box(40, 40, 72))  # 1.2 times the longer side, its centre
    assert record.size == (100, 80)
    for field in ("openpose", "joints_3d", "h36m17", "theta", "beta"):
        assert getattr(record, field) is None


def test_keypoints_go_to_the_joints_of_their_names_half_a_pixel_on(tmp_path: Path) -> None:
    (record,) = all_records(opened(written(tmp_path, grid())), "coco-train")
    names = [name.lower().replace(" ", "_") for name in J24_NAMES]
    for k, name in enumerate(KEYPOINTS):
        expected = [22 + 2 * k + 0.5, 12 + 3 * k + 0.5, 1]
        np.testing.assert_array_equal(keypoints(record)[names.index(name)], expected)
    assert not keypoints(record)[12:19].any()


def test_labels_lie_on_their_marks(tree: Tree) -> None:
    root, truths = tree
    records = all_records(opened(root), "coco-train")
    errors, marks = [], []
    for record, truth in zip(records, truths, strict=True):
        assert record.picture.path == truth.path
        assert record.size == SIZE
        assert confident(record) == tuple(sorted(truth.visible))
        seen = list(truth.visible)
        errors.append(keypoints(record)[seen, :2] - truth.points[seen])
        marks += mark_errors(truth.path, record, truth.points)
    assert np.abs(np.concatenate(errors)).max() <= 0.5 + 1e-9  # COCO's labels are whole pixels
    np.testing.assert_allclose(np.concatenate(errors).mean(axis=0), 0, atol=0.2)
    assert len(marks) > 10
    np.testing.assert_allclose(np.mean(marks, axis=0), 0, atol=0.25)


def test_flags_1_and_2_are_labelled_and_0_is_not(tmp_path: Path) -> None:
    flat = grid()["keypoints"]
    flat[2], flat[5], flat[8] = 0, 1, 2  # nose, eyes
    (record,) = all_records(opened(written(tmp_path, grid(keypoints=flat))), "coco-train")
    assert keypoints(record)[19].tolist() == [0, 0, 0]
    assert keypoints(record)[[20, 21], 2].tolist() == [1, 1]


def test_crowds_and_persons_with_few_joints_are_left_out_and_counted(
    tree: Tree, tmp_path: Path
) -> None:
    listing = opened(tree[0]).listing("coco-train")
    assert listing.units == (("person_keypoints_train2014.json", len(tree[1])),)
    assert listing.skipped == {"crowd": 1, "few_visible": 1}
    assert listing.identity["min_visible"] == 12
    ankle_gone = [*grid()["keypoints"][:-1], 0]
    face_gone = [0] * 15 + grid()["keypoints"][15:]
    root = written(
        tmp_path,
        grid(id=3, keypoints=ankle_gone),
        grid(id=2, keypoints=face_gone),
        grid(id=1, category_id=2),
    )
    assert [r.image_id[-2:] for r in all_records(opened(root), "coco-train")] == ["-2"]
    both = all_records(opened(root, min_visible=11), "coco-train")
    assert [r.image_id[-2:] for r in both] == ["-2", "-3"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bbox": [20, 10, 0, 60]}, "box 20,10,0,60: zero area"),
        ({"bbox": [20, 10, float("nan"), 60]}, "expected four finite numbers"),
        ({"bbox": [20, 10, 40]}, "bbox: 3 numbers, expected 4"),
        ({"keypoints": grid()["keypoints"][:-3]}, "keypoints: 48 numbers, expected 51"),
        ({"keypoints": [float("nan"), *grid()["keypoints"][1:]]}, "NaN or infinite"),
        ({"keypoints": [0] * 51}, "no joint is labelled"),
    ],
)
def test_a_bad_person_is_a_fault_and_its_neighbours_stay(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    root = written(tmp_path, grid(id=1), grid(id=2, **changes), grid(id=3))
    one, bad, three = all_items(opened(root, min_visible=0), "coco-train")
    assert isinstance(one, Record)
    assert isinstance(three, Record)
    assert isinstance(bad, Fault)
    assert bad.image_id == "coco-000000000007-2"
    assert reason in bad.reason


def test_one_labelled_joint_is_enough_when_asked_for(tmp_path: Path) -> None:
    flat = [0] * 48 + [30, 40, 2]
    root = written(tmp_path, grid(keypoints=flat))
    (record,) = all_records(opened(root, min_visible=1), "coco-train")
    assert confident(record) == (0,)
    with pytest.raises(UserError, match=r"no person has 2 of keypoints .* lower min_visible"):
        opened(root, min_visible=2).listing("coco-train")


def test_pictures_lie_in_cocos_own_folder_or_flat_or_where_said(
    tree: Tree, tmp_path: Path, body: BodyArrays
) -> None:
    names = [truth.path.name for truth in tree[1]]
    label = tree[0] / "annotations" / "person_keypoints_train2014.json"
    flat = tmp_path / "flat"
    flat.mkdir()
    write_coco(flat, body, flat=True)
    for importer, folder in (
        (opened(tree[0]), tree[0] / "train2014"),
        (opened(label), tree[0] / "train2014"),
        (opened(flat), flat),
        (opened(tree[0], images=str(flat)), flat),
    ):
        paths = [r.picture.path for r in all_records(importer, "coco-train")]
        assert paths == [folder / name for name in names]


def test_folders_without_one_annotation_file_are_refused(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder; expected COCO's folder"):
        opened(tmp_path / "absent")
    with pytest.raises(UserError, match=r"x\.json: no such file"):
        opened(tmp_path / "x.json")
    with pytest.raises(UserError, match="found none"):
        opened(tmp_path)
    (tmp_path / "annotations").mkdir()
    for year in ("2014", "2017"):
        (tmp_path / "annotations" / f"person_keypoints_train{year}.json").write_text("{}")
    with pytest.raises(UserError, match=r"found person_keypoints_train2014\.json, .*name the file"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": []}, "nobody has keypoints"),
        ({"images": None}, "no list 'images'"),
        ({"annotations": [grid(), grid()]}, "two entries of 'annotations' have the same id"),
        (
            {"annotations": [grid(image_id=[7])]},
            r"'image_id' \[7\] in 'annotations', exp",
        ),
        ({"annotations": [grid(id="5")]}, "'id' '5' in 'annotations', expected a whole number"),
        (
            {"images": [{"id": 7, "file_name": "7", "width": float("inf"), "height": 1}]},
            "expected lists of numbers",
        ),
    ],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=rf"a\.json: .*{message}"):
        opened(written(tmp_path, grid(), **changes)).listing("coco-train")


@pytest.mark.parametrize("content", ["", '{"images": [', "[" * 100_000, "\x00"])
def test_a_file_that_is_no_json_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=r"a\.json: not readable as JSON"):
        opened(tmp_path).listing("coco-train")


def test_a_process_reads_the_file_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    select = select_people

    def counted(path: str, least: int) -> Any:
        read.append(least)
        return select(path, least)

    monkeypatch.setattr(coco, "select_people", counted)
    importer = opened(written(tmp_path, grid()))
    all_records(importer, "coco-train")
    all_records(opened(tmp_path), "coco-train")
    assert len(read) == 1
    written(tmp_path, grid(), grid(id=66))
    assert len(all_records(importer, "coco-train")) == 2
    assert len(read) == 2


@pytest.mark.skipif(not REAL.is_dir(), reason="the four real COCO photographs are not here")
def test_real_photographs_have_their_persons_inside_box_and_picture() -> None:
    importer = opened(REAL)
    records = all_records(importer, "coco-train")
    content = json.loads((REAL / "test_coco.json").read_text())
    people = sorted(content["annotations"], key=lambda a: (a["image_id"], a["id"]))
    truth = {f"coco-{a['image_id']:012d}-{a['id']}": a for a in people}
    chosen = [i for i, a in truth.items() if sum(v > 0 for v in a["keypoints"][17::3]) >= 12]
    assert [r.image_id for r in records] == chosen
    skipped = importer.listing("coco-train").skipped
    assert skipped == {"crowd": 0, "few_visible": len(truth) - len(chosen)}
    for record in records:
        image, person = load_photo(record.picture.path), truth[record.image_id]
        assert record.size == (image.shape[1], image.shape[0])
        seen = keypoints(record)[keypoints(record)[:, 2] > 0, :2]
        assert len(seen) == person["num_keypoints"]
        left, top, width, height = person["bbox"]
        low = np.array([record.box.x, record.box.y]) - record.box.side / 2
        high = low + record.box.side
        assert (low <= [left, top]).all()
        assert (high >= [left + width, top + height]).all()
        assert ((seen > low) & (seen < high)).all()
        assert ((seen > 0) & (seen < record.size)).all()
