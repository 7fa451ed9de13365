"""From stored hypotheses to per-image records, for every n and every flow weight at once. No Ray,
no files.

Shapes: B image, M hypothesis, N output, K joint (24 of j24, 14 of H36M). Metres inside; records are
in mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from multibodies.config import EvaluationConfig
from multibodies.core import metrics
from multibodies.core.joints import centre_on_mid_hips
from multibodies.core.quantizer import Clusters, cluster_means, hypothesis_weights, kmeans, medoids
from multibodies.hypotheses import StoredHypotheses
from multibodies.truth import Truth, align, check_n

Columns = dict[str, Any]


class Cell(NamedTuple):
    """What names a training in every record."""

    seed: int
    lambda_ri: float


class Scores(NamedTuple):
    """records: one row per image, flow weight and n; diagnostics: one row per image and flow
    weight.
    """

    records: pa.Table
    diagnostics: pa.Table


def score_hypotheses(
    stored: StoredHypotheses,
    truth: Truth,
    evaluation: EvaluationConfig,
    flow_weights: Sequence[float],
    cell: Cell,
    where: str = "hypotheses",
) -> Scores:
    """Score every image for every flow weight and n (`where` names the hypotheses in errors).

    Raises UserError on n > M before any work, and where hypotheses and truth are of different
    images.
    """
    check_n(evaluation.n, stored.num_hypotheses, where)
    bodies = _Bodies.of(align(stored, truth, where))
    fixed = _oracle(bodies, truth) | _spread(bodies, truth)
    records: list[Columns] = []
    diagnostics: list[Columns] = []
    for alpha in flow_weights:
        weights = hypothesis_weights(bodies.log_density, alpha)
        names = _names(truth, cell, alpha)
        energies: Columns = {}
        for n in evaluation.n:
            clusters = kmeans(bodies.features, weights, n, restarts=evaluation.restarts)
            errors = _errors(bodies, weights, clusters, truth, evaluation)
            records.append({**names, "n": np.full(len(stored), n, np.int32), **errors})
            energies[f"energy_n{n}_m2"] = clusters.energy.numpy()
        effective = {"effective_number": metrics.effective_number(weights).numpy()}
        diagnostics.append(
            {**names, "occlusion": list(truth.occlusion), **fixed, **effective, **energies}
        )
    return Scores(_table(records), _table(diagnostics))


class _Bodies(NamedTuple):
    """The stored arrays in float64: features [B, M, 72] are what K-means sees, joints24 about the
    mid-hip.
    """

    features: Tensor
    joints24: Tensor
    joints14: Tensor
    points: Tensor
    log_density: Tensor

    @classmethod
    def of(cls, stored: StoredHypotheses) -> _Bodies:
        names = ("joints_j24", "joints_h36m14", "keypoints_2d_pred", "log_density")
        arrays = [torch.from_numpy(getattr(stored, name).astype(np.float64)) for name in names]
        joints24 = centre_on_mid_hips(arrays[0])
        return cls(joints24.flatten(2), joints24, *arrays[1:])


def _errors(
    bodies: _Bodies, weights: Tensor, clusters: Clusters, truth: Truth, evaluation: EvaluationConfig
) -> Columns:
    """MPJPE-n and RE-n in mm of the n representatives, as the selection asks."""
    outputs = represent(bodies.joints14, bodies, weights, clusters, evaluation.representative)
    wanted = truth.joints14[:, None].expand_as(outputs)
    errors = metrics.mpjpe(outputs, wanted), metrics.reconstruction_error(outputs, wanted)
    if evaluation.selection == "strict":
        chosen = [metrics.select_strict(error) for error in errors]
    else:
        joints = represent(bodies.joints24, bodies, weights, clusters, evaluation.representative)
        best = metrics.select_official(joints, truth.joints24, truth.confidence)
        chosen = [metrics.take(error, best) for error in errors]
    return dict(zip(("mpjpe_mm", "re_mm"), (_mm(error) for error in chosen), strict=True))


def represent(
    values: Tensor, bodies: _Bodies, weights: Tensor, clusters: Clusters, representative: str
) -> Tensor:
    """Return any joints of the n representatives: values [B, M, ...] -> [B, N, ...].

    "centroid": the weighted mean over the cluster, which for joints of any set is the centroid's,
    since a mean is linear; "medoid": those of the hypothesis nearest to the centroid.
    """
    if representative == "centroid":
        return cluster_means(values, clusters.assignment, weights, clusters.mass.shape[1])
    index = medoids(bodies.features, clusters.assignment, clusters.centroids, weights)
    return values[torch.arange(len(values))[:, None], index]


def _oracle(bodies: _Bodies, truth: Truth) -> Columns:
    """The best of all M hypotheses, whatever their weights, and which one it is (for the share of
    dead ones).
    """
    wanted = truth.joints14[:, None].expand_as(bodies.joints14)
    error = metrics.mpjpe(bodies.joints14, wanted)
    return {
        "num_hypotheses": np.full(len(error), error.shape[1], np.int32),
        "oracle_mpjpe_mm": _mm(metrics.m_oracle(error)),
        "oracle_re_mm": _mm(
            metrics.m_oracle(metrics.reconstruction_error(bodies.joints14, wanted))
        ),
        "best_hypothesis": error.argmin(1).numpy().astype(np.int32),
    }


def _spread(bodies: _Bodies, truth: Truth) -> Columns:
    """Consistency on visible joints, diversity on visible, hidden and all; null where there is no
    such joint.
    """
    seen = truth.keypoints[..., 2] > 0
    ndc = metrics.consistency(bodies.points, truth.keypoints).numpy()
    masks = {"all": torch.ones_like(seen), "visible": seen, "hidden": ~seen}
    diversity = {
        f"diversity_{name}_mm": _mm(metrics.diversity(bodies.joints24, mask))
        for name, mask in masks.items()
    }
    return {"consistency_ndc": ndc, "consistency_px": ndc * truth.image_size / 2, **diversity}


def _names(truth: Truth, cell: Cell, flow_weight: float) -> Columns:
    rows = len(truth.image_id)
    return {
        "dataset": [truth.dataset] * rows,
        "image_id": list(truth.image_id),
        "seed": np.full(rows, cell.seed, np.int64),
        "lambda_ri": np.full(rows, cell.lambda_ri),
        "flow_weight": np.full(rows, float(flow_weight)),
    }


def _mm(metres: Tensor) -> npt.NDArray[np.float64]:
    return (1000 * metres).numpy()


def _table(parts: Sequence[Columns]) -> pa.Table:
    """Stack columns of several parts; NaN, a mean over nothing, becomes null."""
    tables = [
        pa.table({name: pa.array(column, from_pandas=True) for name, column in part.items()})
        for part in parts
    ]
    return pa.concat_tables(tables)
