"""Which labels each file has, static fits, names, splits, identity, any chunk."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibodies.data.sources.importer import SourceOptions
from multibodies.data.sources.record import Record
from multibodies.data.sources.registry import open_importer
from multibodies.errors import UserError
from multibodies.lookalikes.npz import SPIN_FILES, write_fits, write_spin_npz
from multibodies.lookalikes.people import Person
from npz_samples import (
    edited,
    good,
    read,
    set_to,
    source,
    spin,
)

pytestmark = pytest.mark.slow


def test_files_lack_what_the_real_ones_lack(
    tmp_path: Path, people: list[Person], bodies: dict[str, str]
) -> None:
    """h36m_valid has no part and no openpose; 3dpw_test no S, no part; LSP no 3D."""
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


def same(one: Record, two: Record) -> None:
    """Hold two records against each other, field by field."""
    for field in fields(Record):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(two, field.name))


def test_any_chunk_gives_the_same_records(tmp_path: Path, people: list[Person]) -> None:
    """Stored and compressed, forwards and backwards, across the importer's own blocks."""
    write_spin_npz(tmp_path, "mpi_inf_3dhp_train", people * 68, side=16)
    path = tmp_path / "mpi_inf_3dhp_train.npz"
    whole = good(read(path, "mpii3d"))
    with np.load(path) as file:
        np.savez_compressed(path, **dict(file))
    importer = source(path, "mpii3d")
    for start, count in ((270, 2), (250, 20), (0, 1), (0, 260)):
        part = good(list(importer.records("mpii3d-train", path.stem, start, count)))
        assert len(part) == count
        for one, two in zip(part, whole[start : start + count], strict=True):
            same(one, two)


def test_a_flipped_bit_in_any_array_stops_the_listing(tmp_path: Path, people: list[Person]) -> None:
    path, _ = spin(tmp_path, "coco_2014_train", people)
    data = bytearray(path.read_bytes())
    with np.load(path) as file:
        at = data.index(file["openpose"].tobytes())
    data[at + 700] ^= 1
    (tmp_path / "flipped.npz").write_bytes(data)
    with pytest.raises(UserError, match=r"flipped\.npz: array 'openpose': truncated or damaged"):
        source(tmp_path / "flipped.npz", "coco").listing("coco-train")
