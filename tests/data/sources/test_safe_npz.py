"""Arrays of strangers: any rows alone, in little memory, as NumPy reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibodies.data.sources.npz.safe_npz import NUMBERS, open_npz
from multibodies.errors import UserError
from zip_samples import MIB, SAVERS, at_most, save


@pytest.mark.parametrize("kind", SAVERS)
def test_rows_are_read_alone_in_any_order(kind: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(5000, 24, 3))
    array = open_npz(save(tmp_path / "a.npz", kind, part=values)).array("part")
    array.verify()
    for start, count in ((0, 3), (10, 700), (4990, 10), (5, 1), (5000, 0), (0, 5000), (4999, 1)):
        np.testing.assert_array_equal(array.rows(start, count), values[start : start + count])
    with pytest.raises(ValueError, match=r"rows 4999\.\.5000 of 5000"):
        array.rows(4999, 2)


@pytest.mark.parametrize("kind", SAVERS)
@pytest.mark.parametrize(
    "values",
    [np.array(["a/b.jpg", "ü"]), np.array([b"x", b"yz"]), np.array([True, False]),
     np.arange(4, dtype=">i4"), np.ones((2, 3), np.float16), np.array(["n"] * 3)],
)  # fmt: skip
def test_plain_dtypes_come_as_numpy_reads_them(kind: str, values: Any, tmp_path: Path) -> None:
    array = open_npz(save(tmp_path / "a.npz", kind, x=values)).array("x")
    found = array.rows(0, len(values))
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype


@pytest.mark.parametrize("kind", SAVERS)
def test_a_few_rows_take_little_memory(kind: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", kind, part=np.zeros((100_000, 24, 3)))  # 55 MiB
    with at_most(2 * MIB):
        array = open_npz(path).array("part")
        assert array.rows(90_000, 100).shape == (100, 24, 3)
        assert array.rows(50_000, 1).shape == (1, 24, 3)
        array.verify()


def test_a_missing_array_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", "stored", center=np.ones(2), scale=np.ones(2))
    with pytest.raises(UserError, match="no array 'part'; it has center, scale"):
        open_npz(path).array("part")


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", "stored", x=np.zeros(2))
    assert open_npz(path).array("x").expect(((),), NUMBERS).rows(0, 2).tolist() == [0, 0]
    save(path, "stored", x=np.ones(3))
    assert open_npz(path).array("x").rows(0, 3).tolist() == [1, 1, 1]
