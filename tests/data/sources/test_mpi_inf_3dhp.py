"""MPI-INF-3DHP, from a look-alike's files to records, against what the look-alike knows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from multibodies.core.body import load_body
from multibodies.core.joints import J24_NAMES
from multibodies.data.photo import load_photo
from multibodies.data.sources.importer import Listing, SourceOptions
from multibodies.data.sources.record import Fault, Item, Record
from multibodies.data.sources.registry import open_importer
from multibodies.data.sources.video.reader import close_videos, frame_of
from multibodies.errors import UserError
from multibodies.lookalikes.mpi_inf_3dhp import Shot, write_mpi_inf_3dhp
from multibodies.lookalikes.mpi_inf_3dhp_files import write_picture, write_video
from multibodies.lookalikes.people import COLOURS
from read_all import all_items, all_records

pytestmark = pytest.mark.slow

TRAIN, VAL, TEST = "mpii3d-train", "mpii3d-val", "mpii3d-test"
# The joints that the set and j24 share, and H36M's 17 rows, by their names in j24.
LABELLED = (
    "Right Ankle", "Right Knee", "Right Hip", "Left Hip", "Left Knee", "Left Ankle", "Right Wrist",
    "Right Elbow", "Right Shoulder", "Left Shoulder", "Left Elbow", "Left Wrist", "Neck (LSP)",
    "Pelvis (MPII)", "Spine (H36M)", "Jaw (H36M)", "Head (H36M)",
)  # fmt: skip
H36M_ROWS = (
    "Pelvis (MPII)", "Left Hip", "Left Knee", "Left Ankle", "Right Hip", "Right Knee",
    "Right Ankle", "Spine (H36M)", "Neck (LSP)", "Jaw (H36M)", "Head (H36M)", "Left Shoulder",
    "Left Elbow", "Left Wrist", "Right Shoulder", "Right Elbow", "Right Wrist",
)  # fmt: skip
KNOWN = [J24_NAMES.index(name) for name in LABELLED]
OUTSIDE = 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Shot]]:
    """S1/Seq1 of 21 frames, the person beside the picture in the last; TS1 and TS5 of 3."""
    root = tmp_path_factory.mktemp("mpii3d")
    shots = write_mpi_inf_3dhp(
        root, load_body(), frames=21, outside=(OUTSIDE,), testing=("TS1", "TS5")
    )
    return root, shots


@pytest.fixture
def tree(made: tuple[Path, list[Shot]], tmp_path: Path) -> Path:
    """A copy of the tree to spoil, its pictures linked."""
    root = tmp_path / "set"
    shutil.copytree(made[0], root, copy_function=_link_pictures)
    return root


def _link_pictures(source: str, target: str) -> None:
    (shutil.copyfile if source.endswith((".mat", ".calibration")) else os.link)(source, target)


def listing(root: Path, split: str, **options: Any) -> Listing:
    return open_importer("mpii3d", SourceOptions(str(root), **options)).listing(split)


def items(root: Path, split: str, **options: Any) -> list[Item]:
    return all_items(open_importer("mpii3d", SourceOptions(str(root), **options)), split)


def records(root: Path, split: str, **options: Any) -> list[Record]:
    return all_records(open_importer("mpii3d", SourceOptions(str(root), **options)), split)


def camera_of(record: Record) -> int | None:
    number = record.image_id.partition("video_")[2].partition("-")[0]
    return int(number) if number else None


def truth(shots: list[Shot], record: Record) -> Shot:
    sequence = "/".join(record.sequence.split("_video_")[0].split("_"))
    key = (sequence, camera_of(record), record.frame)
    return next(shot for shot in shots if shot[:3] == key)


def pixels(record: Record) -> Any:
    path, frame = record.picture
    return load_photo(path) if frame is None else frame_of(path, frame)


def spoil(root: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Rewrite S1/Seq1/annot.mat after a change to its variables."""
    from scipy.io import loadmat, savemat

    path = root / "S1" / "Seq1" / "annot.mat"
    content = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    change(content)
    savemat(path, content, do_compression=True)
    return path


