"""From stored hypotheses to per-image records, for every n and every flow weight at once. No Ray,
no files.

Shapes: B image, M hypothesis, N output, K joint (24 of j24, 14 or 17 of H36M). Metres inside;
records are in mm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from multibodies.config import EvaluationConfig
from multibodies.core import metrics
from multibodies.core.quantizer import hypothesis_weights
from multibodies.hypotheses import StoredHypotheses
from multibodies.outputs import REPRESENTATIVES, Outputs, make_outputs
from multibodies.protocols import protocol_of
from multibodies.seen import Seen
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
    body: str | None = None,
) -> Scores:
    """Score every image for every flow weight and n (`where` names the hypotheses in errors).

    `body` is read for PVE and for protocols of other than the 14 stored joints. Raises UserError
    on n > M or an unknown protocol before any work, and where hypotheses and truth are of
    different images.
    """
    check_n(evaluation.n, stored.num_hypotheses, where)
    protocol = protocol_of(evaluation, truth.dataset)
    seen = Seen.of(align(stored, truth, where), truth, evaluation, protocol, body)
    fixed = _oracle(seen, evaluation) | _spread(seen, truth)
    records: list[Columns] = []
    diagnostics: list[Columns] = []
    for alpha in flow_weights:
        names = _names(truth, cell, alpha)
        label = {"protocol": [protocol.key] * len(stored)}
        weights = hypothesis_weights(seen.log_density, alpha)
        details = {"effective_number": metrics.effective_number(weights).numpy()}
        for n in evaluation.n:
            outputs = make_outputs(
                seen.features, seen.log_density, alpha, n, evaluation, truth.image_id
            )
            errors = _errors(seen, outputs, truth, evaluation)
            count = np.full(len(stored), n, np.int32)
            records.append({**names, "n": count, **_ordered(errors, label)})
            details[f"energy_n{n}_m2"] = outputs.clusters.energy.numpy()
        occlusion = list(truth.occlusion)
        diagnostics.append({**names, "occlusion": occlusion, **fixed, **details, **label})
    return Scores(_table(records), _table(diagnostics))


def _errors(
    seen: Seen, outputs: Outputs, truth: Truth, evaluation: EvaluationConfig
) -> dict[str, Tensor]:
    """Return MPJPE-n, RE-n and perhaps PVE-n, metres [B], of the n outputs under the selection.

    A mean of hypotheses has no mesh: PVE is always the medoids'.
    """
    represent = REPRESENTATIVES[evaluation.representative]
    joints = represent(seen.joints, outputs)
    wanted = seen.wanted[:, None].expand_as(joints)
    errors = {
        "mpjpe": metrics.mpjpe(joints, wanted),
        "re": metrics.ALIGNED_ERRORS[evaluation.alignment](joints, wanted),
    }
    if seen.vertices is not None:
        errors["pve"] = seen.vertices.gather(1, outputs.medoids)
    return SELECTIONS[evaluation.selection](errors, represent(seen.joints24, outputs), truth)


def _strict(errors: dict[str, Tensor], joints24: Tensor, truth: Truth) -> dict[str, Tensor]:
    return {name: metrics.select_strict(error) for name, error in errors.items()}


def _official(errors: dict[str, Tensor], joints24: Tensor, truth: Truth) -> dict[str, Tensor]:
    best = metrics.select_official(joints24, truth.joints24, truth.confidence)
    return {name: metrics.take(error, best) for name, error in errors.items()}


Selection = Callable[[dict[str, Tensor], Tensor, Truth], dict[str, Tensor]]
SELECTIONS: dict[str, Selection] = {"strict": _strict, "official": _official}


def _ordered(errors: dict[str, Tensor], label: Columns) -> Columns:
    """Return columns in mm: MPJPE and RE, the protocol, then what is optional."""
    columns = {f"{name}_mm": _mm(error) for name, error in errors.items()}
    always = {name: columns.pop(name) for name in ("mpjpe_mm", "re_mm")}
    return {**always, **label, **columns}


def _oracle(seen: Seen, evaluation: EvaluationConfig) -> Columns:
    """The best of all M hypotheses, whatever their weights, and which one it is (for the share of
    dead ones).
    """
    wanted = seen.wanted[:, None].expand_as(seen.joints)
    error = metrics.mpjpe(seen.joints, wanted)
    aligned = metrics.ALIGNED_ERRORS[evaluation.alignment](seen.joints, wanted)
    best = {} if seen.vertices is None else {"oracle_pve_mm": metrics.m_oracle(seen.vertices)}
    return {
        "num_hypotheses": np.full(len(error), error.shape[1], np.int32),
        "oracle_mpjpe_mm": _mm(metrics.m_oracle(error)),
        "oracle_re_mm": _mm(metrics.m_oracle(aligned)),
        **{name: _mm(value) for name, value in best.items()},
        "best_hypothesis": error.argmin(1).numpy().astype(np.int32),
    }


def _spread(bodies: Seen, truth: Truth) -> Columns:
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
