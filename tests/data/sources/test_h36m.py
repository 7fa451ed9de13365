"""Human3.6M: from a look-alike's files to records, held against the people it was made from."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from multibodies.core.body import BodyArrays
from multibodies.core.joints import H36M_TO_J17, J24_NAMES, J24_TO_J17
from multibodies.data.sources.h36m.files import Sequence, natural
from multibodies.data.sources.h36m.importer import H36m
from multibodies.data.sources.h36m.joints import H36M17_FROM_32, H36M17_TO_J24, to_h36m17, to_j24
from multibodies.data.sources.importer import SourceOptions
from multibodies.data.sources.labels import body_joints
from multibodies.data.sources.record import Fault, Record
from multibodies.data.sources.registry import open_importer
from multibodies.data.sources.video.reader import close_videos, frame_of
from multibodies.errors import UserError
from multibodies.lookalikes.h36m import AS_J24, INTRINSICS, PLACES, ROWS, H36mTruth, write_h36m
from multibodies.lookalikes.h36m_files import write_cdf, write_fits
from multibodies.lookalikes.people import COLOURS, Floats, project
from read_all import all_records

pytestmark = pytest.mark.slow

FRAMES = 11
LENGTH_2D, LENGTH_3D = 64, 96
KNOWN = [J24_NAMES.index(AS_J24[name]) for name in ROWS]


@dataclass(frozen=True)
class Tree:
    root: Path
    truths: list[H36mTruth]

    def truth(self, record: Record) -> H36mTruth:
        action, camera = record.sequence.rsplit(".", 1)
        wanted = (record.subject, action, camera, record.frame)
        return next(t for t in self.truths if (t.subject, t.action, t.camera, t.frame) == wanted)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, body: BodyArrays) -> Tree:
    root = tmp_path_factory.mktemp("h36m")
    return Tree(root, write_h36m(root, body, frames=FRAMES))


@pytest.fixture
def copy(tree: Tree, tmp_path: Path) -> Path:
    """The tree without its videos: the importer does not miss them."""
    root = tmp_path / "copy"
    shutil.copytree(tree.root, root, ignore=shutil.ignore_patterns("Videos"))
    return root


def importer(root: Path) -> H36m:
    found = open_importer("h36m", SourceOptions(root=str(root)))
    assert isinstance(found, H36m)
    return found


def records(root: Path, split: str) -> list[Record]:
    return all_records(importer(root), split)


def take(root: Path, action: str = "Walking 1", camera: str = "60457274") -> Sequence:
    return Sequence(root, "S9", action, camera)


def features(tree: Tree, chosen: Sequence) -> tuple[Floats, Floats]:
    """What a sequence's files hold: [T, 96] mm and [T, 64] px."""
    mine = [
        t
        for t in tree.truths
        if (t.subject, t.action, t.camera) == (chosen.subject, chosen.action, chosen.camera)
    ]
    points = np.array([1000 * t.joints32 for t in mine])
    pixels = np.array([project(t.joints32, INTRINSICS[t.camera]) for t in mine])
    return points.reshape(-1, LENGTH_3D), pixels.reshape(-1, LENGTH_2D)


def test_every_label_is_the_truth(tree: Tree) -> None:
    found = records(tree.root, "h36m-train") + records(tree.root, "h36m-p1-test")
    assert len(found) == 5 * 3  # sequences, frames 0, 5, 10
    for record in found:
        truth = tree.truth(record)
        assert record.joints_3d is not None and record.keypoints is not None
        assert record.h36m17 is not None
        np.testing.assert_allclose(record.h36m17, truth.person.h36m17, atol=1e-6)
        for row, name in enumerate(ROWS):
            joint = J24_NAMES.index(AS_J24[name])
            np.testing.assert_allclose(
                record.joints_3d[joint], [*truth.person.h36m17[row], 1], atol=1e-6
            )
            np.testing.assert_allclose(record.keypoints[joint, :2], truth.marks[joint], atol=1e-4)
            assert record.keypoints[joint, 2] == 1
        others = np.setdiff1d(np.arange(24), KNOWN)
        assert not record.joints_3d[others].any() and not record.keypoints[others].any()
        assert record.gender == truth.person.gender
        assert record.size == (1000, 1002) and record.openpose is None