def spoil_test(root: Path, change: Callable[[h5py.File], None]) -> Path:
    path = root / "mpi_inf_3dhp_test_set" / "TS1" / "annot_data.mat"
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def message(root: Path, split: str = TRAIN, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        items(root, split, **options)
    return str(caught.value)


# From files to records.


@pytest.mark.parametrize("split", [TRAIN, TEST])
def test_labels_are_the_truths(made: tuple[Path, list[Shot]], split: str) -> None:
    """28 or 17 joints land in j24 by name; mm become metres; annot3 in training, the universal
    skeleton in testing."""
    root, shots = made
    found = records(root, split)
    assert found
    for record in found:
        shot = truth(shots, record)
        joints = shot.joints if split == TRAIN else shot.universal
        assert record.keypoints is not None and record.joints_3d is not None
        assert record.h36m17 is not None
        np.testing.assert_allclose(record.keypoints[KNOWN, :2], shot.points[KNOWN], atol=1e-6)
        np.testing.assert_allclose(record.joints_3d[KNOWN, :3], joints[KNOWN], atol=1e-9)
        expected = [joints[J24_NAMES.index(name)] for name in H36M_ROWS]
        np.testing.assert_allclose(record.h36m17, expected, atol=1e-9)
        for labels in (record.keypoints, record.joints_3d):
            assert set(np.flatnonzero(labels[:, -1])) == set(KNOWN)
            assert not labels[labels[:, -1] == 0].any()
        assert record.gender == "neutral" and record.theta is None and record.openpose is None


def check_marks(record: Record, shot: Shot) -> None:
    """Hold the picture's colours against the joints that no mark drawn later covers."""
    image = pixels(record)
    assert record.size == (image.shape[1], image.shape[0]) and record.keypoints is not None
    seen = 0
    for joint in KNOWN:
        apart = np.linalg.norm(shot.points[joint + 1 :] - shot.points[joint], axis=1)
        if (apart < 14).any():
            continue
        x, y = record.keypoints[joint, :2]
        difference = image[int(y), int(x)].astype(int) - COLOURS[joint]
        assert np.abs(difference).max() < 70, (record.image_id, J24_NAMES[joint])
        seen += 1
    assert seen >= 10


@pytest.mark.parametrize("split", [TRAIN, TEST])
def test_pictures_show_the_joints_where_the_labels_are(
    made: tuple[Path, list[Shot]], split: str
) -> None:
    for record in records(made[0], split):
        check_marks(record, truth(made[1], record))
    close_videos()


def test_frames_taken_out_of_the_videos_give_the_same_records(
    made: tuple[Path, list[Shot]], tmp_path: Path
) -> None:
    shots = write_mpi_inf_3dhp(tmp_path, load_body(), cameras=(8,), layout="frames", testing=())
    frames = records(tmp_path, TRAIN)
    videos = [r.image_id for r in records(made[0], TRAIN) if camera_of(r) == 8]
    assert [r.image_id for r in frames] == videos[:2]
    assert [r.picture.path.name for r in frames] == ["frame_000001.jpg", "frame_000011.jpg"]
    for record in frames:
        check_marks(record, truth(shots, record))


def test_the_box_is_a_padded_square_of_the_labelled_keypoints(
    made: tuple[Path, list[Shot]],
) -> None:
    root, shots = made
    for record in records(root, TRAIN):
        points = truth(shots, record).points[KNOWN]
        x, y = points[:, 0], points[:, 1]
        assert record.box.x == pytest.approx((x.min() + x.max()) / 2)
        assert record.box.y == pytest.approx((y.min() + y.max()) / 2)
        assert record.box.side == pytest.approx(1.2 * max(np.ptp(x), np.ptp(y)))


def test_every_10th_frame_is_taken_and_frames_beside_the_picture_are_dropped_and_counted(
    made: tuple[Path, list[Shot]],
) -> None:
    root, shots = made
    sampled = [s for s in shots if s.camera in (0, 8) and s.frame % 10 == 0]
    within = [s for s in sampled if 0 <= s.points[KNOWN].min() and s.points[KNOWN].max() < 2048]
    assert 0 < len(sampled) - len(within) <= 2
    found = listing(root, TRAIN)
    assert found.skipped == {
        "not_sampled": 8 * 18,
        "no_pictures": 6 * 3,
        "outside_picture": len(sampled) - len(within),
        "absent_sequences": 15,
    }
    taken = [(camera_of(r), r.frame) for r in records(root, TRAIN)]
    assert taken == [(s.camera, s.frame) for s in within]


def test_the_step_can_be_set(made: tuple[Path, list[Shot]]) -> None:
    found = records(made[0], TRAIN, step=7)
    assert [r.frame for r in found if camera_of(r) == 0] == [0, 7, 14]
    assert [r.frame for r in records(made[0], TEST, step=2)] == [0, 2, 0, 2]


def test_only_valid_frames_are_tested(made: tuple[Path, list[Shot]]) -> None:
    found = listing(made[0], TEST)
    assert found.units == (("TS1", 2), ("TS5", 2))
    assert found.skipped == {"not_sampled": 0, "invalid": 2, "absent_sequences": 4}
    assert [r.picture.path.name for r in records(made[0], TEST)] == [
        "img_000001.jpg", "img_000003.jpg",
    ] * 2  # fmt: skip


def test_ts5_is_wider_than_ts1(made: tuple[Path, list[Shot]]) -> None:
    sizes = {r.sequence: r.size for r in records(made[0], TEST)}
    assert sizes == {"TS1": (2048, 2048), "TS5": (1920, 1080)}


def test_any_part_of_a_unit_is_the_same_as_in_the_whole(made: tuple[Path, list[Shot]]) -> None:
    importer = open_importer("mpii3d", SourceOptions(str(made[0])))
    whole = [item.image_id for item in importer.records(TRAIN, "S1/Seq1", 0, 5)]
    assert len(set(whole)) == 5
    assert [i.image_id for i in importer.records(TRAIN, "S1/Seq1", 1, 2)] == whole[1:3]
    assert list(importer.records(TRAIN, "S1/Seq1", 5, 0)) == []
    with pytest.raises(UserError, match="there are 5 records, no 4 from 2"):
        importer.records(TRAIN, "S1/Seq1", 2, 4)


def test_the_root_may_be_the_test_folder_itself(made: tuple[Path, list[Shot]]) -> None:
    inner = made[0] / "mpi_inf_3dhp_test_set"
    assert [r.source for r in records(inner, TEST)] == [r.source for r in records(made[0], TEST)]


def test_the_validation_split_is_s8(tree: Path) -> None:
    (tree / "S1").rename(tree / "S8")
    assert [u.name for u in listing(tree, VAL).units] == ["S8/Seq1"]
    assert {r.subject for r in records(tree, VAL)} == {"S8"}


# Cameras, frames and pictures.


def test_spins_eight_cameras_are_used(tree: Path) -> None:
    for camera in range(14):
        path = tree / "S1" / "Seq1" / "imageSequence" / f"video_{camera}.avi"
        path.unlink(missing_ok=True)
        path.touch()
    assert {camera_of(r) for r in records(tree, TRAIN)} == {0, 1, 2, 4, 5, 6, 7, 8}


def test_a_cell_is_of_the_camera_that_cameras_says(
    tree: Path, made: tuple[Path, list[Shot]]
) -> None:
    order = np.random.default_rng(0).permutation(14)

    def shuffle(content: dict[str, Any]) -> None:
        for name in ("annot2", "annot3", "univ_annot3"):
            content[name] = content[name][order]
        content["cameras"] = content["cameras"][:, order]

    spoil(tree, shuffle)
    for record in records(tree, TRAIN):
        shot = truth(made[1], record)
        assert record.keypoints is not None
        np.testing.assert_allclose(record.keypoints[KNOWN, :2], shot.points[KNOWN], atol=1e-6)


def test_frames_says_which_video_frame_a_row_is_of(tree: Path) -> None:
    def begin_at_5(content: dict[str, Any]) -> None:
        content["frames"] = content["frames"] + 5

    spoil(tree, begin_at_5)
    first = records(tree, TRAIN)[0]
    assert (first.frame, first.picture.frame) == (10, 10)
    assert (first.subject, first.sequence) == ("S1", "S1_Seq1_video_0")
    assert first.image_id == "mpii3d-S1-Seq1-video_0-frame_000011"


@pytest.mark.parametrize("layout", ["frame_%d", "frame_%06d", "img_0_%06d"])
def test_frames_are_found_by_number_however_it_is_padded(tree: Path, layout: str) -> None:
    """frame_10 sorts before frame_2 as text; and frames that are not there move no other."""
    images = tree / "S1" / "Seq1" / "imageSequence"
    shutil.rmtree(images)
    if layout.startswith("frame"):
        images = images.parent / "imageFrames" / "video_0"
    images.mkdir(parents=True)
    for number in (1, 2, 9, 10, 11, 12, 21):
        (images / f"{layout % number}.jpg").touch()
    found = records(tree, TRAIN)
    assert [r.picture.path.name for r in found] == [f"{layout % n}.jpg" for n in (1, 11)]
    assert all(r.picture.frame is None for r in found)
    assert found[1].source == f"S1/Seq1/{images.relative_to(tree / 'S1' / 'Seq1')}/" + (
        f"{layout % 11}.jpg"
    )


def test_a_missing_frame_is_left_for_the_reader_to_report(tree: Path) -> None:
    (tree / "mpi_inf_3dhp_test_set" / "TS1" / "imageSequence" / "img_000003.jpg").unlink()
    record = records(tree, TEST)[1]
    assert record.picture.path.name == "img_000003.jpg"
    with pytest.raises(UserError, match=r"img_000003\.jpg: no such image"):
        pixels(record)


@pytest.mark.parametrize(
    ("name", "words"),
    [("frame_000000.jpg", "expected numbers from 1"), ("frame_1.jpg", "has its number")],
)
def test_frames_numbered_in_another_way_are_refused(tree: Path, name: str, words: str) -> None:
    shutil.rmtree(tree / "S1" / "Seq1" / "imageSequence")
    folder = tree / "S1" / "Seq1" / "imageFrames" / "video_0"
    folder.mkdir(parents=True)
    for each in ("frame_000001.jpg", name):
        (folder / each).touch()
    assert words in message(tree)


def test_a_video_shorter_than_its_labels_is_the_readers_error(tree: Path) -> None:
    video = tree / "S1" / "Seq1" / "imageSequence" / "video_0.avi"
    video.unlink()
    write_video(video, [None] * 5, (64, 64))
    first, second = records(tree, TRAIN)[:2]
    assert pixels(first).shape == (64, 64, 3)
    with pytest.raises(UserError, match=r"video_0\.avi"):
        pixels(second)
    close_videos()


def test_pictures_may_lie_elsewhere(tree: Path, tmp_path: Path) -> None:
    sequence = tree / "S1" / "Seq1"
    (tmp_path / "pictures" / "S1" / "Seq1").mkdir(parents=True)
    shutil.move(sequence / "imageSequence", tmp_path / "pictures" / "S1" / "Seq1")
    found = records(tree, TRAIN, images=str(tmp_path / "pictures"))
    assert found[0].picture.path.is_file()
    assert found[0].source == "S1/Seq1/imageSequence/video_0.avi"
    assert "no camera of S1/Seq1 has pictures" in message(tree)


# What a user may have wrong.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fits": "mpi_inf_3dhp_fits.npy"}, "static fits"),
        ({"step": 0}, "step: 0; expected 1 or more"),
        ({"images": "/nowhere"}, "/nowhere: no such folder"),
    ],
)
def test_options_that_cannot_be_are_refused(
    made: tuple[Path, list[Shot]], options: dict[str, Any], words: str
) -> None:
    assert words in message(made[0], **options)


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'no'}: no such folder" in message(tmp_path / "no")
    assert "expected folders such as S1/Seq1" in message(tmp_path)
    assert "expected folders such as TS1" in message(tmp_path, TEST)
    (tmp_path / "S1" / "Seq1").mkdir(parents=True)
    assert "annot.mat: no such file" in message(tmp_path)


