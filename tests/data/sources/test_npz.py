"""SPIN's and ProHMR's npz on look-alikes whose truth is known: pixels, joints, bodies, names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibodies.core.body import BodyArrays
from multibodies.core.body_arrays import EMBEDDED_BODY, load_body
from multibodies.data.photo import load_photo
from multibodies.data.sources.importer import SourceOptions
from multibodies.data.sources.labels import body_joints
from multibodies.data.sources.npz import NpzImporter, open_source
from multibodies.data.sources.record import Fault, Item, Record
from multibodies.data.sources.registry import open_importer
from multibodies.errors import UserError
from multibodies.lookalikes.npz import (
    SPIN_FILES,
    Truth,
    write_fits,
    write_prohmr_npz,
    write_spin_npz,
)
from multibodies.lookalikes.people import COLOURS, Person, sample_person

# nkolot/SPIN, datasets/preprocess/h36m.py, `global_idx`: where each of H36M's 17 goes in J24.
GLOBAL_IDX = [14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6]
IN_PART = {"lsp": range(14), "lspet": range(14), "mpii": range(16), "mpii3d": GLOBAL_IDX,
           "h36m": GLOBAL_IDX, "coco": [*range(12), *range(19, 24)]}  # fmt: skip
WITH_PART = [name for name, style in SPIN_FILES.items() if "part" in style.keys]


@pytest.fixture(scope="module")
def body() -> BodyArrays:
    return load_body()


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A male body, and a female one that differs: a tenth smaller."""
    path = tmp_path_factory.mktemp("bodies") / "female.npz"
    with np.load(EMBEDDED_BODY) as file:
        arrays = dict(file)
    arrays["v_template"] = 0.9 * arrays["v_template"]
    np.savez(path, **arrays)
    return {"male": str(EMBEDDED_BODY), "female": str(path)}


@pytest.fixture(scope="module")
def people(bodies: dict[str, str]) -> list[Person]:
    rng = np.random.default_rng(7)
    genders = ["male", "female", "male", "female"]
    return [sample_person(load_body(bodies[g]), rng, gender=g) for g in genders]


def source(path: Path, dataset: str, **options: Any) -> NpzImporter:
    return open_source(dataset, SourceOptions(str(path), **options))


def read(path: Path, dataset: str, **options: Any) -> list[Item]:
    """Read all rows as the driver and a worker do."""
    importer = source(path, dataset, **options)
    split = f"{dataset}-train"
    (unit,) = importer.listing(split).units
    return list(importer.records(split, unit.name, 0, unit.records))


def good(items: list[Item]) -> list[Record]:
    assert [item.reason for item in items if isinstance(item, Fault)] == []
    return [item for item in items if isinstance(item, Record)]


def spin(tmp_path: Path, name: str, people: list[Person]) -> tuple[Path, list[Truth]]:
    return tmp_path / f"{name}.npz", write_spin_npz(tmp_path, name, people)


