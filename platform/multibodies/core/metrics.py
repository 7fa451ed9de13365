"""Metrics of one or many hypotheses, one value per image, in metres.

Shapes: B image, M hypothesis, N output (n), K joint; `...` any leading dimensions, equal on both
sides. The caller averages over images and turns metres into mm. A mean over no joint at all is NaN:
leave such images out (``torch.nanmean``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from multibodies.core.joints import centre_on_mid_hips


def mpjpe(pred: Tensor, truth: Tensor) -> Tensor:
    """Mean per joint position error, sum_k |x_k - y_k| / K: [..., K, 3] twice -> [...], metres.

    Both sides are already centred on the same joint (H36M joint 0, as SPIN's evaluation does).
    """
    _check_pair(pred, truth)
    return _length(pred - truth).mean(-1)


def procrustes_align(pred: Tensor, truth: Tensor, *, scaled: bool = True) -> Tensor:
    """Move ``pred`` by the similarity nearest to ``truth``: [..., K, 3] twice -> same shape.

    min over s, R, t of sum_k |s R x_k + t - y_k|^2 with det R = +1 (Umeyama 1991; SPIN's
    ``compute_similarity_transform``): X^T Y = U S V^T of the centred points, R = V Z U^T with
    Z = diag(1, 1, det(V U^T)), s = tr(S Z)/|X|^2; not ``scaled``: s = 1, a rigid motion.
    """
    _check_pair(pred, truth)
    mean = truth.mean(-2, keepdim=True)
    x, y = pred - pred.mean(-2, keepdim=True), truth - mean
    u, singular, vh = torch.linalg.svd(x.mT @ y)
    sign = torch.linalg.det(u @ vh).sign()
    z = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], -1)
    spread = (
        x.square().sum((-2, -1)).clamp_min(torch.finfo(x.dtype).tiny)
    )  # all joints in one point
    scale = (singular * z).sum(-1) / spread if scaled else torch.ones_like(spread)
    aligned: Tensor = scale[..., None, None] * (x @ (u * z.unsqueeze(-2)) @ vh) + mean
    return aligned


def reconstruction_error(pred: Tensor, truth: Tensor) -> Tensor:
    """RE, also PA-MPJPE: MPJPE after Procrustes with scale, per sample.

    [..., K, 3] twice -> [...], metres.
    """
    return mpjpe(procrustes_align(pred, truth), truth)


def rigid_error(pred: Tensor, truth: Tensor) -> Tensor:
    """MPJPE after the best rotation and translation, without scale: RE as the paper words it.

    [..., K, 3] twice -> [...], metres.
    """
    return mpjpe(procrustes_align(pred, truth, scaled=False), truth)


# RE by the name of its alignment.
ALIGNED_ERRORS = {"similarity": reconstruction_error, "rigid": rigid_error}


def select_strict(errors: Tensor) -> Tensor:
    """The paper's MPJPE-n and RE-n, each metric's own minimum over the outputs: [B, N] -> [B]."""
    return errors.min(-1).values


def select_official(joints: Tensor, truth: Tensor, confidence: Tensor) -> Tensor:
    """The released code's choice, one output for both metrics: index [B].

    argmin over n of sum_k c_k |x_nk - y_k|^2, both sides centred on the mid-hips:
    j24 joints [B, N, 24, 3], truth [B, 24, 3], confidence [B, 24].
    """
    b, _, k, _ = joints.shape
    if truth.shape != (b, k, 3) or confidence.shape != (b, k):
        raise ValueError(
            "need joints [B, N, 24, 3], truth [B, 24, 3], confidence [B, 24], "
            f"got {tuple(joints.shape)}, {tuple(truth.shape)}, {tuple(confidence.shape)}"
        )
    difference = centre_on_mid_hips(joints) - centre_on_mid_hips(truth).unsqueeze(1)
    return (difference.square().sum(-1) * confidence.unsqueeze(1)).sum(-1).argmin(-1)


def take(errors: Tensor, index: Tensor) -> Tensor:
    """Errors of the chosen outputs: [B, N], index [B] -> [B]."""
    if errors.ndim != 2 or index.shape != errors.shape[:1]:
        raise ValueError(
            f"need errors [B, N], index [B], got {tuple(errors.shape)}, {tuple(index.shape)}"
        )
    return errors.gather(1, index.unsqueeze(1)).squeeze(1)


def m_oracle(errors: Tensor) -> Tensor:
    """The best of all M hypotheses, [B, M] -> [B]: what no choice of n among them can beat."""
    return errors.min(-1).values


def dead_share(winners: Tensor, num_hypotheses: int) -> float:
    """Share of the M hypotheses that win no image: winners [B], indices below M -> [0, 1)."""
    wins = torch.bincount(winners, minlength=num_hypotheses)
    if winners.numel() == 0 or len(wins) > num_hypotheses:
        raise ValueError(f"need winners [B] below {num_hypotheses}, at least one")
    return int((wins == 0).sum()) / num_hypotheses


def effective_number(weights: Tensor) -> Tensor:
    """Effective number of weighted hypotheses, 1 / sum_m w_m^2: [..., M] -> [...], 1 to M.

    The weights sum to one.
    """
    return 1 / weights.square().sum(-1)


def consistency(points: Tensor, keypoints: Tensor) -> Tensor:
    """Mean 2D distance of all hypotheses to the visible keypoints, in the points' unit (ndc): [B].

    points [B, M, K, 2], keypoints [B, K, 3] as (x, y, visible); hidden ones may hold anything.
    """
    b, _, k, _ = points.shape
    if keypoints.shape != (b, k, 3):
        raise ValueError(
            "need points [B, M, K, 2], keypoints [B, K, 3], "
            f"got {tuple(points.shape)}, {tuple(keypoints.shape)}"
        )
    distance = _length(points - keypoints[:, None, :, :2]).mean(1)
    return _masked_mean(distance, keypoints[..., 2] > 0)


def diversity(joints: Tensor, mask: Tensor) -> Tensor:
    """Mean distance of the hypotheses' joints to their mean over the hypotheses: [B], metres.

    joints [B, M, K, 3] centred alike, mask [B, K] of the joints that count: the visible, the
    hidden, or all.
    """
    b, _, k, _ = joints.shape
    if mask.shape != (b, k):
        raise ValueError(
            f"need joints [B, M, K, 3], mask [B, K], got {tuple(joints.shape)}, {tuple(mask.shape)}"
        )
    spread = joints - joints.mean(1, keepdim=True)
    return _masked_mean(_length(spread).mean(1), mask > 0)


def improvement(first: float, last: float) -> float:
    """Percent gain from n = 1 to n = 25, 100 (e_1 - e_25) / e_1 (MEGA)."""
    return 100 * (first - last) / first


def _length(vectors: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return length


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of [B, K] over the joints of a mask [B, K]; NaN where it is empty."""
    return torch.where(mask, values, torch.zeros_like(values)).sum(-1) / mask.sum(-1)


def _check_pair(pred: Tensor, truth: Tensor) -> None:
    if pred.shape != truth.shape or pred.ndim < 2 or pred.shape[-1] != 3:
        raise ValueError(
            f"need two equal shapes [..., K, 3], got {tuple(pred.shape)}, {tuple(truth.shape)}"
        )
