"""CDF files: what cdflib wrote, and what it reads, against the bounded reader; damaged files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cdflib
import numpy as np
import numpy.typing as npt
import pytest
from cdflib.cdfwrite import CDF

from multibodies.data.sources import h36m_cdf
from multibodies.data.sources.h36m_cdf import cdf_reader, read_frames
from multibodies.errors import UserError

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
    theirs = np.asarray(cdflib.CDF(path).varget("Pose")).reshape(7, 96)
    assert np.array_equal(found, theirs)


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
    with pytest.raises(UserError, match=r"whole.cdf: 'Pose' has type 4"):
        frames_of(whole, "Pose", 96)
    with pytest.raises(UserError, match=r"gone.cdf: no such file"):
        frames_of(tmp_path / "gone.cdf", "Pose", 96)
    for start, words in ((b"<html>", "not a CDF"), (b"\xcd\xf2\x60\x02", "version 2")):
        (tmp_path / "x.cdf").write_bytes(start + bytes(999))
        with pytest.raises(UserError, match=words):
            frames_of(tmp_path / "x.cdf", "Pose", 96)


@pytest.mark.parametrize("name", ["as-is", "blocks", "packed-file", "r-variable"])
def test_damaged_files_are_errors_or_numbers(tmp_path: Path, name: str) -> None:
    """Whatever bytes change or are missing: an array of the asked width, or one clear error."""
    content = write_cdf(tmp_path / "a.cdf", sample(), **KINDS[name]).read_bytes()
    rng = random.Random(0)
    path = tmp_path / "b.cdf"
    for trial in range(150):
        damaged = bytearray(content)
        if trial % 3 == 0:
            damaged = damaged[: rng.randrange(len(content))]
        else:
            head = min(len(content), 2400) if trial % 3 == 1 else len(content)
            for _ in range(1 + trial % 4):
                damaged[rng.randrange(8, head)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        path.write_bytes(damaged)
        try:
            assert frames_of(path, "Pose", 96).shape[1] == 96
        except UserError as error:
            assert "b.cdf" in str(error)


def test_truncated_values(tmp_path: Path) -> None:
    path = write_cdf(tmp_path / "a.cdf", sample())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"a.cdf: truncated"):
        frames_of(path, "Pose", 96)


def forged(path: Path, at: int, number: int, size: int) -> Path:
    content = bytearray(path.read_bytes())
    content[at : at + size] = number.to_bytes(size, "big", signed=True)
    path.write_bytes(content)
    return path


def test_forged_numbers_allocate_nothing_and_end(tmp_path: Path) -> None:
    path = write_cdf(tmp_path / "a.cdf", sample())
    cdf = Cdf(path.read_bytes())
    place = cdf.names()["Pose"]
    index = cdf.variable(place).head
    original = path.read_bytes()
    cases = (
        (place + 24, 2_000_000_000, 4, "2000000001 records"),
        (place + 344, 2_000_000_000, 4, "2000000000"),
        (place + 340, 1_000_000_000, 4, "1000000000 dimensions|truncated"),
        (place + 12, place, 8, ""),  # the list of variables runs in a circle
        (index + 12, index, 8, "circle"),
        (index + 20, 2_000_000_000, 4, "truncated"),
        (index + 24, 2_000_000_000, 4, "entries"),
    )
    for at, number, size, words in cases:
        path.write_bytes(original)
        forged(path, at, number, size)
        if not words:
            assert np.array_equal(frames_of(path, "Pose", 96), sample())
            continue
        with pytest.raises(UserError, match=words):
            frames_of(path, "Pose", 96)


def test_packed_bomb_is_cut_short(tmp_path: Path) -> None:
    """A block that unpacks to more than the variable is read no further."""
    path = write_cdf(tmp_path / "a.cdf", np.zeros((20000, 96), np.float32), packed=9)
    cdf = Cdf(path.read_bytes())
    place = cdf.names()["Pose"]
    forged(path, place + 344, 5, 4)
    assert frames_of(path, "Pose", 96).shape == (5, 96)
