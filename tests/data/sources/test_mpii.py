"""MPII: the release's .mat and train.h5 give the same records; squeezed singletons, odd flags."""

from __future__ import annotations

import struct as binary
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from flat_checks import confident, keypoints, mark_errors
from multibodies.core.body import BodyArrays
from multibodies.core.joints import J24_NAMES
from multibodies.data.sources.importer import Importer, SourceOptions
from multibodies.data.sources.mpii import importer as mpii
from multibodies.data.sources.mpii.h5 import read_h5
from multibodies.data.sources.mpii.importer import MPII16_TO_J24, read_release
from multibodies.data.sources.record import Fault
from multibodies.data.sources.registry import open_importer
from multibodies.errors import UserError
from multibodies.lookalikes.marked import Truth
from multibodies.lookalikes.mpii import FLAGS, RELEASE, struct, write_mpii
from read_all import all_items, all_records

pytestmark = pytest.mark.slow

# MPII's download page: the joint of each id.
MPII_NAMES = (
    "Right Ankle", "Right Knee", "Right Hip", "Left Hip", "Left Knee", "Left Ankle",
    "Pelvis (MPII)", "Thorax (MPII)", "Neck (LSP)", "Top of Head (LSP)", "Right Wrist",
    "Right Elbow", "Right Shoulder", "Left Shoulder", "Left Elbow", "Left Wrist",
)  # fmt: skip
Tree = tuple[Path, list[Truth]]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, body: BodyArrays) -> Tree:
    root = tmp_path_factory.mktemp("mpii")
    return root, write_mpii(root, body)


def opened(root: Path, **options: Any) -> Importer:
    return open_importer("mpii", SourceOptions(str(root), **options))


def table(**changes: Any) -> dict[str, Any]:
    """A train.h5 of two persons with all joints."""
    line = np.arange(1.0, 17)[:, None] * [10.0, 20.0]
    return {
        "imgname": np.array([b"000000001.jpg", b"000000002.jpg"]),
        "part": np.stack([line, line]),
        "center": np.array([[100.0, 200.0], [110.0, 200.0]]),
        "scale": np.array([1.0, 2.0]),
    } | changes


def h5_file(root: Path, **changes: Any) -> Path:
    with h5py.File(root / "train.h5", "w") as file:
        for name, value in table(**changes).items():
            if value is not None:
                file[name] = value
    return root / "train.h5"


def mat_file(path: Path, annolist: list[dict[str, Any]], **changes: Any) -> Path:
    release = {"annolist": struct(annolist, ("image", "annorect")), "img_train": np.ones((1, 1))}
    release |= changes
    savemat(path, {"RELEASE": struct([release], tuple(release))})
    return path


def person(flag: Any = 1, joints: int = 16, **changes: Any) -> dict[str, Any]:
    points = [{"x": 10.0 + k, "y": 20.0 + k, "id": k, "is_visible": flag} for k in range(joints)]
    fields = ("x", "y", "id", "is_visible")
    return {
        "annopoints": struct([{"point": struct(points, fields)}], ("point",)),
        "objpos": struct([{"x": 50.0, "y": 60.0}], ("x", "y")),
        "scale": 1.5,
    } | changes


def picture(*persons: dict[str, Any], name: Any = "000000001.jpg") -> dict[str, Any]:
    rects = struct(persons, tuple(persons[0])) if persons else np.zeros((0, 0))
    return {"image": struct([{"name": name}], ("name",)), "annorect": rects}


def test_the_j24_map_follows_the_names() -> None:
    assert tuple(J24_NAMES[k] for k in MPII16_TO_J24) == MPII_NAMES


def test_both_layouts_give_the_same_records(tree: Tree) -> None:
    root, truths = tree
    from_mat = all_records(opened(root / RELEASE), "mpii-train")
    from_h5 = all_records(opened(root / "annot" / "train.h5"), "mpii-train")
    assert len(from_mat) == len(from_h5) == len(truths)
    for one, other in zip(from_mat, from_h5, strict=True):
        np.testing.assert_array_equal(keypoints(one), keypoints(other))
        for field in ("image_id", "picture", "source", "box", "subject", "sequence", "size"):
            assert getattr(one, field) == getattr(other, field)


