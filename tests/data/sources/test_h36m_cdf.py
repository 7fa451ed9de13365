"""CDF files of every layout that cdflib writes, read in the bounded child; damaged files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from cdflib.cdfwrite import CDF

from multibodies.data.sources.h36m import cdf as h36m_cdf
from multibodies.data.sources.h36m.cdf import cdf_reader, read_frames
from multibodies.data.sources.record import Floats
from multibodies.errors import UserError

pytestmark = pytest.mark.slow

REAL4, REAL8, INT4 = 44, 45, 4


def write_cdf(
    path: Path,
    values: npt.NDArray[Any],
    name: str = "Pose",
    *,
    kind: int = REAL4,
    majority: str = "row_major",
    encoding: int = 6,
    packed_file: int = 0,
    packed: int = 0,
    per_frame: bool = False,
    block: int | None = None,
    is_z: bool = True,
) -> Path:
    """Write one record of [T, W], or T records of [W] (`per_frame`)."""
    sizes = list(values.shape[1:] if per_frame else values.shape)
    spec = {"Majority": majority, "Encoding": encoding, "Compressed": packed_file}
    if not is_z:
        spec["rDim_sizes"] = sizes
    variable: dict[str, Any] = {
        "Variable": name,
        "Data_Type": kind,
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Dim_Sizes": sizes if is_z else [],
        "Dim_Vary": [True] * len(sizes),
        "Var_Type": "zVariable" if is_z else "rVariable",
        "Compress": packed,
    }
    if majority == "column_major":  # cdflib writes the bytes as they come
        values = np.ascontiguousarray(values.T).reshape(values.shape)
    if block is not None:
        variable["Block_Factor"] = block
    with CDF(path, cdf_spec=spec, delete=True) as file:
        other = {**variable, "Variable": "Before", "Compress": 0}
        file.write_var(other, var_data=np.zeros((1, *sizes), np.float32))
        file.write_var(variable, var_data=values if per_frame else values[None])
    return path


def frames_of(path: Path, name: str, width: int) -> Floats:
    with cdf_reader() as reader:
        return read_frames(reader, path, name, width)


def sample(frames: int = 7, width: int = 96) -> npt.NDArray[np.float32]:
    values = np.random.default_rng(3).normal(size=(frames, width)) * 1000
    return values.astype(np.float32)


KINDS: dict[str, dict[str, Any]] = {
    "as-is": {},
    "doubles": {"kind": REAL8},
    "columns": {"majority": "column_major"},
    "big-endian": {"encoding": 1},
    "packed": {"packed": 6},
    "packed-columns": {"packed": 6, "majority": "column_major", "encoding": 1},
    "packed-file": {"packed_file": 6},
    "a-record-per-frame": {"per_frame": True},
    "blocks": {"per_frame": True, "packed": 6, "block": 2},
    "r-variable": {"is_z": False},
}


@pytest.mark.parametrize("name", KINDS)
def test_reads_what_was_written(tmp_path: Path, name: str) -> None:
    path = write_cdf(tmp_path / "a.cdf", sample(), **KINDS[name])
    found = frames_of(path, "Pose", 96)
    assert found.dtype == np.float64 and np.array_equal(found, sample())


def test_one_frame_is_not_taken_for_the_batch(tmp_path: Path) -> None:
    path = write_cdf(tmp_path / "a.cdf", sample(1))
    assert frames_of(path, "Pose", 96).shape == (1, 96)


def test_other_layouts_are_named(tmp_path: Path) -> None:
    missing = write_cdf(tmp_path / "missing.cdf", sample(), name="Angles")
    with pytest.raises(UserError, match=r"missing.cdf: no variable 'Pose'.*'Angles'.*96"):
        frames_of(missing, "Pose", 96)
    other = write_cdf(tmp_path / "angles.cdf", sample(width=78))
    with pytest.raises(UserError, match=r"angles.cdf: 'Pose' is \(1, 7, 78\).*frames, 96"):
        frames_of(other, "Pose", 96)
    whole = write_cdf(tmp_path / "whole.cdf", np.zeros((7, 96), np.int32), kind=INT4)
    with pytest.raises(UserError, match=r"whole.cdf: 'Pose' holds no floating-point"):
        frames_of(whole, "Pose", 96)
    with pytest.raises(UserError, match=r"gone.cdf: no such file"):
        frames_of(tmp_path / "gone.cdf", "Pose", 96)
    for start, words in ((b"<html>", "not a CDF"), (b"\xcd\xf2\x60\x02", "get the file again")):
        (tmp_path / "x.cdf").write_bytes(start + bytes(999))
        with pytest.raises(UserError, match=words):
            frames_of(tmp_path / "x.cdf", "Pose", 96)


@pytest.mark.parametrize("name", ["as-is", "blocks", "packed-file", "r-variable"])
def test_damaged_files_are_errors_or_numbers(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever bytes change or are missing: an array of the asked width, or one clear error."""
    monkeypatch.setattr(h36m_cdf, "SECONDS", 2)  # cdflib hangs on one of the first kind
    content = write_cdf(tmp_path / "a.cdf", sample(), **KINDS[name]).read_bytes()
    rng = random.Random(0)
    path = tmp_path / "b.cdf"
    with cdf_reader() as reader:
        for trial in range(150):
            path.write_bytes(damaged(content, rng, trial))
            try:
                assert read_frames(reader, path, "Pose", 96).shape[1] == 96
            except UserError as error:
                assert "b.cdf" in str(error)


