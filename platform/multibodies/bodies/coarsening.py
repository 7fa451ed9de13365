"""A coarse mesh of any body, computed: a subset of its vertices, their edges, the way up and down.

Shapes: V vertices of the body, C of the coarse mesh, E edges. Metres. GraphCMR reads its meshes
(6890 to 1723 and 431 vertices) from a file made for SMPL; here any template and its faces do:

1. farthest-point sampling by distance along edges picks the vertices that stay;
2. each vertex belongs to the cell of the nearest of them (Voronoi cells along edges), and cells
   that share an edge are neighbours: a connected body stays connected;
3. a vertex v of the cell of c is c + sum_j w_j (c_j - c) over the neighbours j, with
   w = argmin |c + sum_j w_j (c_j - c) - v|^2 + ridge |w|^2: a matrix whose rows sum to one. A cell
   with fewer than three neighbours takes theirs too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components, dijkstra
from torch import Tensor

from multibodies.core.body_arrays import BodyArrays
from multibodies.errors import UserError

MICROMETRES = 1e6  # whole ones add up exactly: every machine picks the same vertices
RIDGE = 1e-3  # share of the neighbours' mean square distance: small weights on a flat patch


class Coarsening(NamedTuple):
    """kept [C] int64: the body's vertices that stay, sorted; edges [2, E] int64, each in both
    directions, between rows of kept; upsampling [V, C] sparse float64, rows sum to one, the row of
    a kept vertex is that vertex."""

    kept: Tensor
    edges: Tensor
    upsampling: Tensor


@lru_cache(maxsize=4)
def coarsen(arrays: BodyArrays, vertices: int) -> Coarsening:
    """Return the coarse mesh of a body's template with so many vertices; the same body and number
    give the same mesh.

    Raises UserError where the body has fewer vertices, or more separate parts.
    """
    template = arrays.v_template.double().numpy()
    lengths = _edge_lengths(template, arrays.faces.numpy())
    parts = connected_components(lengths, directed=False)[0]
    if not parts <= vertices <= len(template):
        raise UserError(
            f"graphcmr.vertices is {vertices}; the mesh of {arrays.name} can be coarsened to "
            f"{parts} (its separate parts) to {len(template)} (its vertices)"
        )
    kept = np.sort(_farthest_points(lengths, vertices))
    cells, pairs = _cell_neighbours(lengths, kept)
    edges = torch.from_numpy(np.stack(pairs.nonzero()).astype(np.int64))
    weights = _upsampling(template, kept, cells, pairs).tocoo()
    upsampling = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([weights.row, weights.col])).long(),
        torch.from_numpy(weights.data),
        weights.shape,
        check_invariants=True,
    )
    return Coarsening(torch.from_numpy(kept), edges, upsampling.coalesce())


def _edge_lengths(template: NDArray[np.float64], faces: NDArray[np.int64]) -> sp.csr_matrix:
    """Return the symmetric matrix [V, V] of the edges' lengths in whole micrometres, at least 1."""
    i, j = np.unique(
        np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1), axis=0
    ).T
    length = np.linalg.norm(template[i] - template[j], axis=1) * MICROMETRES
    upper = sp.coo_matrix((np.maximum(1, length.round()), (i, j)), (len(template),) * 2).tocsr()
    return upper + upper.T


def _farthest_points(lengths: sp.csr_matrix, count: int) -> NDArray[np.int64]:
    """Return vertices each of which is farthest from those before it, from vertex 0 on."""
    picked, distance = [0], dijkstra(lengths, indices=0)
    while len(picked) < count:
        picked.append(int(distance.argmax()))
        reach = distance[picked[-1]]  # no vertex is farther than this from those before
        distance = np.minimum(distance, dijkstra(lengths, indices=picked[-1], limit=reach))
    return np.array(picked)


def _cell_neighbours(
    lengths: sp.csr_matrix, kept: NDArray[np.int64]
) -> tuple[NDArray[np.int64], sp.csr_matrix]:
    """Return the cell [V] of every vertex, a row of kept, and which cells share an edge [C, C]."""
    sources = dijkstra(lengths, indices=kept, min_only=True, return_predecessors=True)[2]
    cells = np.searchsorted(kept, sources)
    i, j = (cells[ends] for ends in lengths.nonzero())
    apart = i != j
    pairs = sp.coo_matrix((np.ones(apart.sum()), (i[apart], j[apart])), (len(kept),) * 2)
    return cells, pairs.tocsr()


def _upsampling(
    template: NDArray[np.float64],
    kept: NDArray[np.int64],
    cells: NDArray[np.int64],
    pairs: sp.csr_matrix,
) -> sp.csr_matrix:
    """Return the weights [V, C] of the module's docstring."""
    weights = sp.lil_matrix((len(template), len(kept)))
    for cell, centre in enumerate(template[kept]):
        members = np.flatnonzero(cells == cell)
        ring = pairs[cell].indices
        if len(ring) < 3:
            ring = np.setdiff1d(np.append(ring, pairs[ring].indices), cell)
        arms = template[kept[ring]] - centre  # [R, 3]
        ridge = RIDGE * np.square(arms).sum() * np.eye(3)
        along = (template[members] - centre) @ np.linalg.solve(arms.T @ arms + ridge, arms.T)
        weights[np.ix_(members, ring)] = along
        weights[members, cell] = 1 - along.sum(1)
    return weights.tocsr()
