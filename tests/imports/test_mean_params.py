"""smpl_mean_params.npz becomes the head's start; every other file is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multibodies.errors import UserError
from multibodies.imports.mean_params import read_mean_params

GOOD: dict[str, Any] = {
    "pose": np.arange(144, dtype=np.float32),
    "shape": np.linspace(-1, 1, 10),
    "cam": np.array([0.9, 0.0, 0.0], np.float32),
}


def test_the_parts_follow_each_other(tmp_path: Path) -> None:
    file = tmp_path / "smpl_mean_params.npz"
    np.savez(file, **GOOD, other=np.zeros(3))
    state = read_mean_params(file)
    assert state.shape == (157,)
    assert state.dtype is torch.float32
    assert state[:144].tolist() == list(range(144))
    np.testing.assert_allclose(state[144:154].numpy(), GOOD["shape"], rtol=1e-6)
    assert state[154:].tolist() == pytest.approx([0.9, 0, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pose": None}, r"no array 'pose' \(needs pose, shape, cam\)"),
        ({"pose": np.zeros(72)}, r"'pose' is float64 of shape \(72,\), expected 144 numbers"),
        ({"pose": np.zeros((24, 6))}, r"'pose' is float64 of shape \(24, 6\)"),
        ({"cam": np.array(["a", "b", "c"])}, "'cam' is <U1"),
        ({"shape": np.full(10, np.nan)}, "'shape' holds a NaN"),
        ({"cam": np.array([0.9, None, 0], object)}, "not an .npz of plain arrays"),
    ],
)
def test_bad_arrays_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = tmp_path / "m.npz"
    np.savez(file, **{k: v for k, v in (GOOD | change).items() if v is not None})
    with pytest.raises(UserError, match=rf"m\.npz: .*{message}"):
        read_mean_params(file)


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04cut"])
def test_files_that_are_no_npz_are_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "m.npz"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"m\.npz: not an \.npz of plain arrays"):
        read_mean_params(file)
    with pytest.raises(UserError, match=r"cannot be read \(No such file"):
        read_mean_params(tmp_path / "none.npz")


def test_a_bare_array_is_named(tmp_path: Path) -> None:
    file = tmp_path / "m.npy"
    np.save(file, np.zeros(157))
    with pytest.raises(UserError, match=r"m\.npy: not an \.npz"):
        read_mean_params(file)