def damaged(content: bytes, rng: random.Random, trial: int) -> bytes:
    """Cut content short, or change some bytes: of the first ones in every third trial."""
    if trial % 3 == 0:
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    head = min(len(content), 2400) if trial % 3 == 1 else len(content)
    for _ in range(1 + trial % 4):
        changed[rng.randrange(8, head)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
    return bytes(changed)


def test_truncated_values(tmp_path: Path) -> None:
    path = write_cdf(tmp_path / "a.cdf", sample())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"a.cdf: damaged"):
        frames_of(path, "Pose", 96)


def place_of(content: bytes) -> int:
    """Where the variable's record begins: its name is 84 bytes behind (CDF 3.9, table 2.7)."""
    return content.index(b"Pose\0") - 84


def forged(path: Path, at: int, number: int, size: int) -> Path:
    content = bytearray(path.read_bytes())
    content[at : at + size] = number.to_bytes(size, "big", signed=True)
    path.write_bytes(content)
    return path


def test_forged_numbers_allocate_nothing_here_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(h36m_cdf, "SECONDS", 2)
    path = write_cdf(tmp_path / "a.cdf", sample())
    original = path.read_bytes()
    place = place_of(original)
    index = int.from_bytes(original[place + 28 : place + 36], "big")
    cases = (
        (place + 24, 2_000_000_000, 4, "needs more than 1024 MiB"),  # records
        (place + 344, 2_000_000_000, 4, "needs more than 1024 MiB"),  # frames
        (place + 340, 1_000_000_000, 4, "took more than 2 s"),  # dimensions
        (place + 12, place, 8, ""),  # the list of variables runs in a circle
        (index + 12, index, 8, "damaged"),  # and the index
        (index + 20, 2_000_000_000, 4, "damaged"),  # room in the index
        (index + 24, 2_000_000_000, 4, "took more than 2 s"),  # entries
    )
    for at, number, size, words in cases:
        path.write_bytes(original)
        forged(path, at, number, size)
        if not words:
            assert np.array_equal(frames_of(path, "Pose", 96), sample())
            continue
        with pytest.raises(UserError, match=words):
            frames_of(path, "Pose", 96)


@pytest.mark.parametrize(
    "packing", [{"packed": 6, "per_frame": True, "block": 10**6}, {"packed_file": 6}]
)
def test_a_packed_bomb_ends_in_the_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: dict[str, Any]
) -> None:
    """A block or a file that unpacks to more than the child may hold."""
    monkeypatch.setattr(h36m_cdf, "MEMORY", 200 << 20)
    path = write_cdf(tmp_path / "a.cdf", np.zeros((200_000, 96), np.float32), **packing)
    assert path.stat().st_size < 1 << 18
    with pytest.raises(UserError, match="needs more than 200 MiB"):
        frames_of(path, "Pose", 96)


def test_one_child_reads_on_after_a_file_that_ended_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing reads its files in one child; what cdflib leaves behind goes with it."""
    monkeypatch.setattr(h36m_cdf, "SECONDS", 2)
    whole = write_cdf(tmp_path / "a.cdf", sample(), packed_file=6)
    bad = write_cdf(tmp_path / "b.cdf", sample())
    forged(bad, place_of(bad.read_bytes()) + 340, 1_000_000_000, 4)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with cdf_reader() as reader:
        read_frames(reader, whole, "Pose", 96)
        with pytest.raises(UserError, match=r"b\.cdf: took more"):
            read_frames(reader, bad, "Pose", 96)
        assert np.array_equal(read_frames(reader, whole, "Pose", 96), sample())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.cdf", "b.cdf"]