def edited(path: Path, change: Callable[[dict[str, Any]], None], name: str = "edited") -> Path:
    """Write a copy of an npz with some arrays changed."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files if key != "extra_info"}
    change(arrays)
    new = path.with_name(f"{name}.npz")
    np.savez(new, **arrays)
    return new


def set_to(key: str, where: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(arrays: dict[str, Any]) -> None:
        arrays[key][where] = value

    return change


def faults(path: Path, dataset: str, **options: Any) -> dict[int, str]:
    items = read(path, dataset, **options)
    return {k: item.reason for k, item in enumerate(items) if isinstance(item, Fault)}


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


def test_files_lack_what_the_real_ones_lack(
    tmp_path: Path, people: list[Person], bodies: dict[str, str]
) -> None:
    """h36m_valid has no part and no openpose; 3dpw_test no S, no part; LSP no 3D; a train set some."""
    found = {}
    for name, style in SPIN_FILES.items():
        path, _ = spin(tmp_path, name, people[:1])
        options = {"bodies": bodies} if style.dataset == "3dpw" else {}
        (record,) = good(read(path, style.dataset, **options))
        fields = ("keypoints", "openpose", "joints_3d", "h36m17", "theta")
        found[name] = "".join(f[0] for f in fields if getattr(record, f) is not None)
    assert found == {
        "h36m_train": "kojht", "h36m_valid_protocol1": "jh", "h36m_valid_protocol2": "jh",
        "lsp_dataset_original_train": "ko", "hr-lspet_train": "ko", "mpii_train": "ko",
        "coco_2014_train": "ko", "mpi_inf_3dhp_train": "kojht", "mpi_inf_3dhp_valid": "kjh",
        "3dpw_test": "jht",
    }  # fmt: skip


def test_pose_and_shape_give_the_persons_joints(
    tmp_path: Path, people: list[Person], body: BodyArrays
) -> None:
    """No has_smpl in the file: every row has its body, as in SPIN."""
    path, _ = spin(tmp_path, "h36m_train", people[::2])
    for record, person in zip(good(read(path, "h36m")), people[::2], strict=True):
        assert record.theta is not None and record.beta is not None
        posed = body_joints(body, record.theta[None], record.beta[None]).j24[0]
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
    assert [r.source for r in records][0] == "S2/Seq1/imageFrames/video_4/frame_000001.jpg"


def test_prohmrs_3dpw_is_measured_against_bodies_too(
    tmp_path: Path, people: list[Person], bodies: dict[str, str]
) -> None:
    write_prohmr_npz(tmp_path, "3dpw_test", people)
    record = good(read(tmp_path / "3dpw_test.npz", "3dpw", bodies=bodies))[1]
    assert record.h36m17 is not None and record.gender == "female"
    np.testing.assert_allclose(record.h36m17, people[1].h36m17 - people[1].translation, atol=1e-6)


def test_static_fits_fill_in_where_the_file_has_no_body(
    tmp_path: Path, people: list[Person]
) -> None:
    path, _ = spin(tmp_path, "mpi_inf_3dhp_train", people)
    fits = tmp_path / "static_fits" / "mpi-inf-3dhp_fits.npy"
    write_fits(fits, [*people[:2], people[0], people[3]])
    records = good(read(path, "mpii3d", fits=str(fits)))
    poses = [r.theta for r in records if r.theta is not None]
    np.testing.assert_array_equal(poses[1], people[1].theta)  # the file's own, in double precision
    np.testing.assert_array_equal(poses[2], people[0].theta.astype(np.float32))
    assert records[2].beta is not None
    np.testing.assert_array_equal(records[2].beta, people[0].beta.astype(np.float32))


def test_a_fit_with_an_extreme_shape_gets_the_mean_shape(
    tmp_path: Path, people: list[Person]
) -> None:
    """SPIN's trainer zeroes betas of fits with any |b| > 3, and leaves those of the truth alone."""
    tame = [replace(p, beta=np.clip(p.beta, -2.9, 2.9)) for p in people]
    path, _ = spin(tmp_path, "lsp_dataset_original_train", people)
    write_fits(tmp_path / "fits.npy", tame, extreme=[1])
    records = good(read(path, "lsp", fits=str(tmp_path / "fits.npy")))
    betas = [r.beta for r in records if r.beta is not None]
    np.testing.assert_array_equal(betas[1], 0)
    np.testing.assert_array_equal(betas[0], tame[0].beta.astype(np.float32))
    assert records[1].theta is not None
    np.testing.assert_array_equal(records[1].theta, people[1].theta.astype(np.float32))
    own, _ = spin(tmp_path, "h36m_train", people)
    kept = good(read(edited(own, set_to("shape", (0, 0), 4.0)), "h36m"))[0].beta
    assert kept is not None and kept[0] == 4.0


