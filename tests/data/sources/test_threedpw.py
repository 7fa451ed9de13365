"""3DPW's importer on a look-alike whose truth comes from meshes posed in the world.

Points in the camera's frame are held to 1e-7 m, not less: the regressors' rows are float32 and
sum to one within 5e-8, so they do not commute exactly with a shift.
"""

from __future__ import annotations

import dataclasses
import pickle
import pickletools
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from multibodies.core.body import BodyArrays, load_body
from multibodies.data.photo import load_photo
from multibodies.data.sources import threedpw_file
from multibodies.data.sources.importer import Importer, SourceOptions
from multibodies.data.sources.labels import body_joints
from multibodies.data.sources.record import Record
from multibodies.data.sources.registry import open_importer
from multibodies.data.sources.threedpw_file import read_sequence
from multibodies.data.sources.threedpw_records import pose_in_camera
from multibodies.lookalikes.people import COLOURS
from multibodies.lookalikes.threedpw import SIZE, Truth, write_threedpw
from multibodies.pickles import read_pickle
from threedpw_samples import all_items, importer_of, load_fields, write_bodies

# OpenPose's output.md: COCO's 18 keypoints, and where BODY_25 has them.
COCO18_IN_25 = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 9, 9: 10, 10: 11, 11: 12,
                12: 13, 13: 14, 14: 15, 15: 16, 16: 17, 17: 18}  # fmt: skip


class Tree(NamedTuple):
    root: Path
    bodies: dict[str, str]
    loaded: dict[str, BodyArrays]
    truths: list[Truth]
    importer: Importer

    def file(self, split: str) -> Path:
        return next((self.root / "sequenceFiles" / split).glob("*.pkl"))

    def pairs(self, split: str) -> list[tuple[Record, Truth]]:
        """Records beside the truths of the frames that are to be kept."""
        folder = {"3dpw-val": "validation"}.get(split, split.removeprefix("3dpw-"))
        kept = [t for t in self.truths if t.split == folder and t.kept]
        items = all_items(self.importer, split)
        records = [item for item in items if isinstance(item, Record)]
        assert len(records) == len(items) == len(kept) > 0
        return list(zip(records, kept, strict=True))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    root = tmp_path_factory.mktemp("3dpw")
    bodies = write_bodies(tmp_path_factory.mktemp("bodies"))
    loaded = {gender: load_body(path) for gender, path in bodies.items()}
    truths = write_threedpw(root, loaded)
    importer = open_importer("3dpw", SourceOptions(str(root), bodies=bodies))
    return Tree(root, bodies, loaded, truths, importer)


@pytest.fixture
def fields(tree: Tree) -> dict[str, Any]:
    found = deepcopy(load_fields(tree.file("test")))
    return found | {"sequence": "seq"}


def test_the_look_alikes_pickles_are_python_2s(tree: Tree) -> None:
    content = tree.file("test").read_bytes()
    with pytest.raises(UnicodeDecodeError):
        pickle.loads(content)
    opcodes = [(op.name, arg) for op, arg, _ in pickletools.genops(content)]
    assert not {"BINUNICODE", "BINBYTES", "SHORT_BINBYTES"} & {name for name, _ in opcodes}
    assert ("GLOBAL", "numpy.core.multiarray _reconstruct") in opcodes
    assert ("SHORT_BINSTRING", "jointPositions") in opcodes


@pytest.mark.parametrize("split", ["3dpw-train", "3dpw-val", "3dpw-test"])
def test_records_hold_the_truth_in_the_cameras_frame(tree: Tree, split: str) -> None:
    for record, truth in tree.pairs(split):
        assert record.joints_3d is not None and record.keypoints is not None
        assert record.h36m17 is not None and record.theta is not None
        np.testing.assert_allclose(record.joints_3d[:, :3], truth.j24, atol=1e-7)
        np.testing.assert_allclose(record.h36m17, truth.h36m17, atol=1e-7)
        np.testing.assert_allclose(record.keypoints[:, :2], truth.pixels, atol=1e-4)
        assert (record.joints_3d[:, 3] == 1).all() and (record.keypoints[:, 2] == 1).all()
        np.testing.assert_array_equal(record.theta[1:], truth.world.theta[1:])
        assert record.gender == truth.world.gender


