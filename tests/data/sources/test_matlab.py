"""MATLAB 5 files: what SciPy writes is read back; damaged ones may end the child, not us."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibodies.apart.reader import Apart
from multibodies.data.sources import matlab
from multibodies.data.sources.matlab import Array, read_variables
from multibodies.errors import UserError

pytestmark = pytest.mark.slow


def save(path: Path, compress: bool, **variables: Any) -> Path:
    from scipy.io import savemat

    savemat(path, variables, do_compression=compress)
    return path


def read(path: Path, *names: str) -> dict[str, Array | list[Array]]:
    return read_variables(path, names, "a file of joints")


def refusal(path: Path, *names: str) -> str:
    with pytest.raises(UserError) as caught:
        read(path, *names)
    assert str(path) in str(caught.value)
    return str(caught.value)


def element(order: str, kind: int, data: bytes) -> bytes:
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(order: str, shape: tuple[int, int], stored_as: int, data: bytes) -> bytes:
    """A v5 file of one double array `x`, its numbers stored in a narrower type, as MATLAB does."""
    mark = b"IM" if order == "<" else b"MI"
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", 0x100) + mark
    content = (
        element(order, 6, struct.pack(f"{order}II", 6, 0))
        + element(order, 5, struct.pack(f"{order}ii", *shape))
        + struct.pack(f"{order}I", 1 << 16 | 1) + b"x\0\0\0"
        + element(order, stored_as, data)
    )  # fmt: skip
    return header + element(order, 14, content)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_arrays_and_cells_come_back(tmp_path: Path, dtype: str, compress: bool) -> None:
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    cells = np.empty((2, 2), object)
    cells[:, 0], cells[:, 1] = [values[0], values[1]], [values[0] + 1, values[:, :, 0]]
    path = save(tmp_path / "a.mat", compress, x=values, cells=cells, text="left out")
    found = read(path, "x", "cells")
    assert set(found) == {"x", "cells"}
    assert isinstance(found["x"], np.ndarray) and found["x"].dtype == values.dtype
    np.testing.assert_array_equal(found["x"], values)
    assert isinstance(found["cells"], list)
    for one, other in zip(found["cells"], cells.ravel(order="F"), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("order", ["<", ">"])
def test_doubles_may_be_stored_as_bytes_in_either_order(tmp_path: Path, order: str) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(matrix(order, (2, 3), 2, bytes([1, 2, 3, 4, 5, 6])))
    np.testing.assert_array_equal(read(path, "x")["x"], [[1, 3, 5], [2, 4, 6]])
    path.write_bytes(matrix(order, (1, 3), 3, struct.pack(f"{order}3h", -1, 2, 300)))
    np.testing.assert_array_equal(read(path, "x")["x"], [[-1, 2, 300]])


def test_dimensions_that_the_data_do_not_fill_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(matrix("<", (2**31 - 1, 2**31 - 1), 9, bytes(48)))
    assert "no variable 'y', found x" in refusal(path, "y")
    assert "damaged" in refusal(path, "x")
    path.write_bytes(matrix("<", (-1, 4), 9, bytes(24)))
    assert "damaged" in refusal(path, "x")


@pytest.mark.parametrize("compress", [False, True])
def test_a_variable_beyond_the_memory_is_refused_and_others_are_read(
    tmp_path: Path, compress: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matlab, "MEMORY", 2**28)
    path = save(tmp_path / "a.mat", compress, big=np.zeros(2**24), small=np.ones(3))
    assert "needs more than 256 MiB" in refusal(path, "big")
    if not compress:  # zeros: SciPy unpacks a first part of a variable for its name
        np.testing.assert_array_equal(read(path, "small")["small"], [[1, 1, 1]])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("words", "'x' holds <U5, expected real numbers"),
        ({"a": 1}, "'x' holds [('a', 'O')], expected real numbers"),
        (np.array([1 + 2j]), "'x' holds complex128"),
        (np.array([np.array(["a"], object)], object), "'x', cell 0 holds"),
    ],
)
def test_what_is_not_numbers_is_refused(tmp_path: Path, value: Any, words: str) -> None:
    assert words in refusal(save(tmp_path / "a.mat", True, x=value), "x")


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    for content, words in (
        (b"", "; expected a file of joints"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM", "MATLAB v7.3"),
        (b"\x89HDF\r\n\x1a\n" + bytes(200), "damaged"),
        (b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM", "no variable 'x'"),
        (b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + bytes(64), "damaged"),
        (b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IMabc", "damaged"),
    ):
        path.write_bytes(content)
        assert words in refusal(path, "x"), content


def test_flipped_bytes_are_refused_or_read_also_where_the_child_dies(tmp_path: Path) -> None:
    """SciPy dies of some of these (signal 11): nothing has a checksum here."""
    cells = np.empty((4, 1), object)
    cells[:, 0] = [np.arange(12.0).reshape(3, 4) for _ in range(4)]
    path = save(tmp_path / "a.mat", False, cells=cells, x=np.arange(5.0))
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refusals = []
    with Apart("multibodies.data.sources.mat_child", matlab.LIBRARIES, 2**29, 5) as child:
        for _ in range(400):
            spoilt = bytearray(content)
            for place in rng.integers(124, len(content), 3):
                spoilt[place] = int(rng.choice([0, 1, 255, int(rng.integers(256))]))
            path.write_bytes(spoilt)
            try:
                child.read(path, "joints", names=["cells", "x"])
            except UserError as error:
                refusals.append(str(error))
    assert 80 < len(refusals) < 400
    assert any("its reader broke (SIGSEGV)" in text for text in refusals)


def test_a_compressed_variable_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    plain = matrix("<", (1, 3), 9, bytes(24))
    stream = bytearray(zlib.compress(plain[128:]))
    path.write_bytes(plain[:128] + struct.pack("<II", 15, len(stream)) + stream)
    np.testing.assert_array_equal(read(path, "x")["x"], [[0, 0, 0]])
    stream[-1] ^= 1
    path.write_bytes(plain[:128] + struct.pack("<II", 15, len(stream)) + stream)
    assert "incorrect data check" in refusal(path, "x")