def test_unknown_names_are_refused(made: tuple[Path, list[Shot]]) -> None:
    assert "did you mean 'mpii3d-test'" in message(made[0], "mpii3d-tests")
    importer = open_importer("mpii3d", SourceOptions(str(made[0])))
    with pytest.raises(UserError, match="unknown sequence 'S9/Seq1'"):
        importer.records(TRAIN, "S9/Seq1", 0, 1)


@pytest.mark.parametrize("key", ["annot2", "annot3", "frames", "cameras"])
def test_a_missing_variable_is_named(tree: Path, key: str) -> None:
    spoil(tree, lambda content: content.pop(key))
    assert f"annot.mat: no variable '{key}'" in message(tree)


@pytest.mark.parametrize("key", ["annot2", "univ_annot3", "valid_frame"])
def test_a_missing_field_of_a_test_sequence_is_named(tree: Path, key: str) -> None:
    spoil_test(tree, lambda file: file.__delitem__(key))
    assert f"annot_data.mat: no field '{key}'" in message(tree, TEST)


def _narrow(content: dict[str, Any]) -> None:
    content["annot3"][2, 0] = content["annot3"][2, 0][:, :51]


def _short(content: dict[str, Any]) -> None:
    content["annot2"][4, 0] = content["annot2"][4, 0][:-1]


