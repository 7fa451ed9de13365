"""Stored hypotheses as scoring sees them under a protocol, and the truth beside them.

Shapes: B image, M hypothesis, K joint (24 of j24, 14 or 17 of H36M), D dimension. Metres.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from multibodies.bodies.loading import load_body
from multibodies.config import EvaluationConfig
from multibodies.core.body import JointBody
from multibodies.core.joints import H36M_TO_J14
from multibodies.core.rotations import axis_angle_to_matrix, rotation_6d_to_matrix
from multibodies.core.vertices import vertex_errors
from multibodies.hypotheses import StoredHypotheses
from multibodies.outputs import FEATURES, double, j24
from multibodies.protocols import Protocol
from multibodies.truth import Truth, centred_joints


class Seen(NamedTuple):
    """Hypotheses in float64 and their truth.

    features [B, M, D] are what K-means sees, joints24 about the mid-hip; joints [B, M, K, 3] and
    wanted [B, K, 3] are the protocol's; vertices [B, M] per-vertex errors, or None.
    """

    features: Tensor
    joints24: Tensor
    joints: Tensor
    wanted: Tensor
    points: Tensor
    log_density: Tensor
    vertices: Tensor | None

    @classmethod
    def of(
        cls,
        stored: StoredHypotheses,
        truth: Truth,
        evaluation: EvaluationConfig,
        protocol: Protocol,
        body: str | None,
    ) -> Seen:
        """Read what a protocol needs; `body` poses what is not stored: 17 joints, meshes."""
        return cls(
            FEATURES[evaluation.features](stored).flatten(2),
            j24(stored),
            _evaluated(stored, protocol, body),
            truth.joints(protocol.joints, protocol.truth_root),
            double(stored.keypoints_2d_pred),
            double(stored.log_density),
            _vertices(stored, truth, protocol, body) if evaluation.pve else None,
        )


def _evaluated(stored: StoredHypotheses, protocol: Protocol, body: str | None) -> Tensor:
    """Return the protocol's joints [B, M, K, 3]: the stored 14, or others posed anew."""
    if (protocol.joints, protocol.root) == (H36M_TO_J14, (0,)):
        return double(stored.joints_h36m14)
    rotations, beta = _parameters(stored)
    posing = JointBody(load_body(body), ("h36m17",))
    with torch.inference_mode():
        posed = posing(rotations.flatten(0, 1), beta.flatten(0, 1))["h36m17"].double()
    return centred_joints(posed.unflatten(0, beta.shape[:2]), protocol.joints, protocol.root)


def _vertices(
    stored: StoredHypotheses, truth: Truth, protocol: Protocol, body: str | None
) -> Tensor:
    """Per-vertex error of every hypothesis [B, M]. Raises ValueError without a true mesh."""
    if truth.theta is None or truth.beta is None:
        raise ValueError("PVE needs the columns theta and beta (truth.MESH_COLUMNS)")
    true = axis_angle_to_matrix(truth.theta), truth.beta
    roots = protocol.root, protocol.truth_root
    return vertex_errors(load_body(body), _parameters(stored), true, *roots).double()


def _parameters(stored: StoredHypotheses) -> tuple[Tensor, Tensor]:
    """Rotations [B, M, 24, 3, 3] and beta [B, M, 10]."""
    return (
        rotation_6d_to_matrix(torch.from_numpy(stored.rotation_6d)),
        torch.from_numpy(stored.beta),
    )
