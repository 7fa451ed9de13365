"""Damaged and hostile pickles: one clear error each; nothing runs, hangs or swells."""

from __future__ import annotations

import os
import pickle
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibodies.errors import UserError
from multibodies.lookalikes.python2 import named, write_python2
from multibodies.pickles import read_pickle
from pickle_road import refusal

pytestmark = pytest.mark.slow

WHOLE = pickle.dumps({"poses": np.arange(1000.0)}, 2)
MIB = 1 << 20


def failure(path: Path, content: bytes, **bounds: Any) -> str:
    """Return the error of a file of that content, checked to be one line that names the file."""
    file = path / "file.pkl"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_pickle(file, "a 3DPW sequence file", **bounds)
    text = str(caught.value)
    assert text.startswith(f"{file}: ")
    assert text.endswith("; expected a 3DPW sequence file")
    assert "\n" not in text
    return text


def array_pickle(shape: str, data: bytes) -> bytes:
    """A forged array: NumPy's opcodes with any shape (pickle text) and data, float64."""
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        b"(K\x01(" + shape.encode() + b"tcnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ"
        b"\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U" + bytes([len(data)]) + data + b"tb."
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"\n<!DOCTYPE html><title>Login</title>", "a web page (HTML)"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"\x93NUMPY\x01\x00", "a NumPy array"),
        (b"\x1f\x8b\x08rest", "a compressed file"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (WHOLE[:-300], "truncated"),
    ],
)
def test_what_is_no_pickle(content: bytes, said: str, tmp_path: Path) -> None:
    assert said in failure(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (WHOLE[:1], "truncated"),
        (b"no pickle at all", "damaged"),
        (bytes(range(256)) * 4, "damaged"),
        (b"\x80\x09N.", "damaged"),
        (b"\x80\x04\x95" + b"\xff" * 8, "damaged"),
        (b"Pname\n.", "objects outside"),
        (b"\x80\x02\x82\x07.", "damaged"),  # an extension's number
    ],
)
def test_opcodes_that_are_wrong(content: bytes, said: str) -> None:
    assert said in refusal(content)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pkl", tmp_path):
        with pytest.raises(UserError, match=r"no such file; expected a body"):
            read_pickle(path, "a body")


def test_too_large_a_file(tmp_path: Path) -> None:
    assert "more than 100" in failure(tmp_path, WHOLE, max_bytes=100)


