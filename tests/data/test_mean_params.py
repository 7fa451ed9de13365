"""HMR's mean parameters: read without unpickling, refused by file and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multibodies.core.heads import mean_state
from multibodies.core.rotations import rotation_6d_to_matrix
from multibodies.data.mean_params import read_mean_params
from multibodies.errors import UserError


def _arrays() -> dict[str, np.ndarray]:
    start = mean_state().numpy()
    return {"pose": start[:144], "shape": start[144:154], "cam": start[154:]}


def _saved(folder: Path, arrays: dict[str, Any]) -> Path:
    path = folder / "smpl_mean_params.npz"
    np.savez(path, **arrays)
    return path


def test_the_state_is_pose_shape_camera(tmp_path: Path) -> None:
    arrays = _arrays() | {"shape": np.arange(10.0), "cam": np.array([0.8, 0.1, 0.2])}
    state = read_mean_params(_saved(tmp_path, arrays))
    assert state.dtype == torch.float32
    assert state[144:].tolist() == pytest.approx([*range(10), 0.8, 0.1, 0.2])
    upright = rotation_6d_to_matrix(state[:144].view(24, 6))
    torch.testing.assert_close(upright[0], torch.diag(torch.tensor([1.0, -1.0, -1.0])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cam": None}, r"no array 'cam'; expected pose, shape, cam"),
        ({"pose": np.zeros(72)}, r"array 'pose' has shape \(72,\), expected \(144,\)"),
        ({"shape": np.full(10, np.nan)}, r"array 'shape' must hold finite numbers"),
        ({"cam": np.array(["a", "b", "c"])}, r"array 'cam' must hold finite numbers"),
        ({"cam": np.array([1, None, 2])}, r"not an \.npz of plain arrays"),
    ],
)
def test_bad_arrays_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arrays = {k: v for k, v in {**_arrays(), **change}.items() if v is not None}
    path = _saved(tmp_path, arrays)
    with pytest.raises(UserError, match=message) as caught:
        read_mean_params(path)
    assert str(path) in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.npz: cannot read the mean parameters"):
        read_mean_params(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(UserError, match=r"text\.npz: not an \.npz"):
        read_mean_params(tmp_path / "text.npz")
    np.save(tmp_path / "bare.npy", np.zeros(3))
    with pytest.raises(UserError, match="one bare array"):
        read_mean_params(tmp_path / "bare.npy")
