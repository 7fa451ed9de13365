"""Random modes: n of the M hypotheses, drawn without replacement by their weights.

Legend: B image, M hypothesis, N output, D dimension. Metres; energies in m^2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from multibodies.core.quantizer import Clusters
from multibodies.errors import UserError


def seed_of_image(image_id: str) -> int:
    """Return 32 bits, all that a CPU's generator takes, that depend on an image's id alone."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:4])


def draw_order(log_density: Tensor, alpha: float, seeds: Sequence[int]) -> Tensor:
    """Return the order [B, M] in which hypotheses are drawn by p^alpha without replacement.

    Each waits an exponential time of rate p^alpha; whoever rings first is next (Gumbel top-k). An
    image's order is a function of its own seed and densities; the first 5 are among the first 10.
    log_density [B, M] in nats.
    """
    b, m = log_density.shape
    if len(seeds) != b:
        raise ValueError(f"{len(seeds)} seeds for {b} images")
    waits = [
        torch.empty(m, dtype=torch.float64).exponential_(
            generator=torch.Generator().manual_seed(seed)
        )
        for seed in seeds
    ]
    clocks = torch.stack(waits).log().to(log_density.device)
    return (clocks - alpha * log_density.double()).argsort(dim=1, stable=True)


def drawn_clusters(points: Tensor, weights: Tensor, chosen: Tensor) -> Clusters:
    """The partition about hypotheses chosen [B, N], in their order; energy is eq. 3's about them.

    points [B, M, D], weights [B, M]. Each output is of mass 1: it was drawn, whatever its weight.
    Raises UserError on n > M.
    """
    if chosen.shape[1] > points.shape[1]:
        raise UserError(f"cannot draw n = {chosen.shape[1]} of M = {points.shape[1]} hypotheses")
    image = torch.arange(len(points), device=points.device)[:, None]
    centres = points[image, chosen]
    nearest, assignment = torch.cdist(
        points, centres, compute_mode="donot_use_mm_for_euclid_dist"
    ).min(2)
    own = torch.arange(chosen.shape[1], device=points.device).expand_as(chosen)
    assignment = assignment.scatter(1, chosen, own)  # of equal hypotheses too, each its own
    energy = (weights * nearest.square()).sum(1)
    return Clusters(centres, assignment, energy, torch.ones_like(centres[..., 0]))