@pytest.mark.parametrize("labels", [RELEASE, "annot/train.h5"])
def test_labels_lie_on_their_marks_from_matlab_pixels(tree: Tree, labels: str) -> None:
    root, truths = tree
    errors, marks = [], []
    for record, truth in zip(all_records(opened(root / labels), "mpii-train"), truths, strict=True):
        assert record.picture.path == truth.path
        assert confident(record) == tuple(sorted(truth.visible))
        seen = list(truth.visible)
        errors.append(keypoints(record)[seen, :2] - truth.points[seen])
        marks += mark_errors(truth.path, record, truth.points)
    assert np.abs(errors).max() <= 0.5 + 1e-9  # MPII's labels are whole pixels
    np.testing.assert_allclose(np.concatenate(errors).mean(axis=0), 0, atol=0.15)
    assert len(marks) > 10
    np.testing.assert_allclose(np.mean(marks, axis=0), 0, atol=0.2)


def test_the_box_is_lower_and_wider_than_the_location_and_holds_everybody(tree: Tree) -> None:
    root, truths = tree
    (root_table, (name, center, scale)) = (h5py.File(root / "annot" / "train.h5"), ("", 0, 0))
    with root_table as file:
        center, scale = file["center"][0], file["scale"][0]
    record, *_ = all_records(opened(root), "mpii-train")
    assert name == ""
    assert record.box.x == center[0] - 0.5
    assert record.box.y == pytest.approx(center[1] - 0.5 + 15 * scale)
    assert record.box.side == pytest.approx(250 * scale)
    for item, truth in zip(all_records(opened(root), "mpii-train"), truths, strict=True):
        middle = np.array([item.box.x, item.box.y])
        assert (np.abs(truth.points[:18] - middle) < item.box.side / 2).all()


def test_persons_left_out_are_counted_by_rule(tree: Tree) -> None:
    root, truths = tree
    mat = opened(root / RELEASE).listing("mpii-train")
    assert mat.units == ((RELEASE, len(truths)),)
    assert mat.skipped == {
        "test_picture": 1, "no_joints": 2, "no_location": 1, "few_joints": 1
    }  # fmt: skip
    assert mat.identity["single_person"] == len(truths)
    h5 = opened(root).listing("mpii-train")
    assert h5.units == (("train.h5", len(truths)),)
    assert h5.skipped == {"no_location": 0, "few_joints": 1}
    assert h5.identity["layout"] == "h5"


def test_a_file_of_one_picture_one_person_and_one_point_squeezes_to_scalars(
    tmp_path: Path,
) -> None:
    one = mat_file(tmp_path / "one.mat", [picture(person())])
    squeezed = loadmat(one, squeeze_me=True)["RELEASE"]
    assert squeezed["annolist"].item().shape == ()
    assert len(read_release(one)["names"]) == 1
    single = read_release(mat_file(tmp_path / "p.mat", [picture(person(joints=1))]))
    np.testing.assert_array_equal(single["parts"][0, 0], [10, 20])
    assert not single["parts"][0, 1:].any()
    nobody = read_release(mat_file(tmp_path / "n.mat", [picture()]))
    assert nobody["parts"].shape == (0, 16, 2)


@pytest.mark.parametrize("flag", [*FLAGS, True, np.uint8(0)])
def test_is_visible_may_be_empty_text_or_a_number(tmp_path: Path, flag: Any) -> None:
    found = read_release(mat_file(tmp_path / "a.mat", [picture(person(flag))]))
    np.testing.assert_array_equal(found["parts"][0, :, 0], 10 + np.arange(16))


