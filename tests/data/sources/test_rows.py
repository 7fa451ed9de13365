"""Records become rows: what a row shows is held against the pixels, and against the truth in mm."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multibodies.config import DataConfig
from multibodies.core.body import load_body
from multibodies.core.occlusion import STRATEGIES, hidden_joints
from multibodies.data.pixels import decode_jpeg
from multibodies.data.schema import table_from_rows
from multibodies.data.sources.hiding import hide_record, uniforms
from multibodies.data.sources.record import Box, Fault, Floats, Picture, Record
from multibodies.data.sources.rows import RowMaker, stored_side
from multibodies.data.validation import validate_rows
from multibodies.lookalikes.people import COLOURS, Person, draw_picture, project, sample_person

SIZE = (640, 480)
CAMERA = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
LIMBS = range(12)  # the marks of the head lie over each other
NOWHERE = Picture(Path("/nowhere/a.jpg"))
PLAIN = DataConfig(image_size=64, occlusion_share=0.0)
BIG = DataConfig(image_size=224, context=1.5, image_format="jpeg", occlusion_share=0.0)


@pytest.fixture(scope="module")
def person() -> Person:
    return sample_person(load_body(), np.random.default_rng(3))


@pytest.fixture(scope="module")
def record(person: Person) -> Record:
    points = project(person.j24, CAMERA)
    low, high = points.min(0), points.max(0)
    x, y = (low + high) / 2
    return Record(
        image_id="3dpw-a-p0-00001",
        picture=NOWHERE,
        source="a/image_00001.jpg",
        box=Box(x, y, 1.2 * (high - low).max()),
        subject="a-p0",
        sequence="a",
        keypoints=np.column_stack([points, np.ones(24)]),
        openpose=np.column_stack([project(person.openpose25, CAMERA), np.full(25, 0.5)]),
        joints_3d=np.column_stack([person.j24, np.ones(24)]),
        h36m17=person.h36m17,
        theta=person.theta,
        beta=person.beta,
        size=SIZE,
    )


@pytest.fixture(scope="module")
def picture(person: Person) -> np.ndarray[Any, Any]:
    return draw_picture(SIZE, project(person.j24, CAMERA), np.random.default_rng(0), radius=5)


def made(record: Record, data: DataConfig, picture: Any, split: str = "3dpw-test") -> Any:
    rows, refused = RowMaker(data, split, lambda _: picture).rows([record])
    return {n: v[0] for n, v in rows.items()} if not refused else refused[0].reason


def pixels_at(image: Any, ndc: Floats) -> Any:
    """The pixels under points of a square image from -1 to 1."""
    index = np.floor((ndc + 1) / 2 * image.shape[0]).astype(int)
    return image[index[:, 1], index[:, 0]].astype(int)


def test_labels_lie_on_the_marks_of_the_picture(record: Record, picture: Any) -> None:
    row = made(record, replace_size(PLAIN, 256), picture)
    seen = row["keypoints_2d"]
    assert seen[:, 2].all()
    apart = np.linalg.norm(pixels_at(row["image"], seen[:, :2]) - COLOURS, axis=1)[LIMBS]
    assert (apart < 40).sum() >= 10, apart  # a mark may lie under another


def replace_size(data: DataConfig, size: int) -> DataConfig:
    return data.model_copy(update={"image_size": size})


def test_3d_labels_are_the_truth_about_their_roots(
    record: Record, picture: Any, person: Person
) -> None:
    row = made(record, PLAIN, picture)
    hips = (person.j24[2] + person.j24[3]) / 2
    assert np.abs(row["joints_3d"][:, :3] - (person.j24 - hips)).max() < 1e-6
    assert np.abs(row["h36m17"] - (person.h36m17 - person.h36m17[0])).max() < 1e-6
    np.testing.assert_allclose(row["theta"], person.theta, atol=1e-6)
    assert [row[f"has_{name}"] for name in ("2d", "3d", "h36m17", "smpl")] == [True] * 4
    assert (row["dataset"], row["split"], row["occlusion"]) == ("3dpw", "3dpw-test", "none")


def test_the_crop_column_gives_source_pixels_back(record: Record, picture: Any) -> None:
    for data, split in ((PLAIN, "3dpw-test"), (BIG, "3dpw-train")):
        row = made(record, data, picture, split)
        x0, y0, x1, y1 = row["crop"]
        back = (row["keypoints_2d"][:, :2] + 1) / 2 * (x1 - x0, y1 - y0) + (x0, y0)
        assert record.keypoints is not None
        assert np.abs(back - record.keypoints[:, :2]).max() < 1e-3


def test_training_pictures_have_room_around_a_crop_that_is_their_middle(
    record: Record, picture: Any
) -> None:
    row = made(record, BIG, picture, "3dpw-train")
    whole = decode_jpeg(row["image"])
    assert whole.shape == (336, 336, 3)
    middle = whole[56:280, 56:280]
    apart = np.linalg.norm(pixels_at(middle, row["keypoints_2d"][:, :2]) - COLOURS, axis=1)[LIMBS]
    assert (apart < 60).sum() >= 10, apart
    assert decode_jpeg(made(record, BIG, picture)["image"]).shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("context", "side"), [(1.0, 224), (1.5, 336), (1.25, 280), (1.003, 224), (1.01, 226)]
)
def test_the_stored_side_is_even_apart(context: float, side: int) -> None:
    data = BIG.model_copy(update={"context": context})
    assert stored_side(data, "h36m-train") == side
    assert stored_side(data, "h36m-test") == 224


def test_unknown_labels_are_zero_and_say_so(record: Record, picture: Any) -> None:
    bare = replace(record, joints_3d=None, h36m17=None, theta=None, beta=None, openpose=None)
    row = made(bare, PLAIN, picture)
    for name in ("joints_3d", "h36m17", "theta", "beta", "openpose", "camera"):
        assert not row[name].any()
    assert [row[f"has_{name}"] for name in ("2d", "3d", "h36m17", "smpl")] == [True] + [False] * 3


def test_rows_without_keypoints_are_kept(record: Record, picture: Any) -> None:
    rows, refused = RowMaker(PLAIN, "3dpw-test", lambda _: picture).rows(
        [replace(record, keypoints=None, openpose=None)]
    )
    good, bad = validate_rows(rows, 64)
    assert (refused, bad, good["has_2d"]) == ([], [], [False])
    assert table_from_rows(good, 64).num_rows == 1


def test_joints_outside_the_picture_or_the_crop_are_invisible(record: Record, picture: Any) -> None:
    assert record.keypoints is not None
    points = record.keypoints.copy()
    points[0, :2], points[1, :2], points[2, 2] = (-5, 100), (record.box.x, 479.0), 0
    row = made(replace(record, keypoints=points), PLAIN, picture)
    visible = row["keypoints_2d"][:, 2]
    assert visible[[0, 2]].tolist() == [0, 0]
    assert not row["keypoints_2d"][2].any()
    crop = row["crop"]
    assert visible[1] == float(crop[3] >= 479.0)


def spoilt(record: Record, **changes: Any) -> Record:
    arrays: dict[str, Any] = {}
    for name, (index, value) in changes.items():
        array = np.array(getattr(record, name), np.float64)
        array[index] = value
        arrays[name] = array
    return replace(record, **arrays)


def test_faults_are_told_by_field(record: Record, picture: Any) -> None:
    assert record.joints_3d is not None and record.h36m17 is not None
    cases = {
        "keypoints: NaN or infinite": spoilt(record, keypoints=((3, 0), np.nan)),
        "theta: NaN or infinite": spoilt(record, theta=((1, 0), np.inf)),
        "joints_3d: shape (23, 4), expected (24, 4)": replace(
            record, joints_3d=record.joints_3d[:23]
        ),
        "millimetres?; expected a person in metres": replace(
            record, joints_3d=record.joints_3d * [1e3, 1e3, 1e3, 1]
        ),
        "h36m17: 0.00": replace(record, h36m17=record.h36m17 / 1000),
        "joints_3d: no hips": spoilt(record, joints_3d=((2, 3), 0)),
        "keypoints: nobody there": spoilt(record, keypoints=((slice(None), 2), 0)),
        "box: side 0 px": replace(record, box=Box(10, 10, 0)),
        "box: side nan px": replace(record, box=Box(10, 10, float("nan"))),
        "gender: 'm', expected one of": replace(record, gender="m"),
        "beta: 300": spoilt(record, beta=(0, 300)),
        "image is 640x480 pixels, the annotations say 641x480": replace(record, size=(641, 480)),
        "does not fit the 640x480 photograph": replace(record, box=Box(-900, -900, 100)),
    }
    for message, bad in cases.items():
        assert message in made(bad, PLAIN, picture), message


def test_a_missing_picture_is_named_within_its_set(record: Record) -> None:
    rows, refused = RowMaker(PLAIN, "3dpw-test").rows([record, Fault("x", "why"), record])
    assert [(r.row, r.image_id) for r in refused] == [
        (0, record.image_id),
        (1, "x"),
        (2, refused[0].image_id),
    ]
    assert [r.reason for r in refused] == [
        "a/image_00001.jpg: no such image file",
        "why",
        refused[0].reason,
    ]
    assert rows["image_id"] == []


def records(record: Record, count: int) -> list[Record]:
    return [replace(record, image_id=f"3dpw-x-{k:05d}") for k in range(count)]


def test_ambiguous_splits_hide_by_the_papers_probabilities(record: Record) -> None:
    hidden = [hide_record(r, PLAIN, "a3dpw-test", SIZE) for r in records(record, 2000)]
    share = Counter(h.strategy for h in hidden)
    for name, expected in STRATEGIES.items():
        assert abs(share[name] / 2000 - expected) < 0.04
    for h in hidden:
        assert tuple(np.flatnonzero(h.joints)) == tuple(sorted(hidden_joints(h.strategy)))


def test_hiding_depends_on_seed_and_image_alone(record: Record) -> None:
    assert uniforms(0, "a") == uniforms(0, "a") != uniforms(1, "a") != uniforms(1, "b")
    values = np.array([uniforms(7, str(k)) for k in range(4000)])
    assert abs(values.mean(0) - 0.5).max() < 0.02
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.05


def test_the_box_goes_around_what_is_left(record: Record) -> None:
    assert record.keypoints is not None
    by_name = {
        h.strategy: h
        for h in (hide_record(r, PLAIN, "a3dpw-test", SIZE) for r in records(record, 50))
    }
    assert set(by_name) == set(STRATEGIES)
    for name, h in by_name.items():
        rest = [k for k in range(24) if k not in hidden_joints(name)]
        low, high = (f(record.keypoints[rest, :2], axis=0) for f in (np.min, np.max))
        assert (h.box.x, h.box.y) == pytest.approx(tuple((low + high) / 2))
        assert h.box.side == pytest.approx((high - low).max() * 1.3)


def test_the_released_rule(record: Record, picture: Any) -> None:
    data = DataConfig(
        image_size=224, occlusion_share=0.0, occlusion_head="arms", crop_padding=0, crop_extra_px=1
    )
    assert record.keypoints is not None
    for one in records(record, 30):
        h = hide_record(one, data, "ah36m-test", SIZE)
        rest = [k for k in range(24) if not h.joints[k]]
        side = np.ptp(record.keypoints[rest, :2], axis=0).max()
        assert h.box.side == pytest.approx(side * (1 + 1 / 224))
        if h.strategy == "head":  # deletes the arms
            assert np.flatnonzero(h.joints).tolist() == [6, 7, 8, 9, 10, 11]
            assert np.flatnonzero(h.openpose).tolist() == [2, 3, 4, 5, 6, 7]


def test_training_rows_are_hidden_by_their_share_and_others_never(record: Record) -> None:
    data = DataConfig(occlusion_share=0.5)
    boxes = [hide_record(r, data, "coco-train", SIZE).box for r in records(record, 600)]
    assert abs(np.mean([box != record.box for box in boxes]) - 0.5) < 0.06
    assert hide_record(record, data, "coco-val", SIZE).box == record.box


def test_nobody_is_hidden_altogether(record: Record) -> None:
    points = np.zeros((24, 3))
    points[[0, 1, 2]] = [[100, 100, 1], [120, 140, 1], [110, 180, 1]]  # one leg
    few = replace(record, keypoints=points)
    for one in (replace(few, image_id=str(k)) for k in range(40)):
        h = hide_record(one, PLAIN, "a3dpw-test", SIZE)
        assert h.strategy == "none"
        assert not h.joints.any()
        assert h.box.side == pytest.approx(80 * 1.3)


def test_hidden_joints_are_invisible_in_the_row(record: Record, picture: Any) -> None:
    for one in records(record, 12):
        row = made(one, PLAIN, picture, "a3dpw-test")
        hidden = list(hidden_joints(row["occlusion"]))
        assert not row["keypoints_2d"][hidden, 2].any()
        assert row["dataset"] == "a3dpw"
        torch.testing.assert_close(row["joints_3d"][:, 3], np.ones(24, np.float32))