def test_keypoints_lie_on_the_marks_of_their_own_frame(tree: Tree) -> None:
    """A neighbouring frame's marks are 5 px away: the picture is that of the index."""
    checked = 0
    for record in records(tree.root, "h36m-train") + records(tree.root, "h36m-test"):
        assert record.picture.frame == record.frame and record.keypoints is not None
        picture = frame_of(record.picture.path, record.picture.frame)
        assert picture.shape == (1002, 1000, 3)
        for joint in uncovered(tree.truth(record).marks):
            if not record.keypoints[joint, 2]:
                continue
            centre = disc_centre(picture, record.keypoints[joint, :2], COLOURS[joint])
            assert np.abs(centre - record.keypoints[joint, :2]).max() < 1.5, J24_NAMES[joint]
            checked += 1
    close_videos()
    assert checked > 60


def uncovered(marks: Floats) -> list[int]:
    """Joints whose disc no other one's touches."""
    away = np.linalg.norm(marks[:, None] - marks[None], axis=2) + 99 * np.eye(24)
    return [k for k in range(24) if away[k].min() > 16]


def disc_centre(
    picture: npt.NDArray[np.uint8], near: Floats, colour: npt.NDArray[np.uint8]
) -> Floats:
    """Mean place, in continuous pixels, of the pixels of a colour within 12 px."""
    x, y = np.round(near).astype(int)
    window = picture[y - 12 : y + 12, x - 12 : x + 12].astype(int)
    rows, columns = np.nonzero(np.abs(window - colour).max(2) < 90)
    assert len(rows) > 30
    return np.array([columns.mean() + x - 12 + 0.5, rows.mean() + y - 12 + 0.5])


def test_boxes_come_from_transposed_masks(tree: Tree) -> None:
    for record in records(tree.root, "h36m-p1-test"):
        mask = tree.truth(record).mask
        width, height = mask.right - mask.left, mask.bottom - mask.top
        assert width < height  # so that a mask read untransposed has another centre
        np.testing.assert_allclose(
            record.box,
            ((mask.left + mask.right) / 2, (mask.top + mask.bottom) / 2, 0.9 * height),
        )


def test_boxes_without_masks(copy: Path, tree: Tree) -> None:
    take(copy).masks.unlink()
    listing = importer(copy).listing("h36m-p1-test")
    assert listing.identity["boxes"] == {"mask x 0.9": 2, "joints x 1.2": 1}
    found = [r for r in records(copy, "h36m-p1-test") if r.sequence == "Walking 1.60457274"]
    for record in found:
        seen = tree.truth(record).marks[KNOWN]
        low, high = seen.min(0), seen.max(0)
        expected = (*((low + high) / 2), 1.2 * (high - low).max())
        np.testing.assert_allclose(record.box, expected, atol=1e-3)


def test_fits_are_every_fifth_frame_with_the_root_turned(tree: Tree, body: BodyArrays) -> None:
    found = records(tree.root, "h36m-train")
    poses = {record.image_id: record.theta for record in found}
    assert len({theta.tobytes() for theta in poses.values() if theta is not None}) == 6
    for record in found:
        person = tree.truth(record).person
        assert record.theta is not None and record.beta is not None
        joints = body_joints(body, record.theta[None], record.beta[None])
        shift = person.translation
        np.testing.assert_allclose(joints.j24[0] + shift, person.j24, atol=1e-5)
        np.testing.assert_allclose(joints.h36m17[0] + shift, person.h36m17, atol=1e-5)
    assert all(record.theta is None for record in records(tree.root, "h36m-test"))