class Runs:
    """Unpickled by Python, this runs a command."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_code_is_not_run_and_is_named(protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    content = pickle.dumps([1, Runs(os.system, f"touch {marker}")], protocol)
    assert "'posix.system'" in failure(tmp_path, content)
    assert not marker.exists()
    pickle.loads(content)  # the proof: Python's own unpickler does run it
    assert marker.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cbuiltins\neval\n(U\x011tR.",
        b"c__builtin__\ngetattr\n.",
        b"(ios\nsystem\n.",
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"cnumpy\nload\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.",
        b"cmultibodies.pickles.stubs\nStub\n.",
    ],
)
def test_any_other_name_is_refused(opcodes: bytes) -> None:
    assert "which is not allowed" in refusal(opcodes)


def test_another_class_of_chumpy_is_refused_by_name(tmp_path: Path) -> None:
    """A subclass of Ch computes its value, which a state alone does not give."""
    write_python2(tmp_path / "file.pkl", named("chumpy.ch_ops", "add", {"x": np.zeros(3)}))
    content = (tmp_path / "file.pkl").read_bytes()
    assert "'chumpy.ch_ops.add'" in failure(tmp_path, content)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("J\x00\x00\x00\x7fK\x08", "with 8 bytes, expected 136"),  # 127 << 24 rows, 8 columns
        ("J\xff\xff\xff\xff", "shape (-1,)"),
        ("K\x02", "with 8 bytes, expected 16"),
    ],
)
def test_a_forged_shape_allocates_nothing(shape: str, said: str, tmp_path: Path) -> None:
    raw = array_pickle("SHAPE", bytes(8)).replace(b"SHAPE", shape.encode("latin1"))
    assert said in failure(tmp_path, raw, memory=256 * MIB)


def test_the_forger_can_write_a_right_array(tmp_path: Path) -> None:
    (tmp_path / "file.pkl").write_bytes(array_pickle("K\x01", struct.pack("<d", 2.5)))
    np.testing.assert_array_equal(read_pickle(tmp_path / "file.pkl", "x"), [2.5])


@pytest.mark.parametrize("kind", ["V8", "M8", "f8,f8", "f9999999", "z"])
def test_other_dtypes_are_refused(kind: str) -> None:
    raw = array_pickle("K\x01", bytes(8)).replace(
        b"U\x02f8", b"U" + bytes([len(kind)]) + kind.encode()
    )
    assert f"'{kind}'" in refusal(raw)


BOMBS = {
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x.",
    "made bytes": b"cbuiltins\nbytes\n(" + b"\x8a\x05" + bytes(4) + b"\x7f" + b"tR.",
    "memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_memory_bombs(bomb: str, tmp_path: Path) -> None:
    assert "needs more than 512 MiB" in failure(tmp_path, BOMBS[bomb], memory=512 * MIB)


def test_a_sparse_bomb(tmp_path: Path) -> None:
    none = np.zeros(0, np.int32)
    state = {"data": none, "indices": none, "indptr": np.zeros(2, np.int32)}
    stub = named("scipy.sparse.csc", "csc_matrix", {**state, "_shape": (1 << 40, 1)})
    write_python2(tmp_path / "file.pkl", stub)
    assert "needs more than" in failure(tmp_path, (tmp_path / "file.pkl").read_bytes())


def doubling(times: int) -> bytes:
    """A list that holds the same list twice, that holds the same list twice, and so on."""
    steps = (b"](h" + bytes([k]) + b"h" + bytes([k]) + b"eq" + bytes([k + 1]) for k in range(times))
    return b"\x80\x02]q\x00" + b"".join(steps) + b"."


def test_a_list_that_repeats_itself_without_end(tmp_path: Path) -> None:
    assert "more than 1000000 items" in failure(tmp_path, doubling(30))
    assert "nested more than 32" in refusal(doubling(100))


def test_a_list_in_itself() -> None:
    assert "nested more than 32" in refusal(b"\x80\x02]q\x00h\x00a.")


def test_a_text_repeated() -> None:
    text = ["x" * MIB] * 100
    assert "longer than" in refusal(pickle.dumps(text))


def test_lists_nested_without_end(tmp_path: Path) -> None:
    content = b"\x80\x02" + b"](" * 200_000 + b"N" + b"e" * 200_000 + b"."
    assert "nested more than 32" in failure(tmp_path, content)


def test_a_key_that_breaks_the_interpreter(tmp_path: Path) -> None:
    """The hash of deeply nested tuples overflows C's stack: the child dies, not we."""
    content = b"\x80\x02}N" + b"\x85" * 300_000 + b"Ns."
    text = failure(tmp_path, content)
    assert "its reader broke (SIGSEGV)" in text or "nested too deep" in text


def test_chumpy_without_its_value(tmp_path: Path) -> None:
    write_python2(tmp_path / "file.pkl", named("chumpy.ch", "Ch", {"y": 1}))
    assert "a chumpy.ch.Ch without 'x'" in refusal((tmp_path / "file.pkl").read_bytes())


def test_a_selection_out_of_range(tmp_path: Path) -> None:
    state = {"a": np.zeros(3), "idxs": np.array([7]), "preferred_shape": (1,)}
    write_python2(tmp_path / "file.pkl", named("chumpy.reordering", "Select", state))
    assert "damaged" in refusal((tmp_path / "file.pkl").read_bytes())


@pytest.mark.parametrize("part", ["indices", "indptr", "data"])
def test_sparse_parts_that_do_not_fit(part: str, tmp_path: Path) -> None:
    state = {"data": np.ones(2), "indices": np.arange(2), "indptr": np.array([0, 1, 2])}
    state[part] = np.array([0, 9, 9, 9])
    stub = named("scipy.sparse.csc", "csc_matrix", {**state, "_shape": (2, 2)})
    write_python2(tmp_path / "file.pkl", stub)
    assert "sparse matrix" in refusal((tmp_path / "file.pkl").read_bytes())


def test_a_processor_bomb_ends_in_time(tmp_path: Path) -> None:
    """Whole numbers that collide in a dict: each insertion looks at all before."""
    keys = b"".join(
        b"\x8a\x0c" + ((k + 1) * (2**61 - 1)).to_bytes(12, "little") + b"N" for k in range(60_000)
    )
    start = time.monotonic()
    text = failure(tmp_path, b"\x80\x02}(" + keys + b"u.", seconds=2)
    assert "took more than 2 s" in text
    assert time.monotonic() - start < 20


def test_a_huge_whole_number() -> None:
    assert "a whole number of 8" in refusal(pickle.dumps(1 << 80_000))


def test_text_where_numbers_belong(tmp_path: Path) -> None:
    state = {"a": "text", "idxs": [0], "preferred_shape": (1,)}
    write_python2(tmp_path / "file.pkl", named("chumpy.reordering", "Select", state))
    assert "where numbers are expected" in refusal((tmp_path / "file.pkl").read_bytes())
