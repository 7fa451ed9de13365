"""LSP and LSPet: opposite axes and flags, pictures by number or by order, MATLAB's pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from flat_checks import confident, keypoints, mark_errors
from multibodies.core.body import BodyArrays
from multibodies.core.joints import J24_NAMES
from multibodies.data.sources import matlab
from multibodies.data.sources.importer import Importer, SourceOptions
from multibodies.data.sources.lspet import HIGH_RESOLUTION
from multibodies.data.sources.record import Fault, Record
from multibodies.data.sources.registry import open_importer
from multibodies.errors import UserError
from multibodies.lookalikes.lsp import write_lsp, write_lspet
from multibodies.lookalikes.marked import Truth
from read_all import all_items, all_records

pytestmark = pytest.mark.slow

# The README of LSP, line by line.
LSP_NAMES = (
    "Right ankle", "Right knee", "Right hip", "Left hip", "Left knee", "Left ankle", "Right wrist",
    "Right elbow", "Right shoulder", "Left shoulder", "Left elbow", "Left wrist", "Neck",
    "Head top",
)  # fmt: skip
Tree = tuple[Path, list[Truth]]


@pytest.fixture(scope="module")
def lsp(tmp_path_factory: pytest.TempPathFactory, body: BodyArrays) -> Tree:
    root = tmp_path_factory.mktemp("lsp")
    return root, write_lsp(root, body)


@pytest.fixture(scope="module")
def lspet(tmp_path_factory: pytest.TempPathFactory, body: BodyArrays) -> Tree:
    root = tmp_path_factory.mktemp("lspet")
    return root, write_lspet(root, body)


def opened(name: str, root: Path, **options: Any) -> Importer:
    return open_importer(name, SourceOptions(str(root), **options))


def lsp_file(root: Path, joints: Any, **more: Any) -> Path:
    savemat(root / "joints.mat", {"joints": joints} | more)
    return root


def standing(people: int) -> np.ndarray[Any, Any]:
    """Persons [14, 3, N] on a line across 140 pixels, all flags 1."""
    line = np.arange(14)[:, None, None] * [[10.0], [10.0], [0.0]] + [[20.0], [30.0], [1.0]]
    return np.repeat(line, people, axis=2)


def test_the_order_of_lsp_is_that_of_the_first_14_of_j24() -> None:
    plain = [name.replace(" (LSP)", "").replace("Top of Head", "Head top") for name in J24_NAMES]
    assert [name.lower() for name in plain[:14]] == [name.lower() for name in LSP_NAMES]


def test_lsp_train_is_pictures_1_to_1000_and_test_the_others(lsp: Tree) -> None:
    importer = opened("lsp", lsp[0])
    train, test = (all_records(importer, split) for split in ("lsp-train", "lsp-test"))
    assert [r.picture.path.name for r in train] == [f"im{k:04d}.jpg" for k in range(1, 1001)]
    assert [r.picture.path.name for r in test] == [f"im{k:04d}.jpg" for k in range(1001, 2001)]
    assert train[0].image_id == "lsp-im0001"
    assert (test[0].source, test[0].sequence) == ("images/im1001.jpg", "im1001")
    assert train[0].picture.path == lsp[0] / "images" / "im0001.jpg"


def test_lsp_labels_lie_on_their_marks_from_matlab_pixels(lsp: Tree) -> None:
    root, truths = lsp
    importer = opened("lsp", root)
    starts = [("lsp-train", k) for k in range(3)] + [("lsp-test", k) for k in range(3)]
    errors = []
    for (split, start), truth in zip(starts, truths, strict=True):
        (record,) = importer.records(split, "joints.mat", start, 1)
        assert isinstance(record, Record)
        assert record.picture.path == truth.path
        seen = list(truth.visible)
        np.testing.assert_allclose(keypoints(record)[seen, :2], truth.points[seen], atol=1e-9)
        errors += mark_errors(truth.path, record, truth.points)
    assert len(errors) > 20
    assert np.abs(errors).max() < 0.3
    np.testing.assert_allclose(np.mean(errors, axis=0), 0, atol=0.1)


def test_lsp_flag_1_is_hidden_and_lspet_flag_1_is_visible(tmp_path: Path) -> None:
    flags = np.ones(14)
    flags[[3, 7]] = 0
    joints = standing(2000)
    joints[:, 2] = flags[:, None]
    found = {}
    for name, values in (("lsp", joints.transpose(1, 0, 2)), ("lspet", joints)):
        root = tmp_path / name
        root.mkdir()
        importer = opened(name, lsp_file(root, values))
        record = next(importer.records(f"{name}-train", "joints.mat", 0, 1))
        assert isinstance(record, Record)
        found[name] = confident(record)
    assert found["lsp"] == (3, 7)
    assert found["lspet"] == tuple(k for k in range(14) if k not in (3, 7))


def test_truths_of_lookalikes_say_who_is_visible(lsp: Tree, lspet: Tree) -> None:
    train = all_records(opened("lsp", lsp[0]), "lsp-train")
    for record, truth in zip(train, lsp[1][:3], strict=False):
        assert confident(record) == truth.visible
    extended = all_records(opened("lspet", lspet[0]), "lspet-train")
    assert [confident(r) for r in extended] == [t.visible for t in lspet[1]]
    assert any(len(t.visible) < 14 for t in [*lsp[1], *lspet[1]])


def test_lsp_box_is_that_of_all_joints_and_lspet_box_of_the_visible(tmp_path: Path) -> None:
    joints = standing(2000)
    joints[13, 2] = 0  # the last joint: 150.5, 160.5 in MATLAB's pixels is 150, 160
    other = joints.transpose(1, 0, 2).copy()
    other[2] = 1 - other[2]
    for name, values, box in (
        ("lsp", other, (84.5, 94.5, 156)),
        ("lspet", joints, (79.5, 89.5, 144)),
    ):
        root = tmp_path / name
        root.mkdir()
        record = next(
            opened(name, lsp_file(root, values)).records(f"{name}-train", "joints.mat", 0, 1)
        )
        assert isinstance(record, Record)
        assert record.box == pytest.approx(box)
        assert confident(record) == tuple(range(13))


def test_missing_pictures_do_not_stop_the_listing(lsp: Tree, tmp_path: Path) -> None:
    importer = opened("lsp", lsp[0])
    listing = importer.listing("lsp-train")
    assert listing.units == (("joints.mat", 1000),)
    assert not (lsp[0] / "images" / "im0999.jpg").exists()
    (record,) = importer.records("lsp-train", "joints.mat", 998, 1)
    assert record.image_id == "lsp-im0999"
    bare = opened("lspet", lsp_file(tmp_path, standing(3)))
    assert [r.picture.path.name for r in all_records(bare, "lspet-train")] == [
        f"im{k:05d}.jpg" for k in (1, 2, 3)
    ]


def test_lspet_in_high_resolution_pairs_png_pictures_in_the_order_of_names(lspet: Tree) -> None:
    root, truths = lspet
    records = all_records(opened("lspet", root), "lspet-train")
    assert [r.image_id for r in records] == [f"lspet-im{k:05d}" for k in (1, 3, 5, 7)]
    errors = []
    for record, truth in zip(records, truths, strict=True):
        assert record.picture.path == truth.path
        seen = list(truth.visible)
        np.testing.assert_allclose(keypoints(record)[seen, :2], truth.points[seen], atol=1e-9)
        errors += mark_errors(truth.path, record, truth.points)
    assert len(errors) > 15
    assert np.abs(errors).max() < 0.3


def test_lspet_of_the_first_release_has_jpg_pictures_by_number(
    tmp_path: Path, body: BodyArrays
) -> None:
    truths = write_lspet(tmp_path, body, high_resolution=False)
    truths[1].path.unlink()
    records = all_records(opened("lspet", tmp_path), "lspet-train")
    assert [r.picture.path for r in records] == [t.path for t in truths]
    elsewhere = opened("lspet", tmp_path / "joints.mat", images=str(tmp_path / "images"))
    assert [r.picture for r in all_records(elsewhere, "lspet-train")] == [
        r.picture for r in records
    ]


def test_lspet_prefers_png_pictures_to_jpg(tmp_path: Path) -> None:
    lsp_file(tmp_path, standing(1))
    for suffix in ("jpg", "png"):
        (tmp_path / f"im00002.{suffix}").touch()
    (record,) = all_records(opened("lspet", tmp_path), "lspet-train")
    assert record.picture.path == tmp_path / "im00002.png"


def test_lspet_refuses_to_guess_when_pictures_of_a_set_with_gaps_are_missing(
    lspet: Tree, tmp_path: Path
) -> None:
    lsp_file(tmp_path, standing(3))
    (tmp_path / "im00001.png").touch()
    assert opened("lspet", tmp_path).listing("lspet-train").units[0].records == 3
    (tmp_path / "im00007.png").touch()
    with pytest.raises(UserError, match=r"2 pictures im\*\.png for 3 columns .* unpack all"):
        opened("lspet", tmp_path).listing("lspet-train")
    full = tmp_path / "full"
    full.mkdir()
    lsp_file(full, standing(HIGH_RESOLUTION))
    (full / "im00001.png").touch()
    with pytest.raises(UserError, match=r"1 pictures .* for 9428 columns"):
        opened("lspet", full).listing("lspet-train")


def test_identity_depends_on_the_labels_and_on_the_pairing(lspet: Tree, tmp_path: Path) -> None:
    first = opened("lspet", lspet[0]).listing("lspet-train")
    assert first == opened("lspet", lspet[0]).listing("lspet-train")
    (tmp_path / "joints.mat").write_bytes((lspet[0] / "joints.mat").read_bytes())
    other = opened("lspet", tmp_path).listing("lspet-train")
    assert other.identity["sha256"] == first.identity["sha256"]
    assert other.identity["pictures_sha256"] != first.identity["pictures_sha256"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_person_is_a_fault_in_its_place(tmp_path: Path, bad: float) -> None:
    joints = standing(6)
    joints[4, 0, 0] = bad
    joints[4, 2, 1] = bad
    joints[:, 2, 2] = 0
    joints[1:, 2, 3] = 0
    joints[:, :2, 4] /= 1000
    items = all_items(opened("lspet", lsp_file(tmp_path, joints)), "lspet-train")
    assert [item.image_id for item in items] == [f"lspet-im{k:05d}" for k in range(1, 7)]
    assert isinstance(items[5], Record)
    reasons = [item.reason for item in items if isinstance(item, Fault)]
    said = ["NaN or infinite", "neither 0 nor 1", "no joint is visible", "spans 0 px", "spans 0.13"]
    assert all(word in reason for word, reason in zip(said, reasons, strict=True))


def test_nan_at_a_joint_that_lspet_did_not_place_is_no_fault(tmp_path: Path) -> None:
    joints = standing(1)
    joints[5] = [[np.nan], [np.nan], [0]]
    (record,) = all_records(opened("lspet", lsp_file(tmp_path, joints)), "lspet-train")
    assert np.isfinite(keypoints(record)).all()
    assert keypoints(record)[5].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("name", "joints", "message"),
    [
        (
            "lsp",
            np.zeros((14, 3, 2000)),
            r"\(14, 3, 2000\), expected numbers \(3, 14, 2000\)",
        ),
        ("lsp", np.zeros((3, 14, 1999)), r"is \(3, 14, 1999\), expected"),
        ("lsp", np.zeros((3, 13, 2000)), r"is \(3, 13, 2000\), expected"),
        ("lspet", np.zeros((3, 14, 5)), r"is \(3, 14, 5\), expected numbers \(14, 3, N\)"),
        ("lspet", np.array([["a"] * 3] * 14, object), r"'joints', cell 0 holds <U1, exp"),
        ("lspet", np.array([[1.0] * 3] * 14, object), r"is cells, expected numbers \(14, 3, N\)"),
    ],
)
def test_a_matrix_of_another_shape_is_refused(
    tmp_path: Path, name: str, joints: Any, message: str
) -> None:
    with pytest.raises(UserError, match=rf"joints\.mat: .*{message}.*LSP"):
        opened(name, lsp_file(tmp_path, joints)).listing(f"{name}-train")


def test_files_that_are_missing_or_damaged_are_refused_by_name(lsp: Tree, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such folder; expected LSP's joints\.mat"):
        opened("lsp", tmp_path / "absent")
    with pytest.raises(UserError, match="no such folder; expected the pictures"):
        opened("lsp", lsp[0], images=str(tmp_path / "absent"))
    with pytest.raises(UserError, match=r"joints\.mat: (cannot be read|no such file)"):
        opened("lsp", tmp_path).listing("lsp-train")
    whole = (lsp[0] / "joints.mat").read_bytes()
    for content in (
        b"",
        b"\0" * 500,
        b"no mat",
        whole[:-100],
        whole[:150],
        whole[:300] + whole[400:],
    ):
        (tmp_path / "joints.mat").write_bytes(content)
        with pytest.raises(UserError, match=r"joints\.mat: .*expected LSP's joints\.mat"):
            opened("lsp", tmp_path).listing("lsp-train")
    savemat(tmp_path / "joints.mat", {"points": np.zeros(3)})
    with pytest.raises(UserError, match="no variable 'joints', found points"):
        opened("lsp", tmp_path).listing("lsp-train")


def test_a_small_file_that_inflates_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matlab, "MEMORY", 2**28)
    savemat(tmp_path / "joints.mat", {"joints": np.zeros((14, 3, 2**19))}, do_compression=True)
    assert (tmp_path / "joints.mat").stat().st_size < 2**18
    with pytest.raises(UserError, match="needs more than 256 MiB"):
        opened("lspet", tmp_path).listing("lspet-train")


def test_parts_of_a_split_are_the_same_items_and_no_more(lspet: Tree) -> None:
    importer = opened("lspet", lspet[0])
    parts = [r for k in range(4) for r in importer.records("lspet-train", "joints.mat", k, 1)]
    whole = all_records(importer, "lspet-train")
    assert [p.image_id for p in parts] == [r.image_id for r in whole]
    for start, count, unit in ((0, 5, "joints.mat"), (-1, 1, "joints.mat"), (0, 1, "other")):
        with pytest.raises(UserError, match="List it again"):
            importer.records("lspet-train", unit, start, count)
    with pytest.raises(UserError, match="unknown split 'lspet-test'; did you mean 'lspet-train'"):
        importer.listing("lspet-test")
