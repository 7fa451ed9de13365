"""The losses of 3D Multi-bodies, equations 1 and 5 to 8: one function per formula, one value per
image.

Shapes: B image, M hypothesis, K joint, V vertex. Metres in space, [-1, 1] across the crop in the
image.
No function averages over B: the caller does. Norms are Euclidean over everything a formula sums up,
as written (loss_forms.py has the released code's other form);
what an image lacks (confidence or visibility 0) is masked and has exactly no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.linalg import vector_norm


def check(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a shape that would broadcast silently. Raises ValueError naming the argument."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {shape}")


def joint_distance(joints: Tensor, truth: Tensor, confidence: Tensor) -> Tensor:
    """Distances ||X - X^m|| of every hypothesis, metres: the argument of eq. 1's argmin.

    joints [B, M, K, 3], truth [B, K, 3], confidence [B, K] in {0, 1} -> [B, M].
    """
    b, _, k, _ = joints.shape
    check("truth", truth, (b, k, 3))
    check("confidence", confidence, (b, k))
    known = confidence[:, None, :, None]
    difference = torch.where(known != 0, (joints - truth[:, None]) * known, 0.0)
    return vector_norm(difference, dim=(-2, -1))


def best_of_m(distance: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 1: the smallest of the M distances and its index m*.

    distance [B, M] -> loss [B], m* [B]. Only the best hypothesis receives a gradient.
    """
    loss, best = distance.min(1)
    return loss, best


def reprojection_distance(points: Tensor, keypoints: Tensor) -> Tensor:
    """Distances ||Y - pi_t(X^m)|| over visible keypoints: eq. 5 before its sum over m, and L_rb of
    eq. 7.

    points [B, M, K, 2], keypoints [B, K, 3] as (x, y, visible) -> [B, M].
    """
    b, _, k, _ = points.shape
    check("keypoints", keypoints, (b, k, 3))
    seen = keypoints[:, None, :, 2:] > 0
    difference = torch.where(seen, points - keypoints[:, None, :, :2], 0.0)
    return vector_norm(difference, dim=(-2, -1))


def hypothesis_reprojection(distance: Tensor, reduction: str = "sum") -> Tensor:
    """Equation 5: every hypothesis is held to the visible keypoints.

    distance [B, M] -> [B]; "sum" over m as in the paper, "mean" as in the released code.
    """
    return distance.sum(1) if reduction == "sum" else distance.mean(1)


def theta_loss(rotations: Tensor, truth: Tensor) -> Tensor:
    """Equation 6, left: ||theta - theta^||, taken between rotation matrices as HMR, SPIN and the
    released code do.

    rotations, truth [B, 24, 3, 3] -> [B]. Axis-angle vectors would jump at pi.
    """
    check("truth", truth, tuple(rotations.shape))
    return vector_norm(rotations - truth, dim=(-3, -2, -1))


def vertices_loss(vertices: Tensor, truth: Tensor, full: int | None = None) -> Tensor:
    """Equation 6, right: ||S(theta, beta, gamma) - S(theta^, beta^, gamma^)||, metres.

    vertices, truth [B, V, 3] -> [B]. Of a sample of a mesh's vertices the norm is scaled to all
    `full` of them.
    """
    check("truth", truth, tuple(vertices.shape))
    scale = 1.0 if full is None else (full / vertices.shape[1]) ** 0.5
    return scale * vector_norm(vertices - truth, dim=(-2, -1))


def beta_loss(beta: Tensor, truth: Tensor) -> Tensor:
    """Equation 7, left: ||beta - beta^||. beta, truth [B, 10] -> [B]."""
    check("truth", truth, tuple(beta.shape))
    return vector_norm(beta - truth, dim=-1)


def depth_loss(camera: Tensor) -> Tensor:
    """The released code's and SPIN's exp(-10 s)^2, which keeps every camera's scale positive.

    camera [B, M, 3] as (s, tx, ty) -> [B], the mean over hypotheses.
    """
    return torch.exp(-10 * camera[..., 0]).square().mean(1)


def heatmap_loss(logits: Tensor, keypoints: Tensor) -> Tensor:
    """Ours: cross-entropy of each keypoint's heat map against the bilinear cells around its true
    position.

    logits [B, K, h, w], keypoints [B, K, 3] in [-1, 1] -> [B], the mean over visible keypoints
    inside the crop.
    """
    b, k, h, w = logits.shape
    check("keypoints", keypoints, (b, k, 3))
    size = torch.tensor([w, h], dtype=logits.dtype, device=logits.device)
    where = (keypoints[..., :2] + 1) * size / 2 - 0.5
    inside = (keypoints[..., :2].abs() < 1).all(-1) & (keypoints[..., 2] > 0)
    where = torch.minimum(where.clamp_min(0), size - 1).masked_fill(~inside[..., None], 0.0)
    low = torch.minimum(where.floor(), (size - 2).clamp_min(0))
    fraction = where - low
    log_p = logits.flatten(2).log_softmax(-1)
    loss = torch.zeros_like(log_p[..., 0])
    for dx in (0, 1):
        for dy in (0, 1):
            cell = ((low[..., 1] + dy) * w + low[..., 0] + dx).long()
            corner = torch.tensor([dx, dy], dtype=logits.dtype, device=logits.device)
            share = (1 - (fraction - corner).abs()).prod(-1)
            loss = loss - share * log_p.gather(-1, cell[..., None])[..., 0]
    inside = inside.to(loss.dtype)
    return (loss * inside).sum(1) / inside.sum(1).clamp_min(1)


def total(terms: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """Equation 8: the weighted sum of the terms, one value per image.

    terms: name -> [B]; weights: name -> lambda. A weight of 0 leaves its term out of the graph.
    Raises ValueError on a term without a weight.
    """
    missing = set(terms) - set(weights)
    if missing:
        raise ValueError(f"no weight for {sorted(missing)}")
    active = [weights[name] * term for name, term in terms.items() if weights[name] != 0]
    return torch.stack(active).sum(0) if active else torch.zeros_like(next(iter(terms.values())))
