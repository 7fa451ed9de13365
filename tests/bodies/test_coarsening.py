"""Coarse meshes: what farthest-point sampling promises, connected graphs, templates reproduced."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components, dijkstra

from multibodies.bodies.coarsening import Coarsening, coarsen
from multibodies.core.body import BodyArrays, MeshBody, load_body
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.errors import UserError

pytestmark = pytest.mark.slow

SIZES = (108, 431)


@pytest.fixture(scope="module")
def body() -> BodyArrays:
    return load_body()


def _grid(side: int, parts: int = 1) -> BodyArrays:
    """Return a body whose mesh is `parts` squares of side x side vertices, a metre apart in z."""
    y, x, z = np.meshgrid(np.arange(side), np.arange(side), np.arange(parts), indexing="ij")
    places = np.stack([x, y, 10 * z], -1).transpose(2, 0, 1, 3).reshape(-1, 3) / 10
    corner = np.arange(side * side).reshape(side, side)[:-1, :-1].ravel()
    square = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + side], 1),
            np.stack([corner + 1, corner + side + 1, corner + side], 1),
        ]
    )
    faces = np.concatenate([square + part * side * side for part in range(parts)])
    template = torch.from_numpy(places).float()
    return replace(load_body(), v_template=template, faces=torch.from_numpy(faces))


def _graph(coarse: Coarsening) -> sp.csr_matrix:
    i, j = coarse.edges.numpy()
    return sp.coo_matrix((np.ones(len(i)), (i, j)), (len(coarse.kept),) * 2).tocsr()


def _lengths(body: BodyArrays) -> sp.csr_matrix:
    """Return edge lengths in metres, side by side of every face."""
    template, faces = body.v_template.double().numpy(), body.faces.tolist()
    i, j = np.array(sorted({(face[k], face[k - 1]) for face in faces for k in range(3)})).T
    length = np.linalg.norm(template[i] - template[j], axis=1)
    upper = sp.coo_matrix((length, (i, j)), (len(template),) * 2).tocsr()
    return upper.maximum(upper.T)


@pytest.mark.parametrize("size", SIZES)
def test_a_coarse_body_is_one_connected_symmetric_graph(body: BodyArrays, size: int) -> None:
    coarse = coarsen(body, size)
    graph = _graph(coarse)
    assert len(coarse.kept) == len(set(coarse.kept.tolist())) == size
    assert coarse.kept.tolist() == sorted(coarse.kept.tolist())
    assert connected_components(graph)[0] == 1
    assert (graph != graph.T).nnz == 0
    assert graph.diagonal().sum() == 0
    assert graph.max() == 1  # no edge twice
    assert 4 < graph.sum() / size < 7  # a closed surface's vertices have six neighbours at most


def test_the_same_body_gives_the_same_mesh(body: BodyArrays) -> None:
    first, again = coarsen(body, 108), coarsen(load_body(), 108)
    assert first is not again
    for mine, its in zip(first, again, strict=True):
        assert torch.equal(mine.to_dense(), its.to_dense())


def test_kept_vertices_are_spread_evenly_along_the_mesh(body: BodyArrays) -> None:
    """No vertex is farther from the kept ones than these are from each other."""
    kept = coarsen(body, 108).kept.numpy()
    distance = dijkstra(_lengths(body), indices=kept)
    between = distance[:, kept] + np.diag(np.full(108, np.inf))
    assert distance.min(0).max() <= between.min() + 1e-4
    assert 0.05 < between.min() < 0.2


@pytest.mark.parametrize(("size", "mean_mm", "worst_mm"), [(108, 1.0, 25), (431, 0.3, 15)])
def test_upsampling_reproduces_the_template(
    body: BodyArrays, size: int, mean_mm: float, worst_mm: float
) -> None:
    coarse = coarsen(body, size)
    up = coarse.upsampling.to_dense()
    template = body.v_template.double()
    assert torch.allclose(up.sum(1), torch.ones(len(up), dtype=torch.float64))
    assert torch.equal(up[coarse.kept], torch.eye(size, dtype=torch.float64))
    error = 1e3 * (up @ template[coarse.kept] - template).norm(dim=1)
    assert float(error.mean()) < mean_mm
    assert float(error.max()) < worst_mm


def test_upsampling_follows_a_posed_body_far_closer_than_its_nearest_vertices(
    body: BodyArrays,
) -> None:
    coarse = coarsen(body, 431)
    rotations = axis_angle_to_matrix(0.3 * torch.randn(4, 24, 3))
    mesh = MeshBody(body)(rotations, torch.randn(4, 10))
    up = coarse.upsampling.to_dense().float()
    error = (up @ mesh[:, coarse.kept] - mesh).norm(dim=-1).mean()
    template = body.v_template
    nearest = mesh[:, coarse.kept[torch.cdist(template, template[coarse.kept]).argmin(1)]]
    assert float(error) < 0.005
    assert float(error) < 0.25 * float((nearest - mesh).norm(dim=-1).mean())


def test_a_plane_is_reproduced_and_separate_parts_stay_separate() -> None:
    grid = _grid(9, parts=2)
    coarse = coarsen(grid, 24)
    parts, label = connected_components(_graph(coarse))
    assert parts == 2
    assert all(len(set(coarse.kept[label == p].div(81, rounding_mode="floor"))) for p in (0, 1))
    up = coarse.upsampling.to_dense()
    across = up[:81][:, coarse.kept >= 81]
    assert not across.any()  # nothing of the other part
    again = up @ grid.v_template.double()[coarse.kept]
    torch.testing.assert_close(again[:, 2], grid.v_template[:, 2].double())
    assert float((again - grid.v_template).abs().max()) < 0.01  # of squares 0.1 wide


@pytest.mark.parametrize(("count", "parts"), [(163, 2), (1, 2)])
def test_more_vertices_than_there_are_and_fewer_than_parts_are_refused(
    count: int, parts: int
) -> None:
    grid = _grid(9, parts)
    with pytest.raises(UserError, match=rf"graphcmr.vertices is {count}.*{parts} .* to 162"):
        coarsen(grid, count)