def test_the_root_is_turned_into_the_camera(tree: Tree) -> None:
    for record, truth in tree.pairs("3dpw-test"):
        assert record.theta is not None
        world = Rotation.from_rotvec(truth.world.theta[0])
        expected = Rotation.from_matrix(truth.camera[:3, :3]) * world
        found = Rotation.from_rotvec(record.theta[0])
        assert (found.inv() * expected).magnitude() < 1e-12
        assert (found.inv() * world).magnitude() > 1  # upside down for a camera, so it matters


def test_theta_and_beta_posed_are_the_joints(tree: Tree) -> None:
    for record, truth in tree.pairs("3dpw-test"):
        assert record.theta is not None and record.beta is not None
        body = tree.loaded[record.gender]
        posed = body_joints(body, record.theta[None], record.beta[None]).smpl24[0]
        np.testing.assert_allclose(posed - posed[0], truth.smpl24 - truth.smpl24[0], atol=1e-9)


def test_moving_the_posed_body_is_posing_the_moved_one(tree: Tree) -> None:
    sequence = read_sequence(tree.file("test"))
    for actor in sequence.actors:
        body = tree.loaded[actor.gender]
        frames = actor.kept
        cameras = sequence.cameras[frames]
        moved = pose_in_camera(actor, frames, cameras, body).joints.smpl24
        betas = np.tile(actor.beta, (len(frames), 1))
        world = body_joints(body, actor.poses[frames], betas).smpl24
        world = world + actor.trans[frames][:, None]
        expected = np.einsum("nij,nkj->nki", cameras[:, :3, :3], world)
        np.testing.assert_allclose(moved, expected + cameras[:, None, :3, 3], atol=1e-9)


def test_the_truth_is_posed_with_the_body_of_the_gender(tree: Tree) -> None:
    neutral = load_body()
    for record, _ in tree.pairs("3dpw-test"):
        assert record.theta is not None and record.beta is not None and record.h36m17 is not None
        other = body_joints(neutral, record.theta[None], record.beta[None]).h36m17[0]
        apart = (record.h36m17 - record.h36m17[0]) - (other - other[0])
        assert np.linalg.norm(apart, axis=1).max() > 0.02


def test_keypoints_are_the_middles_of_their_marks_in_the_picture(tree: Tree) -> None:
    pairs = tree.pairs("3dpw-train")
    checked = 0
    for record, truth in pairs:
        picture = load_photo(record.picture.path).astype(float)
        assert record.keypoints is not None
        frame = [t.pixels for t in tree.truths if t.image == truth.image]
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


def test_poses2d_are_turned_round_and_go_to_openposes_places(tree: Tree) -> None:
    absent = 0
    for record, truth in tree.pairs("3dpw-test"):
        assert record.openpose is not None
        for coco, place in COCO18_IN_25.items():
            np.testing.assert_array_equal(record.openpose[place], truth.points[coco])
        unknown = sorted(set(range(25)) - set(COCO18_IN_25.values()))
        assert not record.openpose[unknown].any()
        absent += int((truth.points[:, 2] == 0).sum())
    assert absent > 0


