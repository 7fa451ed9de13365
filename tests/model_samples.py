"""Tiny checkpoints for tests: a regressor of M hypotheses and a prior, saved as a training saves
them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from multibodies.checkpoints import save_module
from multibodies.config import DataConfig
from multibodies.core.prior import PriorSpec, SkeletonPrior
from multibodies.core.regressor import Regressor, RegressorSpec
from multibodies.data.manifest import Counts, build_manifest, write_manifest
from multibodies.data.schema import SCHEMA_VERSION, table_from_rows
from multibodies.data.shards import shard_name, write_shard
from row_samples import sample_rows

SIZE = 32


def save_regressor(directory: Path, hypotheses: int = 4, seed: int = 0) -> Regressor:
    """Save an untrained regressor whose hypotheses differ; return it in evaluation mode."""
    torch.manual_seed(seed)
    spec = RegressorSpec(
        width=8, hidden=16, pooling="keypoints", feedback="mean", num_hypotheses=hypotheses
    )
    model = Regressor(spec).eval()
    with torch.no_grad():
        model.head.decpose.bias.normal_(0, 0.05)
        model.head.decshape.bias.normal_(0, 0.3)
    save_module(directory, model.state_dict(), {"spec": spec.to_json(), "image_size": SIZE})
    return model


def save_prior(directory: Path, seed: int = 0, frame: str = "body") -> SkeletonPrior:
    """Save a prior fitted to nothing but a random cloud; return it in evaluation mode."""
    torch.manual_seed(seed)
    spec = PriorSpec(couplings=2, hidden=8, frame=frame)
    prior = SkeletonPrior(spec)
    prior.fit_whitening(0.3 * torch.randn(64, 24, 3))
    prior.eval()
    save_module(directory, prior.state_dict(), {"spec": spec.to_json()})
    return prior


def save_dataset(
    folder: Path, splits: dict[str, list[int]], *, scored: bool = True
) -> dict[str, dict[str, Any]]:
    """Write a dataset of random rows, with shards of the given sizes; return each split's rows."""
    made, counts, rows = {}, {}, {}
    for split, sizes in splits.items():
        whole = sample_rows(sum(sizes), split=split, side=SIZE)
        whole["has_3d"] |= scored
        whole["has_h36m17"] |= scored
        starts = [sum(sizes[:k]) for k in range(len(sizes))]
        parts = [
            {name: column[start : start + size] for name, column in whole.items()}
            for start, size in zip(starts, sizes, strict=True)
        ]
        made[split] = [
            write_shard(folder, shard_name(split, k), table_from_rows(part, SIZE))
            for k, part in enumerate(parts)
        ]
        counts[split] = Counts(rows=sum(sizes), strategies={})
        rows[split] = whole
    recipe = {
        "schema_version": SCHEMA_VERSION,
        "data": DataConfig(image_size=SIZE).model_dump(mode="json"),
    }
    write_manifest(folder, build_manifest(recipe, made, counts))
    return rows
