"""Labels of SPIN's and ProHMR's npz against people whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibodies.core.body_arrays import load_body
from multibodies.data.photo import load_photo
from multibodies.data.sources.labels import body_joints
from multibodies.errors import UserError
from multibodies.lookalikes.npz import SPIN_FILES, write_prohmr_npz
from multibodies.lookalikes.people import COLOURS, Person
from npz_samples import (
    edited,
    good,
    read,
    set_to,
    source,
    spin,
)

# nkolot/SPIN, datasets/preprocess/h36m.py, `global_idx`: where each of H36M's 17 goes in J24.
GLOBAL_IDX = [14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6]
IN_PART = {"lsp": range(14), "lspet": range(14), "mpii": range(16), "mpii3d": GLOBAL_IDX,
           "h36m": GLOBAL_IDX, "coco": [*range(12), *range(19, 24)]}  # fmt: skip
WITH_PART = [name for name, style in SPIN_FILES.items() if "part" in style.keys]


def colour_at(image: Any, x: float, y: float) -> Any:
    """The pixel that a continuous coordinate lies in: pixel i covers [i, i + 1)."""
    return image[int(np.floor(y)), int(np.floor(x))].astype(int)


@pytest.mark.parametrize("name", WITH_PART)
def test_keypoints_lie_on_the_pictures_marks(
    name: str, tmp_path: Path, people: list[Person]
) -> None:
    path, truths = spin(tmp_path, name, people)
    dataset = SPIN_FILES[name].dataset
    marked = 0
    for record, truth in zip(good(read(path, dataset)), truths, strict=True):
        assert record.keypoints is not None
        known = np.flatnonzero(record.keypoints[:, 2])
        assert sorted(known) == sorted(IN_PART[dataset])
        np.testing.assert_allclose(record.keypoints[known, :2], truth.j24[known], atol=1e-9)
        image = load_photo(record.picture.path)
        for k in known:
            apart = np.linalg.norm(np.delete(truth.j24, k, 0) - truth.j24[k], axis=1).min()
            if apart > 9:  # no other mark reaches here
                found = colour_at(image, *record.keypoints[k, :2])
                assert np.abs(found - COLOURS[k]).max() < 70
                marked += 1
    assert marked > 10


@pytest.mark.parametrize(
    ("name", "shift"),
    [("coco_2014_train", 0.5), ("mpii_train", -0.5), ("lsp_dataset_original_train", -0.5),
     ("hr-lspet_train", -0.5), ("h36m_train", 0.0), ("mpi_inf_3dhp_train", 0.0)],
)  # fmt: skip
def test_pixel_labels_become_continuous(
    name: str, shift: float, tmp_path: Path, people: list[Person]
) -> None:
    path, _ = spin(tmp_path, name, people[:1])
    with np.load(path) as file:
        part, detected = file["part"][0], file["openpose"][0]
    (record,) = good(read(path, SPIN_FILES[name].dataset))
    assert record.keypoints is not None and record.openpose is not None
    known = part[:, 2] > 0
    np.testing.assert_allclose(record.keypoints[known, :2] - part[known, :2], shift, atol=1e-9)
    np.testing.assert_array_equal(record.keypoints[~known], 0)
    np.testing.assert_array_equal(record.openpose, detected)


def test_the_box_side_is_200_times_spins_scale(tmp_path: Path, people: list[Person]) -> None:
    path, truths = spin(tmp_path, "coco_2014_train", people)
    for record, truth in zip(good(read(path, "coco")), truths, strict=True):
        np.testing.assert_allclose(record.box, truth.box)
        # SPIN's crop begins at the pixel int(centre - side / 2): all of j24 lies inside.
        inside = np.abs(truth.j24 - record.box[:2]).max()
        assert record.box.side / 2.6 < inside < record.box.side / 2


@pytest.mark.parametrize("name", ["h36m_valid_protocol2", "mpi_inf_3dhp_valid", "h36m_train"])
def test_s_is_joints_in_metres_and_what_mpjpe_is_measured_against(
    name: str, tmp_path: Path, people: list[Person]
) -> None:
    path, _ = spin(tmp_path, name, people)
    for record, person in zip(good(read(path, SPIN_FILES[name].dataset)), people, strict=True):
        truth = person.h36m17 - person.h36m17[0]
        assert record.h36m17 is not None and record.joints_3d is not None
        np.testing.assert_allclose(record.h36m17, truth, atol=1e-12)
        np.testing.assert_allclose(record.joints_3d[GLOBAL_IDX, :3], truth, atol=1e-12)
        assert sorted(np.flatnonzero(record.joints_3d[:, 3])) == sorted(GLOBAL_IDX)


def test_without_all_17_joints_there_is_nothing_to_measure_against(
    tmp_path: Path, people: list[Person]
) -> None:
    path, _ = spin(tmp_path, "h36m_valid_protocol1", people)
    records = good(read(edited(path, set_to("S", (0, 6, 3), 0.0)), "h36m"))
    assert [r.h36m17 is None for r in records] == [True, False, False, False]
    assert all(r.joints_3d is not None for r in records)


def test_pose_and_shape_give_the_persons_joints(tmp_path: Path, people: list[Person]) -> None:
    """No has_smpl in the file: every row has its body, as in SPIN."""
    path, _ = spin(tmp_path, "h36m_train", people[::2])
    for record, person in zip(good(read(path, "h36m")), people[::2], strict=True):
        assert record.theta is not None and record.beta is not None
        posed = body_joints(load_body(), record.theta[None], record.beta[None]).j24[0]
        np.testing.assert_allclose(posed, person.j24 - person.translation, atol=1e-6)


def test_has_smpl_marks_the_rows_with_a_body(tmp_path: Path, people: list[Person]) -> None:
    path, _ = spin(tmp_path, "mpi_inf_3dhp_train", people)
    records = good(read(path, "mpii3d"))
    assert [r.theta is not None for r in records] == [True, True, False, True]
    assert [r.beta is not None for r in records] == [True, True, False, True]


def test_3dpw_is_measured_against_the_body_of_the_persons_gender(
    tmp_path: Path, people: list[Person], bodies: dict[str, str]
) -> None:
    path, _ = spin(tmp_path, "3dpw_test", people)
    records = good(read(path, "3dpw", bodies=bodies))
    assert [r.gender for r in records] == ["male", "female", "male", "female"]
    for record, person in zip(records, people, strict=True):
        assert record.joints_3d is not None and record.h36m17 is not None
        shift = person.translation
        np.testing.assert_allclose(record.h36m17, person.h36m17 - shift, atol=1e-6)
        np.testing.assert_allclose(record.joints_3d[:, :3], person.j24 - shift, atol=1e-6)
        np.testing.assert_array_equal(record.joints_3d[:, 3], 1)


def test_3dpw_without_a_body_of_a_gender_says_which(
    tmp_path: Path, people: list[Person], bodies: dict[str, str]
) -> None:
    path, _ = spin(tmp_path, "3dpw_test", people)
    male = {"male": bodies["male"]}
    for listed in (True, False):
        with pytest.raises(UserError, match=r"body\.female .*body\.male and body\.female"):
            importer = source(path, "3dpw", bodies=male)
            if listed:
                importer.listing("3dpw-test")
            else:
                list(importer.records("3dpw-test", "3dpw_test", 0, 4))


def test_3dpw_of_one_gender_needs_no_other_body(
    tmp_path: Path, people: list[Person], bodies: dict[str, str]
) -> None:
    path, _ = spin(tmp_path, "3dpw_test", people[::2])
    assert len(good(read(path, "3dpw", bodies={"male": bodies["male"]}))) == 2


def test_prohmrs_19_extra_joints_are_j24_without_the_face(
    tmp_path: Path, people: list[Person]
) -> None:
    truths = write_prohmr_npz(tmp_path, "h36m_train", people)
    for record, truth in zip(good(read(tmp_path / "h36m_train.npz", "h36m")), truths, strict=True):
        assert record.keypoints is not None and record.openpose is not None
        assert record.joints_3d is not None and record.h36m17 is not None
        assert record.keypoints.shape == (24, 3) and record.joints_3d.shape == (24, 4)
        np.testing.assert_allclose(record.keypoints[GLOBAL_IDX, :2], truth.j24[GLOBAL_IDX])
        np.testing.assert_array_equal(record.keypoints[19:], 0)
        np.testing.assert_allclose(record.openpose[:22, :2], truth.openpose[:22])
        centred = truth.person.h36m17 - truth.person.h36m17[0]
        np.testing.assert_allclose(record.h36m17, centred, atol=1e-12)


def test_prohmrs_scale_is_in_pixels_and_the_larger_of_two_counts(
    tmp_path: Path, people: list[Person]
) -> None:
    truths = write_prohmr_npz(tmp_path, "lsp_dataset_original_train", people)
    path = tmp_path / "lsp_dataset_original_train.npz"

    def one_number(arrays: dict[str, Any]) -> None:
        arrays["scale"] = arrays["scale"].max(1)

    for file in (path, edited(path, one_number)):
        for record, truth in zip(good(read(file, "lsp")), truths, strict=True):
            np.testing.assert_allclose(record.box, truth.box)


def test_prohmrs_bodies_need_both_flags(tmp_path: Path, people: list[Person]) -> None:
    write_prohmr_npz(tmp_path, "mpi_inf_3dhp_train", people)
    records = good(read(tmp_path / "mpi_inf_3dhp_train.npz", "mpii3d"))
    assert [r.theta is not None for r in records] == [True, True, False, True]
    assert records[1].theta is not None
    np.testing.assert_array_equal(records[1].theta, people[1].theta)  # the root comes first
    assert records[0].source == "S2/Seq1/imageFrames/video_4/frame_000001.jpg"


def test_prohmrs_3dpw_is_measured_against_bodies_too(
    tmp_path: Path, people: list[Person], bodies: dict[str, str]
) -> None:
    write_prohmr_npz(tmp_path, "3dpw_test", people)
    record = good(read(tmp_path / "3dpw_test.npz", "3dpw", bodies=bodies))[1]
    assert record.h36m17 is not None and record.gender == "female"
    np.testing.assert_allclose(record.h36m17, people[1].h36m17 - people[1].translation, atol=1e-6)
