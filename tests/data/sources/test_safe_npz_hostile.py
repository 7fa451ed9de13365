"""Forged, damaged and hostile files: one error, no memory, nothing unpickled."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibodies.data.sources.npz.safe_npz import open_npy, open_npz
from multibodies.errors import UserError
from zip_samples import MIB, SAVERS, at_most, claim_size, header, save, zipped


class Bomb:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_objects_are_refused_by_name_and_never_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    objects = np.array([Bomb(mark), 1], object)
    path = save(tmp_path / "a.npz", "stored", part=objects, other=np.ones(2))
    archive = open_npz(path)
    assert archive.array("other").shape == (2,)  # objects that nobody asks for do no harm
    with pytest.raises(UserError, match=r"a\.npz: array 'part': holds Python objects.*needed here"):
        archive.array("part")
    np.save(tmp_path / "fits.npy", objects, allow_pickle=True)
    with pytest.raises(UserError, match=r"fits\.npy: holds Python objects"):
        open_npy(tmp_path / "fits.npy")
    assert not mark.exists()


def test_a_forged_header_allocates_nothing(tmp_path: Path) -> None:
    forged = header((10**9, 100)) + bytes(800)  # asks for 745 GiB
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = zipped(tmp_path / f"{method}.npz", forged, compression=method)
        with at_most(2 * MIB), pytest.raises(UserError, match=r"'part': its header claims shape"):
            open_npz(path).array("part")
    (tmp_path / "fits.npy").write_bytes(forged)
    with at_most(2 * MIB), pytest.raises(UserError, match=r"fits\.npy: its header claims"):
        open_npy(tmp_path / "fits.npy")


def test_a_zip_bomb_is_not_blown_up(tmp_path: Path) -> None:
    """Header and directory agree on too much, on what is not there, on less than there is."""
    deflated = {"compression": zipfile.ZIP_DEFLATED}
    start = header((3 * 2**27,))
    bomb = zipped(tmp_path / "large.npz", start + bytes(16_000), **deflated)
    claim_size(bomb, len(start) + 3 * 2**30)
    with at_most(2 * MIB), pytest.raises(UserError, match="3221225472 bytes, expected at most"):
        open_npz(bomb).array("part")
    start = header((2**27,))
    bomb = zipped(tmp_path / "absent.npz", start + bytes(16_000), **deflated)
    array = open_npz(claim_size(bomb, len(start) + 2**30)).array("part")
    with at_most(2 * MIB), pytest.raises(UserError, match="'part': truncated or damaged"):
        array.rows(2**27 - 1, 1)
    start = header((2,))
    bomb = zipped(tmp_path / "more.npz", start + bytes(32 * MIB), **deflated)
    array = open_npz(claim_size(bomb, len(start) + 16)).array("part")
    with at_most(2 * MIB):
        assert array.rows(0, 2).tolist() == [0, 0]
        with pytest.raises(UserError, match="CRC-32"):
            array.verify()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n<!DOCTYPE html><html>sign in</html>", r"a web page \(HTML\)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (header((2,)) + bytes(16), r"one bare array \(\.npy\)"),
        (b"", "truncated or damaged"),
        (b"PK\3\4" + bytes(100), "truncated or damaged"),
        (bytes(100_000), "truncated or damaged"),
    ],
)
def test_what_is_no_npz_is_called_by_name(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.npz: not a whole \.npz: {message}"):
        open_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("kind", SAVERS)
def test_a_truncated_file_is_refused(kind: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    whole = save(tmp_path / "a.npz", kind, part=values).read_bytes()
    for length in range(0, len(whole), 37):
        path = tmp_path / f"{length}.npz"
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="get the file again"):
            open_npz(path)


@pytest.mark.parametrize("kind", SAVERS)
def test_a_flipped_bit_is_found_before_anything_is_used(kind: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(500, 3))
    data = bytearray(save(tmp_path / "a.npz", kind, part=values).read_bytes())
    data[5000] ^= 1
    (tmp_path / "b.npz").write_bytes(data)
    with pytest.raises(UserError, match=r"'part': truncated or damaged"):
        open_npz(tmp_path / "b.npz").array("part").verify()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header((2, 3), fortran=True) + bytes(48), "stored column by column"),
        (header((2,), [("x", "<f8")]) + bytes(16), "expected plain numbers or text"),
        (header((10**12,), "<U0"), "expected plain numbers or text"),
        (header((-2,)) + bytes(16), "its header claims"),
        (header((True, 10**30)) + bytes(16), "its header claims"),
        (header("(2,)") + bytes(16), "shape is not valid"),
        (header((2,), "<q9") + bytes(16), r"not an \.npy array"),
        (header((2,)).replace(b"\1\0", b"\3\0", 1) + bytes(16), r"not an \.npy array"),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(100), r"not an \.npy array"),
        (b"\x93NUMPY\1\0" + struct.pack("<H", 9000) + b"(" * 9000, r"not an \.npy array"),
        (b"\x80\4cos\nsystem\n", r"not an \.npy array"),
        (b"", r"not an \.npy array"),
    ],
)
def test_odd_headers_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.npz", content)
    with at_most(4 * MIB), pytest.raises(UserError, match=message) as error:
        open_npz(path).array("part")
    assert "array 'part'" in str(error.value) and "\n" not in str(error.value)


def test_a_header_of_python_2_is_read(tmp_path: Path) -> None:
    old = header((2,)).replace(b"(2,)", b"(2L,)")
    length = struct.pack("<H", len(old) - 10)
    path = zipped(tmp_path / "a.npz", old[:8] + length + old[10:] + np.arange(2.0).tobytes())
    assert open_npz(path).array("part").rows(0, 2).tolist() == [0, 1]


def _encrypt(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)


def _other_local_header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[:4] = b"PK\7\7"
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "method", "message"),
    [
        (_encrypt, zipfile.ZIP_STORED, "encrypted"),
        (lambda _path: None, zipfile.ZIP_BZIP2, r"compression 12, expected NumPy's"),
        (lambda _path: None, zipfile.ZIP_LZMA, r"compression 14, expected NumPy's"),
        (_other_local_header, zipfile.ZIP_STORED, "truncated or damaged zip entry"),
        (lambda path: claim_size(path, 90), zipfile.ZIP_STORED, "two sizes"),
    ],
)
def test_odd_zip_entries_are_refused(
    change: Callable[[Path], Any], method: int, message: str, tmp_path: Path
) -> None:
    path = zipped(tmp_path / "a.npz", header((2,)) + bytes(16), compression=method)
    change(path)
    with pytest.raises(UserError, match=rf"array 'part': .*{message}"):
        open_npz(path).array("part")


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("part.npy", header((2,)) + bytes(16))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("part.npy", header((2,)) + bytes(16))
    with pytest.raises(UserError, match="more than one array 'part'"):
        open_npz(tmp_path / "a.npz").array("part")


def test_a_huge_directory_is_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for k in range(400):
            archive.writestr(f"{k}" * 1500, b"")
    with at_most(2 * MIB), pytest.raises(UserError, match="a directory of"):
        open_npz(tmp_path / "a.npz")