def test_fits_of_another_length_are_refused(tmp_path: Path, people: list[Person]) -> None:
    path, _ = spin(tmp_path, "coco_2014_train", people)
    write_fits(tmp_path / "fits.npy", people[:3])
    with pytest.raises(UserError, match=r"fits\.npy: has 3 rows, .*coco_2014_train\.npz has 4"):
        read(path, "coco", fits=str(tmp_path / "fits.npy"))
    np.save(tmp_path / "thin.npy", np.zeros((4, 72)))
    with pytest.raises(UserError, match=r"thin\.npy: has shape \(4, 72\), expected \(N, 82\)"):
        read(path, "coco", fits=str(tmp_path / "thin.npy"))
    with pytest.raises(UserError, match=r"none\.npy: no such file"):
        read(path, "coco", fits=str(tmp_path / "none.npy"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("h36m_valid_protocol2", ("S11", "S11_Posing_1.60457274", 5)),
        ("mpi_inf_3dhp_train", ("S2", "S2_Seq1_video_4", 5)),
        ("mpi_inf_3dhp_valid", ("TS3", "TS3", 5)),
        ("3dpw_test", ("downtown_cafe_00", "downtown_cafe_00", 6)),
        ("lsp_dataset_original_train", ("lsp-1", "images", 1)),
        ("hr-lspet_train", ("lspet-1", "lspet", 1)),
    ],
)
def test_the_pictures_name_tells_who_and_when(
    name: str, expected: tuple[str, str, int], tmp_path: Path, people: list[Person],
    bodies: dict[str, str],
) -> None:  # fmt: skip
    """Row 1 is picture 6: frames of H36M and MPI-INF-3DHP count from 1, those of 3DPW from 0."""
    path, _ = spin(tmp_path, name, people[:2])
    dataset = SPIN_FILES[name].dataset
    record = good(read(path, dataset, bodies=bodies if dataset == "3dpw" else {}))[1]
    assert (record.subject, record.sequence, record.frame) == expected


def test_ids_name_the_picture_and_the_row(tmp_path: Path, people: list[Person]) -> None:
    path, _ = spin(tmp_path, "h36m_valid_protocol2", people)

    def two_of_one_picture(arrays: dict[str, Any]) -> None:
        arrays["imgname"][1] = arrays["imgname"][0]

    records = good(read(edited(path, two_of_one_picture), "h36m"))
    assert [r.image_id for r in records[:2]] == [
        "h36m-images_S11_Posing_1.60457274_000001-0",
        "h36m-images_S11_Posing_1.60457274_000001-1",
    ]


def test_pictures_may_lie_elsewhere(tmp_path: Path, people: list[Person]) -> None:
    path, truths = spin(tmp_path, "mpii_train", people[:1])
    moved = tmp_path / "extras" / "mpii_train.npz"
    moved.parent.mkdir()
    moved.write_bytes(path.read_bytes())
    (record,) = good(read(moved, "mpii", images=str(tmp_path)))
    assert record.picture.path == truths[0].picture and record.picture.frame is None
    (record,) = good(read(moved, "mpii"))
    assert record.picture.path == moved.parent / record.source


def test_one_file_is_offered_as_every_split(tmp_path: Path, people: list[Person]) -> None:
    path, _ = spin(tmp_path, "h36m_valid_protocol1", people)
    importer = open_importer("h36m", SourceOptions(str(path)))
    assert importer.splits == ("h36m-train", "h36m-val", "h36m-test", "h36m-p1-test")
    listings = [importer.listing(split) for split in importer.splits]
    assert all(listing == listings[0] for listing in listings)
    assert listings[0].units == (("h36m_valid_protocol1", 4),) and listings[0].skipped == {}
    assert source(path, "lsp").splits == ("lsp-train", "lsp-val", "lsp-test")
    with pytest.raises(UserError, match="unknown split 'h36m-tst'; did you mean 'h36m-test'"):
        importer.listing("h36m-tst")
    with pytest.raises(UserError, match="unknown unit 'other'"):
        list(importer.records("h36m-test", "other", 0, 1))
    with pytest.raises(UserError, match=r"has 4 rows, not 3\.\.4"):
        list(importer.records("h36m-test", "h36m_valid_protocol1", 3, 2))