def test_the_box_is_padded_and_ignores_points_without_confidence(tree: Tree) -> None:
    for record, truth in tree.pairs("3dpw-test"):
        seen = [(x, y) for x, y, c in truth.points if c > 0]
        xs, ys = [x for x, _ in seen], [y for _, y in seen]
        side = 1.2 * max(max(xs) - min(xs), max(ys) - min(ys))
        expected = ((max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2, side)
        np.testing.assert_allclose(record.box, expected, rtol=1e-12)


def test_frames_without_camera_or_points_are_counted(tree: Tree) -> None:
    listing = tree.importer.listing("3dpw-test")
    assert listing.skipped == {"campose_invalid": 3, "no_keypoints": 1}
    assert sum(unit.records for unit in listing.units) == 2 * 6 - 3 - 1


def test_pictures_are_numbered_by_index_not_by_60_hz_ids(tree: Tree) -> None:
    fields = load_fields(tree.file("test"))
    assert fields["img_frame_ids"].tolist() == [0, 2, 4, 6, 8, 10]
    records = [record for record, _ in tree.pairs("3dpw-test")]
    assert [r.frame for r in records] == [0, 3, 4, 5, 0, 2, 4, 5]
    last, name = records[3], "downtown_lookalike_00"
    assert last.picture == (tree.root / f"imageFiles/{name}/image_00005.jpg", None)
    assert last.source == f"imageFiles/{name}/image_00005.jpg"
    assert last.image_id == f"3dpw-{name}-p0-00005"
    assert (last.subject, last.sequence) == (f"{name}-p0", name)
    assert records[0].picture.path.name == "image_00000.jpg"  # the first is 0, not 1


def test_both_spellings_are_read(tree: Tree) -> None:
    first, second = load_fields(tree.file("test")), load_fields(tree.file("validation"))
    assert {"genders", "poses2d"} <= first.keys() and {"gender", "poses2D"} <= second.keys()
    genders = [record.gender for record, _ in tree.pairs("3dpw-val")]
    assert genders == ["female"] * 4 + ["male"] * 4


def test_of_300_betas_the_first_ten_are_taken(tree: Tree) -> None:
    assert [b.shape for b in load_fields(tree.file("test"))["betas"]] == [(10,), (300,)]
    for record, truth in tree.pairs("3dpw-test"):
        assert record.beta is not None
        np.testing.assert_array_equal(record.beta, truth.world.beta)


def test_persons_may_have_fewer_frames_than_the_camera(
    tree: Tree, fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("poses", "trans", "poses2d", "campose_valid", "jointPositions"):
        fields[name][0] = fields[name][0][:4]
    importer = importer_of(fields, tmp_path, tree.bodies, monkeypatch)
    frames = [int(item.image_id[-5:]) for item in all_items(importer, "3dpw-test")]
    assert frames == [0, 3, 0, 2, 4, 5]


def test_any_part_is_the_same_part_of_the_whole_to_the_bit(tree: Tree) -> None:
    unit = "downtown_lookalike_00"
    whole = list(tree.importer.records("3dpw-test", unit, 0, 8))
    for start, count in ((0, 3), (3, 2), (5, 3), (8, 0)):
        part = list(tree.importer.records("3dpw-test", unit, start, count))
        for found, expected in zip(part, whole[start : start + count], strict=True):
            assert isinstance(found, Record) and isinstance(expected, Record)
            for field in dataclasses.fields(Record):
                one, other = (getattr(record, field.name) for record in (found, expected))
                np.testing.assert_array_equal(one, other)


def test_sequences_come_by_name_and_each_file_is_read_once(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_threedpw(tmp_path, tree.loaded, splits=("test",), sequences=2, frames=4, pictures=False)
    (tmp_path / "imageFiles").mkdir()
    (tmp_path / "sequenceFiles/test/._downtown_lookalike_00.pkl").write_bytes(b"a Mac's shadow")
    reads = []

    def counted(path: Path, expected: str) -> Any:
        reads.append(path.stem)
        return read_pickle(path, expected)

    monkeypatch.setattr(threedpw_file, "read_pickle", counted)
    importer = open_importer("3dpw", SourceOptions(str(tmp_path), bodies=tree.bodies))
    names = ["downtown_lookalike_00", "downtown_lookalike_01"]
    for _ in range(2):
        assert [unit.name for unit in importer.listing("3dpw-test").units] == names
    assert reads == names
    for start in range(3):
        assert len(list(importer.records("3dpw-test", names[1], start, 1))) == 1
    assert reads == [*names, names[1]]


def test_identity_is_the_files_and_the_bodies(
    tree: Tree, fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importer = importer_of(fields, tmp_path, tree.bodies, monkeypatch)
    identity = importer.listing("3dpw-test").identity
    assert identity["files"].keys() == {"seq.pkl"}
    assert identity["bodies"] == {g: body.sha256 for g, body in tree.loaded.items()}
    (tmp_path / "sequenceFiles/test/seq.pkl").write_bytes(b"other bytes")
    assert importer.listing("3dpw-test").identity["files"] != identity["files"]