def test_the_listing(tree: Tree) -> None:
    source = importer(tree.root)
    train = source.listing("h36m-train")
    assert train.units == (("S1/WalkDog 1.54138969", 3), ("S1/WalkDog 1.60457274", 3))
    assert train.skipped["all_actions_file"] == 1
    assert {k for k in train.skipped if k.startswith("missing")} == {
        f"missing_subject:{name}" for name in ("S5", "S6", "S7", "S8")
    }
    assert train.identity["subjects"] == ["S1"] and train.identity["mosh_fits"] == 2
    both = source.listing("h36m-test")
    assert both.units == (("S9/Walking 1.60457274", 3), ("S9/Walking.60457274", 3))
    everything = source.listing("h36m-p1-test")
    assert [unit.name for unit in everything.units] == [
        "S9/Walking 1.54138969",
        "S9/Walking 1.60457274",
        "S9/Walking.60457274",
    ]
    assert both.identity["joints_sha256"] != everything.identity["joints_sha256"]


def test_a_label_decides_the_identity(copy: Path, tree: Tree) -> None:
    before = importer(copy).listing("h36m-test")
    points, _ = features(tree, take(copy))
    points[3, 3] += 1
    write_cdf(take(copy).joints_3d, points)
    assert importer(copy).listing("h36m-test").identity != before.identity


def test_records_are_the_same_in_parts(tree: Tree) -> None:
    source, unit = importer(tree.root), "S9/Walking 1.60457274"
    whole = list(source.records("h36m-test", unit, 0, 3))
    parts = [next(iter(source.records("h36m-test", unit, k, 1))) for k in (2, 0, 1)]
    assert [i.image_id for i in parts] == [whole[k].image_id for k in (2, 0, 1)]
    first = whole[1]
    assert isinstance(first, Record)
    assert first.image_id == "h36m-S9-Walking_1-60457274-000005"
    assert first.source == "S9/Videos/Walking 1.60457274.mp4"
    assert (first.subject, first.sequence, first.frame) == ("S9", "Walking 1.60457274", 5)
    ids = [r.image_id for r in records(tree.root, "h36m-p1-test")]
    assert len(set(ids)) == len(ids)


def test_another_step(tree: Tree) -> None:
    source = open_importer("h36m", SourceOptions(root=str(tree.root), step=4))
    unit = source.listing("h36m-train").units[0]
    assert unit.records == 3
    found = list(source.records("h36m-train", unit.name, 0, 3))
    assert [isinstance(r, Record) and r.frame for r in found] == [0, 4, 8]
    fitted = [isinstance(r, Record) and r.theta is not None for r in found]
    assert fitted == [True, False, False]  # MoSh knows frames 0, 5, 10
    with pytest.raises(UserError, match="step 0"):
        open_importer("h36m", SourceOptions(root=str(tree.root), step=0))


def test_the_picks_by_name() -> None:
    """The 32 joints by their names in the motion capture, j24 by its own."""
    numbered = np.arange(32.0)[:, None].repeat(3, 1)
    rows, placed = to_h36m17(numbered), to_j24(numbered)
    for row, name in enumerate(ROWS):
        assert rows[row, 0] in PLACES[name]
        assert placed[J24_NAMES.index(AS_J24[name])].tolist() == [*rows[row], 1]
    assert placed[:, 3].sum() == 17 and len(set(H36M17_FROM_32)) == len(set(H36M17_TO_J24)) == 17
    np.testing.assert_array_equal(rows[list(H36M_TO_J17)], placed[list(J24_TO_J17), :3])


def test_names_in_numerical_order(copy: Path, tree: Tree) -> None:
    assert sorted(["a 10", "a 2", "a", "b 1", "a 1"], key=natural) == [
        "a", "a 1", "a 2", "a 10", "b 1",
    ]  # fmt: skip
    points, pixels = features(tree, take(copy))
    for number in (10, 2):
        extra = take(copy, action=f"Walking {number}")
        write_cdf(extra.joints_3d, points)
        write_cdf(extra.joints_2d, pixels)
    shutil.copytree(copy / "S9", copy / "S11")
    names = [unit.name for unit in importer(copy).listing("h36m-test").units]
    expected = [f"Walking{n}.60457274" for n in (" 1", " 2", " 10", "")]
    assert names == [f"{s}/{name}" for s in ("S9", "S11") for name in expected]


