"""Real bodies of the adversarial prior: lab-train's own, or AMASS-like files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multibodies.config import DataConfig
from multibodies.data import poses
from multibodies.data.keyframes import keyframe_names, load_keyframes
from multibodies.data.motions import Motions, identity_of, motions_of
from multibodies.data.subjects import subject_pool
from multibodies.errors import UserError

DATA = DataConfig()
RNG = np.random.default_rng(0)


def _file(path: Path, frames: int = 5, width: int = 156, **changes: Any) -> dict[str, Any]:
    """Write one AMASS-like file; return its arrays."""
    arrays: dict[str, Any] = {
        "poses": RNG.normal(size=(frames, width)),
        "betas": RNG.normal(size=16),
        "trans": np.zeros((frames, 3)),
        "gender": np.array("female"),
    }
    arrays = {k: v for k, v in (arrays | changes).items() if v is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return arrays


def _read(path: Path, count: int = 100) -> Motions:
    return motions_of(str(path), count, DATA)


def test_embedded_bodies_have_finite_poses_and_shapes_of_lab_trains_people() -> None:
    theta, beta = motions_of(None, 50, DATA)
    assert theta.shape == (50, 24, 3) and theta.dtype == torch.float32
    people = torch.tensor(subject_pool(DATA.seed, "lab-train", 0).beta, dtype=torch.float32)
    assert all(any(torch.equal(row, person) for person in people) for row in beta)
    assert len(theta.flatten(1).unique(dim=0)) == 50
    again = motions_of(None, 20, DATA)  # a body does not depend on how many there are
    assert torch.equal(again.theta, theta[:20]) and torch.equal(again.beta, beta[:20])


def test_no_other_splits_keyframe_is_ever_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """All others are gone, and nothing misses them."""
    data = DataConfig(lying_share=0.123)  # nobody else's, so that nothing is known of it yet
    train = keyframe_names("lab-train")
    alone = {name: pose for name, pose in load_keyframes().items() if name in train}
    with monkeypatch.context() as patch:
        patch.setattr(poses, "load_keyframes", lambda: alone)
        theta, _ = motions_of(None, 200, data)
    assert torch.isfinite(theta).all()
    assert len(alone) == 28 < len(load_keyframes())


def test_an_smplh_file_gives_22_rotations_and_hands_at_rest(tmp_path: Path) -> None:
    arrays = _file(tmp_path / "walk_poses.npz")
    theta, beta = _read(tmp_path / "walk_poses.npz")
    expected = arrays["poses"][:, :66].reshape(5, 22, 3)
    np.testing.assert_allclose(theta[:, :22], expected, rtol=1e-6)
    assert theta[:, 22:].abs().max() == 0
    for row in beta:
        np.testing.assert_allclose(row, arrays["betas"][:10], rtol=1e-6)


def test_an_smpl_file_keeps_its_hands_and_may_have_a_shape_per_frame(tmp_path: Path) -> None:
    arrays = _file(tmp_path / "a.npz", width=72, betas=RNG.normal(size=(5, 10)))
    theta, beta = _read(tmp_path / "a.npz")
    np.testing.assert_allclose(theta.flatten(1), arrays["poses"], rtol=1e-6)
    np.testing.assert_allclose(beta, arrays["betas"], rtol=1e-6)


def test_a_folders_files_are_taken_in_order_without_those_of_subjects(tmp_path: Path) -> None:
    first = _file(tmp_path / "s1" / "a_poses.npz", 4)
    second = _file(tmp_path / "s2" / "b_stageii.npz", 3, width=165)
    np.savez(tmp_path / "s1" / "shape.npz", betas=np.zeros(16), gender="male")
    np.savez(tmp_path / "s2" / "neutral_stagei.npz", betas=np.zeros(16))
    expected = np.concatenate([first["poses"][:, :66], second["poses"][:, :66]])
    np.testing.assert_allclose(_read(tmp_path).theta[:, :22].flatten(1), expected, rtol=1e-6)


def test_fewer_bodies_than_frames_are_spread_over_all_files(tmp_path: Path) -> None:
    """Every frame's first number is its place among all frames."""
    for k in range(4):
        places = 100.0 * k + np.arange(100)[:, None] + np.zeros((1, 72))
        _file(tmp_path / f"{k}.npz", width=72, poses=places, betas=np.full(10, float(k)))
    theta, beta = _read(tmp_path, 40)
    found: list[float] = theta[:, 0, 0].tolist()
    assert found == sorted(set(found)) and len(found) == 40
    assert {int(place) // 100 for place in found} == {0, 1, 2, 3}
    assert beta[:, 9].tolist() == [place // 100 for place in found]
    assert torch.equal(theta, _read(tmp_path, 40).theta)


NOT_FINITE = np.zeros((5, 72))
NOT_FINITE[3, 7] = np.nan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"poses": None}, r"m\.npz: no array 'poses'"),
        ({"betas": None}, r"m\.npz: no array 'betas'"),
        ({"poses": np.zeros((5, 63))}, r"m\.npz: array 'poses': .*\(5, 63\); expected axis-angle"),
        ({"poses": np.zeros((5, 24, 3))}, r"m\.npz: array 'poses': .*\(5, 24, 3\)"),
        ({"poses": np.full((5, 72), "x")}, r"m\.npz: array 'poses'"),
        ({"poses": NOT_FINITE}, r"m\.npz: array 'poses': .*not finite"),
        ({"poses": np.zeros((0, 72))}, r"m\.npz: 'poses' has no frame"),
        ({"betas": np.zeros(8)}, r"m\.npz: array 'betas': .*\(8,\); expected \[10 or more\]"),
        ({"betas": np.zeros((4, 10))}, r"m\.npz: array 'betas': .*each of the 5 frames"),
        ({"betas": np.float64(1.0)}, r"m\.npz: array 'betas': .*shape \(\)"),
        ({"betas": np.full(10, np.inf)}, r"m\.npz: array 'betas': .*not finite"),
        ({"poses": np.full((5, 72), None)}, r"m\.npz: array 'poses': holds Python objects"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name_and_key(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    _file(tmp_path / "m.npz", **changes)
    with pytest.raises(UserError, match=message):
        _read(tmp_path / "m.npz")


def test_a_path_without_motions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        _read(tmp_path / "gone.npz")
    with pytest.raises(UserError, match=r"no \.npz with motions below it"):
        _read(tmp_path)
    (tmp_path / "text.npz").write_text("poses")
    with pytest.raises(UserError, match=r"text\.npz: not a whole \.npz"):
        _read(tmp_path)


def test_bodies_are_known_by_content_not_by_path(tmp_path: Path) -> None:
    arrays = _file(tmp_path / "a.npz")
    shutil.copy(tmp_path / "a.npz", tmp_path / "b.npz")
    first, copy = (identity_of(str(tmp_path / f"{x}.npz"), 100, DATA) for x in "ab")
    assert first == copy
    arrays["poses"][2, 5] += 0.1
    _file(tmp_path / "b.npz", **arrays)
    assert identity_of(str(tmp_path / "b.npz"), 100, DATA) != first
    kinds = [(10, DATA), (11, DATA), (10, DataConfig(seed=1)), (10, DataConfig(lying_share=1))]
    assert len({identity_of(None, count, data) for count, data in kinds}) == 4
    assert identity_of(None, 10, DataConfig(image_size=32)) == identity_of(None, 10, DATA)
