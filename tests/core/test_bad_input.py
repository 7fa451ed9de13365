"""Bad input has a clear error or a defined result: bodies, hypotheses, weights, checkpoints."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model_samples import save_regressor
from multibodies.checkpoints import load_into, load_regressor
from multibodies.core.body_arrays import EMBEDDED_BODY, body_from_arrays, load_body
from multibodies.core.joint_body import PosedPoints
from multibodies.core.quantizer import hypothesis_weights, kmeans, quantise
from multibodies.core.regressor import Regressor, RegressorSpec
from multibodies.core.rotations import rotation_6d_to_matrix
from multibodies.errors import UserError
from multibodies.fitting import check_spec
from multibodies.hypotheses import check_hypotheses, read_hypotheses, write_hypotheses
from multibodies.truth import check_n
from stored_samples import random_stored

F64 = torch.float64


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["beta", "rotation_6d", "log_density"])
def test_hypotheses_that_are_not_finite_are_named_and_never_stored(
    tmp_path: Path, name: str, bad: float
) -> None:
    stored = random_stored(3, 4)
    stored.arrays()[name][1].flat[0] = bad
    with pytest.raises(UserError, match=rf"x\.parquet: '{name}' of image 'wild-001' is not finite"):
        write_hypotheses(tmp_path / "x.parquet", stored)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("columns", [(0.0, 0.0), (0.0, 1.0), (1.0, 2.0), (1.0, -1e5)])
def test_columns_without_a_plane_are_no_rotation(columns: tuple[float, float]) -> None:
    """Gram-Schmidt would silently give a matrix of determinant 0."""
    stored = random_stored(3, 4)
    direction = np.array([1.0, 2.0, 3.0], np.float32)
    stored.rotation_6d[2, 3, 23] = np.stack([c * direction for c in columns], 1).ravel()
    matrix = rotation_6d_to_matrix(torch.from_numpy(stored.rotation_6d[2, 3, 23]).double())
    assert abs(float(torch.linalg.det(matrix))) < 0.5
    with pytest.raises(UserError, match=r"x: 'rotation_6d' of image 'wild-002' is no rotation"):
        check_hypotheses(stored, "x")


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_columns_of_any_length_are_a_rotation(tmp_path: Path, size: float) -> None:
    stored = random_stored(2, 3)
    scaled = dataclasses.replace(stored, rotation_6d=stored.rotation_6d * np.float32(size))
    write_hypotheses(tmp_path / "x.parquet", scaled)
    assert np.array_equal(read_hypotheses(tmp_path / "x.parquet").rotation_6d, scaled.rotation_6d)


def embedded_arrays() -> dict[str, Any]:
    with np.load(EMBEDDED_BODY, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.mark.parametrize(("key", "rows"), [("J_regressor_h36m", 17), ("J_regressor_extra", 9)])
@pytest.mark.parametrize("width", [6889, 6891, 10475])
def test_a_regressor_of_another_body_is_named(key: str, rows: int, width: int) -> None:
    arrays = embedded_arrays() | {key: np.zeros((rows, width), np.float32)}
    expected = rf"mine\.npz: array '{key}' has shape \({rows}, {width}\), expected \({rows}, 6890\)"
    with pytest.raises(UserError, match=expected):
        body_from_arrays(arrays, name="mine", where="mine.npz")


def test_a_regressor_with_a_nan_is_named(tmp_path: Path) -> None:
    arrays = embedded_arrays()
    arrays["J_regressor_h36m"] = arrays["J_regressor_h36m"].copy()
    arrays["J_regressor_h36m"][3, 7] = np.nan
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(UserError, match=r"'J_regressor_h36m' holds a NaN"):
        load_body(str(tmp_path / "mine.npz"))


@pytest.mark.parametrize(
    ("rotations", "beta"),
    [((2, 24, 3, 3), (3, 10)), ((2, 23, 3, 3), (2, 10)), ((2, 24, 3, 3), (2, 11))],
)
def test_bodies_of_other_shapes_are_refused(
    rotations: tuple[int, ...], beta: tuple[int, ...]
) -> None:
    picks, regressor = torch.eye(24, dtype=F64)[:1], torch.zeros(1, 6890, dtype=F64)
    body = PosedPoints(load_body(), picks, regressor)
    with pytest.raises(ValueError, match=r"need rotations \[B, 24, 3, 3\] and beta \[B, 10\]"):
        body(torch.zeros(rotations), torch.zeros(beta))


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("bad", [-torch.inf, torch.inf, torch.nan])
def test_densities_that_no_hypothesis_has_are_refused(alpha: float, bad: float) -> None:
    density = torch.zeros(3, 5)
    density[2] = bad
    with pytest.raises(UserError, match="log_density of image 2 are not finite: quarantine it"):
        hypothesis_weights(density, alpha)


def test_the_lowest_finite_densities_still_make_weights() -> None:
    lowest = torch.finfo(torch.float32).min
    weights = hypothesis_weights(torch.full((1, 4), lowest), 1.0)
    assert weights.tolist() == [[0.25] * 4]


@pytest.mark.parametrize("n", [1, 3, 6])
def test_equal_hypotheses_cost_nothing_and_fill_every_cluster(n: int) -> None:
    joints = torch.randn(1, 1, 24, 3, dtype=F64).expand(2, 6, 24, 3)
    weights = torch.rand(2, 6, dtype=F64) + 0.1
    made = quantise(joints, joints, weights, n)
    torch.testing.assert_close(made.values, joints[:, :n])
    torch.testing.assert_close(made.clusters.energy, torch.zeros(2, dtype=F64))
    assert [len(row.unique()) for row in made.clusters.assignment] == [n, n]
    assert [len(row.unique()) for row in made.medoids] == [n, n]


def twins(distinct: int) -> tuple[Tensor, Tensor]:
    """M = 8 points of which some are the same, and their weights."""
    points = torch.randn(2, distinct, 6, dtype=F64)[:, torch.arange(8) % distinct]
    return points, torch.rand(2, 8, dtype=F64) + 0.1


@pytest.mark.parametrize("distinct", [1, 3, 8])
def test_n_m_makes_every_hypothesis_its_own_cluster_twins_too(distinct: int) -> None:
    points, weights = twins(distinct)
    clusters = kmeans(points, weights, 8)
    torch.testing.assert_close(clusters.energy, torch.zeros(2, dtype=F64))
    assert all(sorted(row.tolist()) == list(range(8)) for row in clusters.assignment)
    own = clusters.centroids.gather(1, clusters.assignment[..., None].expand_as(points))
    torch.testing.assert_close(own, points)


def test_more_outputs_than_hypotheses_are_refused_before_any_work() -> None:
    with pytest.raises(UserError, match=r"wild: evaluation\.n asks for 25 of M = 10 hypotheses"):
        check_n((1, 25), 10, "wild")


WANTED = RegressorSpec(trunk="resnet50", width=8, hidden=16, num_hypotheses=4)


@pytest.mark.parametrize(
    ("field", "found"), [("trunk", "resnet18"), ("num_hypotheses", 5), ("width", 16)]
)
def test_a_checkpoint_of_another_network_is_named(field: str, found: str | int) -> None:
    other = RegressorSpec(**{**WANTED.to_json(), field: found})
    wanted = WANTED.to_json()[field]
    said = f"ckpt: a network with {field} = {found}; the configuration asks for {wanted}"
    with pytest.raises(UserError, match=said):
        check_spec(other, WANTED, Path("ckpt"))


def test_weights_of_another_m_or_trunk_do_not_load(tmp_path: Path) -> None:
    model = save_regressor(tmp_path, 4)
    assert load_regressor(tmp_path).spec.num_hypotheses == 4
    more = Regressor(RegressorSpec(**{**model.spec.to_json(), "num_hypotheses": 5}))
    with pytest.raises(UserError, match=r"'head\.decpose\.weight' has shape \(576, 16\), expected"):
        load_into(more, model.state_dict(), tmp_path)
    deeper = Regressor(RegressorSpec(**{**model.spec.to_json(), "trunk": "resnet18"}))
    with pytest.raises(UserError, match=r"is it another model's\?"):
        load_into(deeper, model.state_dict(), tmp_path)