def test_single_person_may_be_empty_one_or_several(tmp_path: Path) -> None:
    cells = np.empty((4, 1), object)
    cells[:, 0] = [np.zeros((0, 0)), np.array([[2.0]]), np.array([[1.0], [3.0]]), 1.0]
    path = mat_file(
        tmp_path / "a.mat",
        [picture(person(), person(), person())] * 4,
        img_train=np.ones((1, 4)),
        single_person=cells,
    )
    alone = read_release(path)["alone"].reshape(4, 3)
    assert alone.tolist() == [[0, 0, 0], [0, 1, 0], [1, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    "names",
    [
        np.array([b"000000001.jpg", b"000000002.jpg"]),
        np.array(["000000001.jpg", "000000002.jpg"], object),
        np.array([list(b"000000001.jpg\0\0"), list(b"000000002.jpg\0\0")], np.float64),
    ],
    ids=["bytes", "text", "codes"],
)
def test_names_in_h5_are_bytes_text_or_codes(tmp_path: Path, names: Any) -> None:
    records = all_records(opened(h5_file(tmp_path, imgname=names)), "mpii-train")
    assert [r.source for r in records] == ["images/000000001.jpg", "images/000000002.jpg"]
    assert [r.image_id for r in records] == [
        "mpii-000000001-100x200", "mpii-000000002-110x200"
    ]  # fmt: skip


def test_persons_of_one_picture_at_one_place_have_two_ids(tmp_path: Path) -> None:
    path = h5_file(tmp_path, imgname=np.array([b"1.jpg"] * 2), center=np.full((2, 2), 7.0))
    assert [r.image_id for r in all_records(opened(path), "mpii-train")] == [
        "mpii-1-7x7", "mpii-1-7x7-2"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "place", "value", "reason"),
    [
        ("part", (1, 3, 0), np.nan, "keypoints: NaN or infinite"),
        ("part", (1, 3, 0), np.inf, "keypoints: NaN or infinite"),
        ("center", (1, 0), np.nan, "center, scale: NaN"),
        ("scale", (1,), np.nan, "center, scale: NaN"),
        ("part", (1,), 0.5 + np.arange(32.0).reshape(16, 2) / 100, "expected pixels"),
    ],
)
def test_a_bad_person_is_a_fault_in_its_place(
    tmp_path: Path, field: str, place: tuple[int, ...], value: Any, reason: str
) -> None:
    values = table()
    values[field][place] = value
    good, bad = all_items(opened(h5_file(tmp_path, **values)), "mpii-train")
    assert good.image_id == "mpii-000000001-100x200"
    assert isinstance(bad, Fault)
    assert reason in bad.reason


def test_persons_without_a_location_or_a_joint_are_left_out(tmp_path: Path) -> None:
    values = table()
    values["center"][0] = -1
    values["part"][1, 6] = 0
    listing = opened(h5_file(tmp_path, **values)).listing("mpii-train")
    assert listing.units[0].records == 0
    assert listing.skipped == {"no_location": 1, "few_joints": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part": None}, "no dataset 'part'"),
        ({"imgname": None}, "no dataset 'imgname'"),
        (
            {"part": np.zeros((2, 14, 2))},
            r"'part' is float64 \(2, 14, 2\), expected numbers \(2, 16",
        ),
        ({"part": np.zeros((3, 16, 2))}, r"'part' .*expected numbers \(2, 16, 2\)"),
        ({"scale": np.zeros((2, 1))}, r"'scale' .*expected numbers \(2,\)"),
        ({"center": np.array([b"a", b"b"])}, "'center' .*expected numbers"),
        ({"imgname": np.array([1.0, 2.0])}, "'imgname' .*expected names"),
        ({"imgname": np.array([b"\xff", b"a"])}, "damaged"),
    ],
)
def test_an_h5_of_another_layout_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=rf"train\.h5: .*{message}.*MPII's train"):
        opened(h5_file(tmp_path, **changes)).listing("mpii-train")


def test_an_h5_that_claims_too_many_persons_is_refused_unread(tmp_path: Path) -> None:
    huge = 10**9
    with h5py.File(tmp_path / "train.h5", "w") as file:
        for name, shape in (("part", (16, 2)), ("center", (2,)), ("scale", ())):
            file.create_dataset(name, (huge, *shape), "f8", chunks=(1000, *shape))
        file.create_dataset("imgname", (huge,), "S13", chunks=(1000,))
    with pytest.raises(UserError, match=r"\(1000000000, 2\)"):
        opened(tmp_path).listing("mpii-train")