def test_identity_is_what_decides_the_labels(
    tmp_path: Path, people: list[Person], bodies: dict[str, str]
) -> None:
    path, _ = spin(tmp_path, "3dpw_test", people)
    first = source(path, "3dpw", bodies=bodies).listing("3dpw-test").identity
    assert first["layout"] == "spin" and set(first["bodies"]) == {"male", "female"}
    swapped = {"male": bodies["female"], "female": bodies["male"]}
    assert source(path, "3dpw", bodies=swapped).listing("3dpw-test").identity != first
    write_fits(tmp_path / "fits.npy", people)
    with_fits = source(path, "3dpw", bodies=bodies, fits=str(tmp_path / "fits.npy"))
    assert set(with_fits.listing("3dpw-test").identity) == {*first, "fits"}


def test_any_chunk_gives_the_same_records(tmp_path: Path, people: list[Person]) -> None:
    path, _ = spin(tmp_path, "mpi_inf_3dhp_train", people * 100)
    with np.load(path) as file:
        np.savez_compressed(tmp_path / "packed.npz", **dict(file))
    whole = good(read(path, "mpii3d"))
    for file_name, unit in ((path, "mpi_inf_3dhp_train"), (tmp_path / "packed.npz", "packed")):
        importer = source(file_name, "mpii3d")
        for start, count in ((398, 2), (250, 20), (0, 1), (0, 300)):
            part = good(list(importer.records("mpii3d-train", unit, start, count)))
            assert len(part) == count
            for a, b in zip(part, whole[start : start + count], strict=True):
                assert (a.image_id, a.source, a.box, a.frame) == (
                    b.image_id, b.source, b.box, b.frame
                )  # fmt: skip
                for name in ("keypoints", "openpose", "joints_3d", "h36m17", "theta", "beta"):
                    np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


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
        ("imgname", 1, "\ud800.jpg", "names no picture"),
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
    import re

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


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    def change(arrays: dict[str, Any]) -> None:
        del arrays[key]

    return change


def put(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(arrays: dict[str, Any]) -> None:
        arrays[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("center"), "no array 'center'"),
        (drop("imgname"), "no array 'imgname'"),
        (drop("shape"), "no array 'shape', which 'pose' needs"),
        (drop("pose"), "no array 'pose', which 'shape' needs"),
        (put("part", np.zeros((4, 14, 3))), r"'part': has shape \(4, 14, 3\), expected \(N, 24, 3\)"),
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
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path, people: list[Person]
) -> None:
    path, _ = spin(tmp_path, "mpi_inf_3dhp_train", people)
    with pytest.raises(UserError, match=message) as error:
        read(edited(path, change), "mpii3d")
    assert "edited.npz" in str(error.value)


def test_prohmrs_bodies_without_flags_are_refused(tmp_path: Path, people: list[Person]) -> None:
    write_prohmr_npz(tmp_path, "h36m_train", people)
    with pytest.raises(UserError, match="no array 'has_body_pose', which 'body_pose' needs"):
        read(edited_prohmr(tmp_path / "h36m_train.npz", drop("has_body_pose")), "h36m")


def test_prohmrs_own_script_keeps_only_the_last_frames_joints(
    tmp_path: Path, people: list[Person]
) -> None:
    write_prohmr_npz(tmp_path, "h36m_train", people)
    path = edited_prohmr(tmp_path / "h36m_train.npz", put("extra_keypoints_2d", np.zeros((19, 3))))
    with pytest.raises(UserError, match=r"'extra_keypoints_2d': has shape \(19, 3\)"):
        read(path, "h36m")


def edited_prohmr(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    return edited(path, change)


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
