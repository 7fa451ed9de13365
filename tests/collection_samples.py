"""Tiny collections of datasets for tests: rows that tell in their labels which ones they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from multibodies.config import DataConfig
from multibodies.data.manifest import Counts, build_manifest, write_manifest
from multibodies.data.pixels import encode_jpegs
from multibodies.data.schema import SCHEMA_VERSION, table_from_rows
from multibodies.data.shards import shard_name, write_shard
from row_samples import sample_rows

SIZE, STORED = 32, 48
KNOWS = {"lsp": {"has_3d": False, "has_smpl": False}, "mpii3d": {"has_smpl": False}}


def save_set(
    folder: Path,
    splits: dict[str, list[int]],
    *,
    image_format: Literal["raw", "jpeg"] = "jpeg",
    stored: int = STORED,
    size: int = SIZE,
    has: dict[str, bool] | None = None,
) -> Path:
    """Write a dataset with shards of the given sizes; JPEGs show `stored` pixels.

    A row's beta is its number in its split and the number of letters of its split's name.
    """
    made = {
        split: [
            write_shard(folder, shard_name(split, k), table_from_rows(part, size, image_format))
            for k, part in enumerate(_parts(split, sizes, image_format, stored, size, has or {}))
        ]
        for split, sizes in splits.items()
    }
    data = DataConfig(image_size=size, image_format=image_format, context=stored / size)
    recipe = {"schema_version": SCHEMA_VERSION, "data": data.model_dump(mode="json")}
    counts = {split: Counts(rows=sum(sizes), strategies={}) for split, sizes in splits.items()}
    write_manifest(folder, build_manifest(recipe, made, counts))
    return folder


def _parts(
    split: str, sizes: list[int], image_format: str, stored: int, size: int, has: dict[str, bool]
) -> list[dict[str, Any]]:
    rows = sample_rows(sum(sizes), split=split, side=size)
    rows["beta"][:, 0], rows["beta"][:, 1] = np.arange(sum(sizes)), len(split)
    rows["has_3d"][:] = True
    for name, value in has.items():
        rows[name][:] = value
    if image_format == "jpeg":
        rows["image"] = encode_jpegs(pictures(sum(sizes), stored), 95)
    ends = np.cumsum(sizes)
    return [
        {name: column[end - count : end] for name, column in rows.items()}
        for end, count in zip(ends, sizes, strict=True)
    ]


def pictures(count: int, side: int) -> list[np.ndarray]:
    """Return smooth random pictures [side, side, 3]."""
    rng = np.random.default_rng(side)
    return [
        cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (side, side)) for _ in range(count)
    ]


def save_collection(folder: Path) -> Path:
    """Write h36m (all labels), mpii3d (2D and 3D), lsp (2D alone): 40, 12 and 6 rows to train."""
    save_set(folder / "a-h36m", {"h36m-train": [20, 20], "h36m-val": [8]})
    save_set(folder / "mpii3d", {"mpii3d-train": [12]}, has=KNOWS["mpii3d"])
    save_set(folder / "lsp", {"lsp-train": [4, 2]}, has=KNOWS["lsp"])
    return folder