@pytest.mark.parametrize(
    ("annolist", "changes", "message"),
    [
        ([picture(person())], {"img_train": np.ones((1, 3))}, "1 in 'annolist' and 3 in 'img_tr"),
        ([picture(person(), name=3.0)], {}, r"annolist\(1\)\.image has no 'name'"),
        ([picture(person(joints=17))], {}, r"annorect\(1\)\.annopoints\.point: id 16, expected 0"),
    ],
)
def test_a_mat_of_another_layout_is_refused(
    tmp_path: Path, annolist: Any, changes: dict[str, Any], message: str
) -> None:
    path = mat_file(tmp_path / "a.mat", annolist, **changes)
    with pytest.raises(UserError, match=rf"a\.mat: .*{message}"):
        read_release(path)


def test_files_that_are_missing_or_damaged_are_refused_by_name(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        opened(tmp_path / "absent")
    with pytest.raises(UserError, match=r"neither train\.h5 nor annot/train\.h5"):
        opened(tmp_path)
    with pytest.raises(UserError, match=r"x\.h5: no such file"):
        opened(tmp_path / "x.h5")
    (tmp_path / "a.mat").write_bytes(b"no labels")
    with pytest.raises(UserError, match=r"a\.mat: .*expected MPII's"):
        opened(tmp_path / "a.mat").listing("mpii-train")
    for name, read in ((RELEASE, read_release), ("annot/train.h5", read_h5)):
        whole = (tree[0] / name).read_bytes()
        for content in (b"", b"no labels", whole[: len(whole) // 2]):
            (tmp_path / "bad").write_bytes(content)
            with pytest.raises(UserError, match=r"bad: .*expected MPII's"):
                read(tmp_path / "bad")
    savemat(tmp_path / "b.mat", {"RELEASE": "text"})
    with pytest.raises(UserError, match=r"b\.mat: no struct 'RELEASE'"):
        read_release(tmp_path / "b.mat")


def test_a_mat_whose_nesting_ends_the_reader_is_one_clear_error(tmp_path: Path) -> None:
    """SciPy recurses in C: twenty thousand cells in one another are a segmentation fault."""
    head = nested_header(b"")
    content = binary.pack("<II", 14, 0)
    parts, size = [content], len(content)
    for depth in range(20_000, 0, -1):
        start = nested_header(b"RELEASE") if depth == 1 else head
        parts.append(binary.pack("<II", 14, size + len(start)) + start)
        size += len(parts[-1])
    lead = b"MATLAB 5.0 MAT-file".ljust(124) + binary.pack("<H", 0x0100) + b"IM"
    (tmp_path / "deep.mat").write_bytes(lead + b"".join(reversed(parts)))
    with pytest.raises(UserError, match=r"deep\.mat: its reader broke \(SIGSEGV\): damaged"):
        opened(tmp_path / "deep.mat").listing("mpii-train")


def nested_header(name: bytes) -> bytes:
    """Flags of a cell, its dimensions 1 by 1 and its name, as MATLAB 5 has them."""

    def element(kind: int, data: bytes) -> bytes:
        return binary.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)

    return (
        element(6, binary.pack("<II", 1, 0))
        + element(5, binary.pack("<ii", 1, 1))
        + element(1, name)
    )


def test_a_reader_that_takes_too_long_is_stopped(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mpii, "SECONDS", 0.01)
    with pytest.raises(UserError, match=r"took more than 0\.01 s.*expected MPII's"):
        read_release(tree[0] / RELEASE)


def test_pictures_are_found_by_the_labels_or_where_they_are_said_to_be(tree: Tree) -> None:
    root = tree[0]
    for place in (root, root / "annot" / "train.h5", root / RELEASE):
        record, *_ = all_records(opened(place), "mpii-train")
        assert record.picture.path == root / "images" / "000015001.jpg"
    record, *_ = all_records(opened(root, images=str(root / "annot")), "mpii-train")
    assert record.picture.path == root / "annot" / "000015001.jpg"
    assert not record.picture.path.exists()
