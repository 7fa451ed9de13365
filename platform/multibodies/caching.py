"""Cached features: a shard of images -> the trunk's features beside the labels. No Ray.

With the trunk frozen, stage 2 reads these instead of images. Shapes: B image, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from multibodies import checkpoints
from multibodies.config import fingerprint
from multibodies.core.regressor import Regressor
from multibodies.data.manifest import Manifest, Shard, read_manifest
from multibodies.data.shards import ROW_GROUP
from multibodies.data.training_rows import FEATURES, LABELS
from multibodies.errors import UserError
from multibodies.evaluation import ShardPart, shards_of
from multibodies.files import atomic
from multibodies.sidecars import is_done, read_sidecar, seal

BATCH = 128
KEPT = ("image_id", *LABELS)
DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class FeatureTask(ShardPart):
    """One shard to run through the trunk of a checkpoint."""

    checkpoint: str
    dtype: str
    gpu: bool = False

    @property
    def done(self) -> bool:
        """Whether the file is there, whole and of this recipe."""
        return is_done(self.out, self.recipe)

    def run(self) -> None:
        """Compute, write, seal. Raises UserError on a damaged shard or features not finite."""
        rows = self.read(("image", "image_id"))
        key = checkpoints.identity(self.checkpoint)
        model = _model(self.checkpoint, key, "cuda" if self.gpu else "cpu")
        with np.errstate(over="ignore"):  # infinities are refused below
            features = features_of(model, rows["image"]).astype(self.dtype)
        finite = np.isfinite(features).all(1)
        if not finite.all():
            image_id = rows["image_id"][int(finite.argmin())]
            raise UserError(
                f"{self.checkpoint}: features of image '{image_id}' are not finite in "
                f"{self.dtype}; cache them as float32"
            )
        labels = pq.ParquetFile(Path(self.dataset) / self.path).read(columns=list(KEPT))
        with atomic(self.out) as temporary:
            table = with_features(labels, features)
            pq.write_table(table, temporary, compression="zstd", row_group_size=ROW_GROUP)
        seal(self.out, self.recipe)


@torch.inference_mode()
def features_of(model: Regressor, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Map RGB images [B, S, S, 3] to features [B, F], in evaluation mode."""
    device = next(model.parameters()).device
    parts = []
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(images[start : start + BATCH]).to(device)
        parts.append(model.pooled(batch.permute(0, 3, 1, 2).float() / 255).features.cpu())
    return torch.cat(parts).numpy()


def with_features(labels: pa.Table, features: npt.NDArray[Any]) -> pa.Table:
    """Return the labels with a column of features [B, F], an Arrow tensor of F numbers a row."""
    width = features.shape[1]
    flat = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), width)
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(features.dtype), (width,))
    described = {"unit": "features of a trunk", "shape": str(width)}
    field = pa.field(FEATURES, kind, nullable=False, metadata=described)
    return labels.append_column(field, pa.ExtensionArray.from_storage(kind, flat))


def feature_tasks(
    checkpoint: str | Path, dataset: str | Path, split: str, out: str | Path, dtype: str, gpu: bool
) -> list[FeatureTask]:
    """Return one task per shard, done or not.

    Raises UserError on an unknown dtype, an unknown or empty split, a missing dataset or
    checkpoint.
    """
    if dtype not in DTYPES:
        raise UserError(f"dtype '{dtype}': expected {' or '.join(DTYPES)}")
    made_by = checkpoints.identity(checkpoint)
    return [
        FeatureTask(
            **shard.model_dump(),
            dataset=str(Path(dataset).resolve()),
            out=str(Path(out).resolve() / shard.path),
            recipe=fingerprint(FEATURES, shard.sha256, made_by, dtype),
            checkpoint=str(Path(checkpoint).resolve()),
            dtype=dtype,
            gpu=gpu,
        )
        for _, shard in shards_of(read_manifest(dataset), split)
    ]


def features_manifest(images: Manifest, split: str, tasks: Sequence[FeatureTask]) -> Manifest:
    """Return the manifest of finished tasks: that of the images, with the checkpoint's identity."""
    shards = tuple(
        Shard(path=task.path, rows=task.rows, sha256=str(read_sidecar(task.out)["sha256"]))
        for task in tasks
    )
    first = pq.read_schema(tasks[0].out).field(FEATURES)
    made = {"checkpoint": checkpoints.identity(tasks[0].checkpoint), "dtype": tasks[0].dtype}
    recipe = {**images.recipe, FEATURES: made, "images": images.fingerprint}
    column = {"dtype": tasks[0].dtype, "shape": list(first.type.shape), "unit": "", "frame": ""}
    kept = {name: images.columns[name] for name in KEPT}
    return images.model_copy(
        update={
            "recipe": recipe,
            "fingerprint": fingerprint(recipe),
            "columns": {**kept, FEATURES: column},
            "splits": {split: shards},
            "counts": {split: images.counts[split]},
            "quarantine": (),
        }
    )


@lru_cache(maxsize=1)
def _model(checkpoint: str, key: str, device: str) -> Regressor:
    """Load a model once per process; `key` is what the folder holds, for it may change."""
    return checkpoints.load_regressor(checkpoint).to(device)