def test_other_files_are_left_out(copy: Path) -> None:
    folder = take(copy).joints_3d.parent
    for name in ("._Walking 1.60457274.cdf", "notes.txt", "Walking 1.99999999.cdf"):
        (folder / name).write_bytes(b"x")
    listing = importer(copy).listing("h36m-test")
    assert len(listing.units) == 2 and listing.skipped["other_file"] == 3


def test_all_actions_file_of_a_subject_is_no_sequence(copy: Path) -> None:
    assert list(take(copy).joints_3d.parent.glob("_ALL.60457274.cdf"))
    assert not [u for u in importer(copy).listing("h36m-test").units if "_ALL" in u.name]


def test_metres_are_noticed(copy: Path, tree: Tree) -> None:
    points, _ = features(tree, take(copy))
    write_cdf(take(copy).joints_3d, points / 1000)
    with pytest.raises(UserError, match=r"Walking 1.60457274.cdf: people span .*metres"):
        importer(copy).listing("h36m-test")


def test_files_of_different_length(copy: Path, tree: Tree) -> None:
    _, pixels = features(tree, take(copy))
    write_cdf(take(copy).joints_2d, pixels[:-1])
    with pytest.raises(UserError, match=r"D2_Positions/Walking 1.*10 frames, but 11 in .*D3"):
        importer(copy).listing("h36m-test")


def test_cdf_files_of_another_kind(copy: Path, tree: Tree) -> None:
    path = take(copy).joints_3d
    write_cdf(path, np.zeros((FRAMES, 78)))
    with pytest.raises(UserError, match=r"Walking 1.*\(1, 11, 78\)"):
        importer(copy).listing("h36m-test")
    write_cdf(path, features(tree, take(copy))[0], name="Angles")
    with pytest.raises(UserError, match=r"Walking 1.*no variable 'Pose'"):
        list(importer(copy).records("h36m-test", "S9/Walking 1.60457274", 0, 1))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"Walking 1.*get the file again"):
        importer(copy).listing("h36m-test")
    path.unlink()
    take(copy).joints_2d.unlink()
    assert len(importer(copy).listing("h36m-test").units) == 1
    take(copy, action="Walking").joints_2d.unlink()
    with pytest.raises(UserError, match=r"D2_Positions/Walking.60457274.cdf: no such file"):
        importer(copy).listing("h36m-test")


def test_bad_frames_are_faults_in_their_place(copy: Path, tree: Tree) -> None:
    points, pixels = features(tree, take(copy))
    points[0, 5] = np.nan
    points[5] = 0
    points[10, 2::3] -= 9000
    write_cdf(take(copy).joints_3d, points)
    found = list(importer(copy).records("h36m-test", "S9/Walking 1.60457274", 0, 3))
    reasons = [item.reason if isinstance(item, Fault) else "" for item in found]
    for reason, words in zip(
        reasons, ("not numbers", "span 0 m", "behind the camera"), strict=True
    ):
        assert words in reason and "Walking 1.60457274" in reason
    assert [item.image_id[-6:] for item in found] == ["000000", "000005", "000010"]
    pixels[5, 7] = np.inf
    write_cdf(take(copy).joints_2d, pixels)
    write_cdf(take(copy).joints_3d, features(tree, take(copy))[0])
    found = list(importer(copy).records("h36m-test", "S9/Walking 1.60457274", 0, 3))
    assert [isinstance(item, Fault) for item in found] == [False, True, False]


