"""Pickles of all protocols are read as plain data, without the classes they name."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibodies.lookalikes.python2 import named, write_python2
from multibodies.pickles import read_pickle
from pickle_road import through

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
DATA: dict[str, Any] = {
    "poses": [RNG.normal(size=(5, 72)), RNG.normal(size=(5, 72))],
    "fortran": np.asfortranarray(RNG.normal(size=(3, 4, 2))),
    "big_endian": np.arange(4, dtype=">i4"),
    "valid": np.array([True, False]),
    "root": np.array([2**32 - 1, 0], np.uint32),
    "names": np.array([b"im1", b"image2"]),
    "empty": np.zeros((0, 3)),
    "zero_d": np.array(3.5),
    "scalar": np.float32(0.25),
    "genders": ["m", "f"],
    "sequence": "courtyard\xe9",
    "count": 7,
    "nothing": None,
    "flag": True,
}


def same(got: Any, expected: Any) -> bool:
    """Whether the values are equal, arrays with their dtypes but for the byte order."""
    if isinstance(expected, np.ndarray):
        native = expected.dtype.newbyteorder("=")
        return got.dtype == native and got.shape == expected.shape and bool((got == expected).all())
    if isinstance(expected, list):
        return len(got) == len(expected) and all(map(same, got, expected))
    return type(got) is type(expected) and bool(got == expected)


def read(path: Path, value: Any, protocol: int = 2) -> Any:
    """Write as Python 2 and read."""
    write_python2(path / "file.pkl", value, protocol)
    return through((path / "file.pkl").read_bytes())


def check(got: dict[str, Any]) -> None:
    """Hold what was read against DATA; NumPy's scalar has become Python's."""
    assert list(got) == list(DATA)
    for key, value in DATA.items():
        expected = value.item() if isinstance(value, np.generic) else value
        assert same(got[key], expected), key


@pytest.mark.parametrize("protocol", range(6))
def test_python_3_protocols(protocol: int) -> None:
    check(through(pickle.dumps(DATA, protocol)))


@pytest.mark.parametrize("protocol", range(3))
def test_python_2_protocols(protocol: int, tmp_path: Path) -> None:
    check(read(tmp_path, DATA, protocol))


@pytest.mark.parametrize("protocol", [2, 5])
def test_the_whole_road_through_the_child(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "file.pkl").write_bytes(pickle.dumps(DATA, protocol))
    check(read_pickle(tmp_path / "file.pkl", "a test file"))


def test_python_2_file_is_what_python_2_wrote(tmp_path: Path) -> None:
    """The other road: Python's own unpickler and NumPy's read the look-alike with latin1."""
    write_python2(tmp_path / "file.pkl", DATA)
    raw = (tmp_path / "file.pkl").read_bytes()
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in raw
    assert b"X\x05\x00\x00\x00poses" not in raw  # no unicode: str as bytes, U or T
    assert b"U\x05poses" in raw
    direct = pickle.loads(raw, encoding="latin1")
    np.testing.assert_array_equal(direct["fortran"], DATA["fortran"])


@pytest.mark.parametrize("core", ["core", "_core"])
def test_both_names_of_numpys_core(core: str) -> None:
    raw = pickle.dumps(DATA["fortran"], 2)
    assert b"numpy._core" in raw
    raw = raw.replace(b"numpy._core", f"numpy.{core}".encode())
    np.testing.assert_array_equal(through(raw), DATA["fortran"])


def test_bytes_for_keys_are_texts() -> None:
    """A copy that somebody opened with encoding="bytes" and saved again."""
    assert through(pickle.dumps({b"betas": b"\xe9"}, 4)) == {"betas": "\xe9"}


def test_tuples_sets_and_objects_become_lists(tmp_path: Path) -> None:
    ragged = np.empty((2, 2), object)
    ragged[:] = [["a", None], [np.arange(2), 3]]
    got = read(tmp_path, {"t": (1, 2), "s": {4}, "ragged": ragged, 5: "whole"})
    assert (got["t"], got["s"], got[5]) == ([1, 2], [4], "whole")
    assert got["ragged"][0] == ["a", None]
    np.testing.assert_array_equal(got["ragged"][1][0], [0, 1])


def test_arrays_are_writable_and_shared_ones_stay_shared(tmp_path: Path) -> None:
    array = np.arange(6.0)
    got = read(tmp_path, [array, array])
    assert got[0] is got[1]
    got[0][0] = 5


@pytest.mark.parametrize("module", ["chumpy.ch", "chumpy"])
@pytest.mark.parametrize("protocol", range(3))
def test_ch_is_its_value(module: str, protocol: int, tmp_path: Path) -> None:
    state = {"x": np.arange(3.0), "_dirty_vars": {"x"}, "_itr": None}
    got = read(tmp_path, {"v": named(module, "Ch", state)}, protocol)
    np.testing.assert_array_equal(got["v"], [0, 1, 2])
    assert "chumpy" not in sys.modules


@pytest.mark.parametrize("inner", [True, False])
def test_select_picks_from_the_flat_array(inner: bool, tmp_path: Path) -> None:
    """The first 3 of 7 components: a's own shape would be silently wrong."""
    whole = RNG.normal(size=(4, 3, 7))
    chosen = np.arange(whole.size).reshape(whole.shape)[..., :3].ravel()
    state = {
        "a": named("chumpy.ch", "Ch", {"x": whole}) if inner else whole,
        "idxs": chosen,
        "preferred_shape": (4, 3, 3),
    }
    got = read(tmp_path, named("chumpy.reordering", "Select", state))
    np.testing.assert_array_equal(got, whole[..., :3])


@pytest.mark.parametrize("module", ["scipy.sparse.csc", "scipy.sparse._csc"])
def test_sparse_is_the_full_matrix(module: str, tmp_path: Path) -> None:
    from scipy.sparse import csc_matrix

    dense = RNG.random((5, 8)) * (RNG.random((5, 8)) < 0.4)
    full = csc_matrix(dense)
    names = {"_shape": full.shape, "data": full.data, "indices": full.indices}
    stub = named(module, "csc_matrix", {**names, "indptr": full.indptr, "maxprint": 50})
    np.testing.assert_array_equal(read(tmp_path, stub), dense)


def test_a_real_sparse_matrix_of_this_scipy() -> None:
    from scipy.sparse import csc_matrix

    dense = RNG.random((5, 8)) * (RNG.random((5, 8)) < 0.4)
    np.testing.assert_array_equal(through(pickle.dumps(csc_matrix(dense))), dense)


def test_neither_the_working_folder_nor_pythonpath_reaches_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a Ray worker or beside a download: what lies there is not imported."""
    for name in ("numpy", "json", "multibodies"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "file.pkl").write_bytes(pickle.dumps(DATA, 2))
    check(read_pickle("file.pkl", "a test file"))


def test_several_threads_read_at_once(tmp_path: Path) -> None:
    """Ray's workers call from threads: nothing is done between fork and exec, no state is kept."""
    from concurrent.futures import ThreadPoolExecutor

    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(DATA, 2))
    with ThreadPoolExecutor(3) as pool:
        for got in pool.map(lambda _: read_pickle(path, "a test file"), range(3)):
            check(got)