def _words(content: dict[str, Any]) -> None:
    content["annot2"][0, 0] = np.array(["left"] * 21)


def _flat(content: dict[str, Any]) -> None:
    content["annot2"] = np.zeros((21, 56))


def _thirteen(content: dict[str, Any]) -> None:
    content["annot3"] = content["annot3"][:13]


def _twice(content: dict[str, Any]) -> None:
    content["cameras"][0, 3] = 2


def _other(content: dict[str, Any]) -> None:
    content["cameras"][0, 8] = 99


def _backwards(content: dict[str, Any]) -> None:
    content["frames"] = content["frames"][::-1]


def _halves(content: dict[str, Any]) -> None:
    content["frames"] = content["frames"] / 2


def _metres(content: dict[str, Any]) -> None:
    content["annot3"] = content["annot3"] / 1000


def _universal(content: dict[str, Any]) -> None:
    content["annot3"] = content["univ_annot3"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_narrow, "'annot3', camera 2: (21, 51), expected (21, 84)"),
        (_short, "'annot2', camera 4: (20, 56), expected (21, 56)"),
        (_words, "'annot2', cell 0 holds <U4, expected real numbers"),
        (_flat, "'annot2' is (21, 56); expected a cell array"),
        (_thirteen, "'annot3' has 13 cells, 'cameras' 14 numbers"),
        (_twice, "'cameras' names a camera twice"),
        (_other, "no camera 8"),
        (_backwards, "'frames' does not rise"),
        (_halves, "'frames' does not hold whole numbers"),
        (_metres, "annot3: legs measure 0.8"),
        (_universal, "annot3 of camera 0 projects"),
    ],
)
def test_labels_of_another_layout_are_refused(
    tree: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    path = spoil(tree, change)
    text = message(tree)
    assert str(path) in text and words in text, text


def test_metres_are_called_metres(tree: Path) -> None:
    spoil(tree, _metres)
    assert "as if in metres; expected millimetres" in message(tree)

    def metres(file: h5py.File) -> None:
        file["univ_annot3"][...] /= 1000

    spoil_test(tree, metres)
    assert "univ_annot3: legs measure 0." in message(tree, TEST)


def test_bad_rows_become_faults_in_their_place(tree: Path) -> None:
    def break_rows(content: dict[str, Any]) -> None:
        content["annot2"][0, 0][0, 36] = np.nan
        content["annot3"][0, 0][10, 54:57] = np.inf
        content["annot3"][8, 0][10, 12] += 60.0  # the pelvis 6 cm aside: 20 px

    spoil(tree, break_rows)
    found = items(tree, TRAIN)
    assert [item.reason for item in found if isinstance(item, Fault)] == [
        "2D joints are not finite, or beyond 100000 px (annot2)",
        "3D joints are not finite (annot3, univ_annot3)",
        found[3].reason if isinstance(found[3], Fault) else "",
    ]
    assert isinstance(found[2], Record)
    assert isinstance(found[3], Fault) and "px away from annot2" in found[3].reason
    assert found[3].image_id == "mpii3d-S1-Seq1-video_8-frame_000011"


def test_an_empty_and_a_shrunken_person_are_faults(tree: Path) -> None:
    def spoil_rows(file: h5py.File) -> None:
        file["annot2"][0] = 0
        file["univ_annot3"][2] *= 0.3
        file["valid_frame"][...] = 1  # so that most legs are right

    spoil_test(tree, spoil_rows)
    empty, good, small = items(tree, TEST)[:3]
    assert isinstance(empty, Fault) and "empty person" in empty.reason
    assert isinstance(good, Record)
    assert isinstance(small, Fault) and "3D legs measure" in small.reason


@pytest.mark.parametrize("rest", [(1, 16, 2), (17, 2), (2, 17, 2)])
def test_test_labels_of_another_shape_are_refused(tree: Path, rest: tuple[int, ...]) -> None:
    def reshape(file: h5py.File) -> None:
        del file["annot2"]
        file["annot2"] = np.zeros((3, *rest))

    spoil_test(tree, reshape)
    assert "'annot2' is (3, " in message(tree, TEST)


def test_test_labels_of_unequal_length_are_refused(tree: Path) -> None:
    def shorten(file: h5py.File) -> None:
        del file["valid_frame"]
        file["valid_frame"] = np.ones((2, 1))

    spoil_test(tree, shorten)
    assert "have 3, 3 and 2 rows" in message(tree, TEST)


def test_labels_of_the_other_matlab_kind_are_called_so(tree: Path) -> None:
    training = tree / "S1" / "Seq1" / "annot.mat"
    testing = tree / "mpi_inf_3dhp_test_set" / "TS1" / "annot_data.mat"
    five, seven = training.read_bytes(), testing.read_bytes()
    training.write_bytes(seven)
    testing.write_bytes(five)
    assert (
        "annot.mat: a MATLAB v7.3 file (HDF5), not v5; expected a training sequence's"
        in message(tree)
    )
    assert "annot_data.mat: a MATLAB v5 file; expected a test sequence's" in message(tree, TEST)


@pytest.mark.parametrize("name", ["S1/Seq1/annot.mat", "mpi_inf_3dhp_test_set/TS1/annot_data.mat"])
@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_truncated_labels_are_refused(tree: Path, name: str, part: float) -> None:
    path = tree / name
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert str(path) in message(tree, TRAIN if name.startswith("S1") else TEST)


def test_flipped_bytes_give_an_error_or_labels_but_no_traceback(tree: Path) -> None:
    rng = np.random.default_rng(0)
    path = tree / "S1" / "Seq1" / "annot.mat"
    content = path.read_bytes()
    refused = 0
    for trial in range(12):
        spoilt = bytearray(content)
        first = 200 if trial % 2 else len(content)
        for place in rng.integers(124, first, 3):
            spoilt[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(spoilt)
        os.utime(path, ns=(0, trial))
        try:
            items(tree, TRAIN)
        except UserError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 5


def test_a_variable_that_inflates_without_end_is_refused(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multibodies.data.sources.matlab.MEMORY", 2**28)
    spoil(tree, lambda content: content.update(frames=np.zeros(2**24)))
    assert "needs more than 256 MiB" in message(tree)


def test_an_hdf5_header_that_claims_too_much_allocates_nothing(tree: Path) -> None:
    def claim(file: h5py.File) -> None:
        del file["annot2"]
        file.create_dataset("annot2", (10**12, 1, 17, 2), chunks=(1, 1, 17, 2), dtype="f8")

    spoil_test(tree, claim)
    assert "N up to 100000" in message(tree, TEST)


def test_hdf5_fields_that_lie_in_other_files_are_refused(tree: Path, tmp_path: Path) -> None:
    def link(file: h5py.File) -> None:
        del file["annot2"]
        file["annot2"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "annot2")

    spoil_test(tree, link)
    assert "no field 'annot2'" in message(tree, TEST)

    def outside(file: h5py.File) -> None:
        del file["annot2"]
        external = [(str(tmp_path / "raw"), 0, 3 * 34 * 8)]
        file.create_dataset("annot2", (3, 1, 17, 2), "f8", external=external)

    spoil_test(tree, outside)
    assert "'annot2' lies in another file" in message(tree, TEST)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  sensor      10 10\n", "", "lines, expected a header and 7 lines a camera"),
        ("name          0\n", "name          left\n", "line 2: expected 'name' and the camera's"),
        ("  animated    0\n", "  moving      0\n", "line 5: 'moving 0', expected 'animated ...'"),
        ("  intrinsic   1480 ", "  intrinsic   nan ", "line 6: expected 16 numbers"),
        ("  intrinsic   1480 ", "  intrinsic   x ", "line 6: expected 16 numbers"),
        ("  intrinsic   1480 0 ", "  intrinsic   1480 ", "line 6: expected 16 numbers"),
        ("  intrinsic   1480 ", "  intrinsic   1700 ", "annot3 of camera 0 projects"),
        ("name          8\n", "name          18\n", "no camera 8"),
    ],
)
def test_a_calibration_of_another_layout_is_refused(
    tree: Path, old: str, new: str, words: str
) -> None:
    path = tree / "S1" / "Seq1" / "camera.calibration"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert words in message(tree)


def test_a_missing_calibration_is_named(tree: Path) -> None:
    (tree / "S1" / "Seq1" / "camera.calibration").unlink()
    assert "camera.calibration: no such file" in message(tree)


def test_the_identity_follows_the_labels_and_the_step(tree: Path) -> None:
    before = listing(tree, TRAIN).identity
    assert before["rules"] == {"step": 10, "truth": "annot3", "box": 1.2}
    write_picture(tree / "S1" / "Seq1" / "note.jpg", np.zeros((8, 8, 3), np.uint8))
    assert listing(tree, TRAIN).identity == before
    assert listing(tree, TRAIN, step=5).identity != before

    def nudge(content: dict[str, Any]) -> None:
        content["annot2"][0, 0][0, 0] += 0.001

    spoil(tree, nudge)
    assert listing(tree, TRAIN).identity != before
