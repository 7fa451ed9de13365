"""Stored hypotheses: a round trip through plain pyarrow, and everything that is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from multibodies.errors import UserError
from multibodies.hypotheses import SHAPES, hypotheses_schema, read_hypotheses, write_hypotheses
from stored_samples import random_stored


@pytest.mark.parametrize(("images", "hypotheses"), [(5, 4), (1, 4), (4, 1), (1, 1)])
def test_round_trip_keeps_every_bit_and_shape(tmp_path: Path, images: int, hypotheses: int) -> None:
    stored = random_stored(images, hypotheses)
    write_hypotheses(tmp_path / "part.parquet", stored)
    back = read_hypotheses(tmp_path / "part.parquet")
    assert back.image_id == stored.image_id
    for name, array in stored.arrays().items():
        np.testing.assert_array_equal(back.arrays()[name], array)
        assert back.arrays()[name].shape == (images, hypotheses, *SHAPES[name])


def test_other_readers_see_native_tensors_with_units(tmp_path: Path) -> None:
    write_hypotheses(tmp_path / "part.parquet", random_stored(3, 4))
    schema = pq.read_schema(tmp_path / "part.parquet")
    assert schema.equals(hypotheses_schema(4), check_metadata=False)
    assert schema.field("joints_j24").type.shape == [4, 24, 3]
    assert b"metres" in schema.field("joints_j24").metadata[b"unit"]


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    write_hypotheses(tmp_path / "deep" / "part.parquet", random_stored(2, 3))
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["part.parquet"]


@pytest.mark.parametrize("name", SHAPES)
def test_a_number_that_is_not_finite_is_refused_by_file_and_image(
    tmp_path: Path, name: str
) -> None:
    stored = random_stored(3, 4)
    stored.arrays()[name][1].flat[-1] = np.nan
    with pytest.raises(
        UserError, match=rf"part\.parquet: '{name}' of image 'wild-001' is not finite"
    ):
        write_hypotheses(tmp_path / "part.parquet", stored)
    assert list(tmp_path.iterdir()) == []


def test_bad_numbers_of_another_writer_are_refused_on_reading(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    write_hypotheses(path, random_stored(2, 3))
    table = pq.read_table(path)
    twice = table.take([0, 0])
    pq.write_table(twice, path)
    with pytest.raises(UserError, match="image 'wild-000' appears twice"):
        read_hypotheses(path)


def test_unequal_shapes_are_refused(tmp_path: Path) -> None:
    stored = random_stored(3, 4)
    with pytest.raises(UserError, match=r"'beta' has shape \(3, 3, 10\), expected \(3, 4, 10\)"):
        write_hypotheses(tmp_path / "part.parquet", replace(stored, beta=stored.beta[:, :3]))


def test_missing_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    with pytest.raises(UserError, match="no such file; infer first"):
        read_hypotheses(path)
    write_hypotheses(path, random_stored(2, 3))
    table = pq.read_table(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"part\.parquet: not a readable Parquet file"):
        read_hypotheses(path)
    pq.write_table(table.replace_schema_metadata({"multibodies.hypotheses": "0"}), path)
    with pytest.raises(UserError, match="schema version 0, expected 1"):
        read_hypotheses(path)
    pq.write_table(table.drop_columns(["beta"]), path)
    with pytest.raises(UserError, match="no column 'beta'"):
        read_hypotheses(path)


def test_rows_picks_in_the_given_order() -> None:
    stored = random_stored(4, 2)
    picked = stored.rows([2, 0])
    assert picked.image_id == ("wild-002", "wild-000")
    np.testing.assert_array_equal(picked.beta, stored.beta[[2, 0]])