def test_a_fit_for_every_frame_is_refused(copy: Path, tree: Tree) -> None:
    path = Sequence(copy, "S1", "WalkDog 1", "54138969").fits
    write_fits(path, np.zeros((FRAMES, 24, 3)), np.zeros(10))
    with pytest.raises(UserError, match=r"cam0_aligned.pkl: 11 poses for 11 frames.*fifth"):
        list(importer(copy).records("h36m-train", "S1/WalkDog 1.54138969", 0, 1))
    write_fits(path, np.ones((2, 24, 3)), np.zeros(10))
    found = list(importer(copy).records("h36m-train", "S1/WalkDog 1.54138969", 0, 3))
    fitted = [isinstance(r, Record) and r.theta is not None for r in found]
    assert fitted == [True, True, False]
    write_fits(path, np.zeros((3, 24, 3)), np.zeros(300))
    with pytest.raises(UserError, match=r"'betas' is \(300,\), expected 10"):
        list(importer(copy).records("h36m-train", "S1/WalkDog 1.54138969", 0, 1))


@pytest.mark.parametrize(
    ("pickled", "words"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"\x80\x02}q\x00.", "no 'new_poses'"),
        (b"\x80\x02}(X\x09\x00\x00\x00new_posesX\x01\x00\x00\x00au.", "holds no numbers"),
    ],
)
def test_hostile_and_foreign_fits(copy: Path, pickled: bytes, words: str) -> None:
    path = Sequence(copy, "S1", "WalkDog 1", "54138969").fits
    path.write_bytes(pickled)
    with pytest.raises(UserError, match=rf"cam0_aligned.pkl.*{words}|{words}.*MoSh"):
        list(importer(copy).records("h36m-train", "S1/WalkDog 1.54138969", 0, 1))


def test_missing_subjects(copy: Path) -> None:
    with pytest.raises(UserError, match=r"no folder S8; h36m-val"):
        importer(copy).listing("h36m-val")
    shutil.copytree(copy / "S9", copy / "S8")
    held_out = importer(copy).listing("h36m-val")
    assert {unit.name[:3] for unit in held_out.units} == {"S8/"}
    assert "S8" in held_out.identity["note"]
    assert records(copy, "h36m-val")[0].gender == "male"
    assert "missing_subject:S11" in importer(copy).listing("h36m-test").skipped
    with pytest.raises(UserError, match=r"gone: no such folder.*S1"):
        importer(copy / "gone").listing("h36m-test")
    shutil.rmtree(take(copy).joints_3d.parent)
    with pytest.raises(UserError, match=r"D3_Positions_mono: no such folder"):
        importer(copy).listing("h36m-test")


def test_no_sequence_of_the_frontal_camera(copy: Path) -> None:
    for path in take(copy).joints_3d.parent.glob("*60457274.cdf"):
        path.unlink()
    with pytest.raises(UserError, match=r"D3_Positions_mono: no file such as 'Walking 1.60457274"):
        importer(copy).listing("h36m-test")


def test_unknown_splits_units_and_options(tree: Tree) -> None:
    with pytest.raises(UserError, match="unknown split 'h36m-tset'; did you mean"):
        importer(tree.root).listing("h36m-tset")
    for unit in ("S1/WalkDog 1.60457274", "S9/Walking 1.54138969", "S9"):
        with pytest.raises(UserError, match=rf"no sequence '{unit}' in h36m-test"):
            list(importer(tree.root).records("h36m-test", unit, 0, 1))
    with pytest.raises(UserError, match="read from its Videos"):
        open_importer("h36m", SourceOptions(root=str(tree.root), images="images"))


def test_video_shorter_than_its_labels(copy: Path, tree: Tree) -> None:
    """Known when the picture is opened: the labels are all there."""
    chosen = take(copy)
    for path, values, width in zip(
        (chosen.joints_3d, chosen.joints_2d), features(tree, chosen), (96, 64), strict=True
    ):
        write_cdf(path, np.concatenate([values, values]).reshape(-1, width))
    chosen.masks.unlink()
    chosen.video.parent.mkdir()
    shutil.copy(take(tree.root).video, chosen.video)
    *_, last = importer(copy).records("h36m-test", "S9/Walking 1.60457274", 0, 5)
    assert isinstance(last, Record) and last.picture.frame == 20
    with pytest.raises(UserError, match=r"Walking 1.60457274.mp4: video has 11 frames.*frame 20"):
        frame_of(last.picture.path, last.picture.frame)
    close_videos()
