"""Builders shared by the tests of datasets: rows of the schema that depend on their index alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from multibodies.config import DataConfig
from multibodies.data.pixels import PictureFormat
from multibodies.data.plan import Plan
from multibodies.data.schema import COLUMNS, SCHEMA_VERSION, shape_of
from multibodies.data.tasks import Made, RowMaker, ShardTask, plan_split

SIDE = 16
NEWER = ("openpose", "has_2d", "has_h36m17")  # than the golden curve, whose rows draw no such
CATEGORY = {"id": 1, "name": "person", "supercategory": "person"}


def sample_rows(
    count: int, start: int = 0, split: str = "lab-train", side: int = SIDE
) -> dict[str, Any]:
    """Return rows start..start+count-1 of a split with random but valid values."""
    rows = [_row(index, split, side) for index in range(start, start + count)]
    return {
        name: [row[name] for row in rows]
        if column.dtype == "str"
        else np.array([row[name] for row in rows], column.dtype).reshape(
            count, *shape_of(name, side)
        )
        for name, column in COLUMNS.items()
    }


def _row(index: int, split: str, side: int) -> dict[str, Any]:
    rng = np.random.default_rng([index, len(split)])
    older = [name for name in COLUMNS if name not in NEWER]
    row = {name: rng.normal(size=shape_of(name, side)) for name in older}
    keypoints = rng.uniform(-1, 1, (24, 3))
    keypoints[:, 2] = rng.random(24) < 0.7
    keypoints[0, 2] = 1
    return row | {
        "image_id": f"{split}-{index:08d}",
        "dataset": split.partition("-")[0],
        "split": split,
        "subject": f"s{index % 3}",
        "sequence": "walk",
        "frame": index,
        "gender": "neutral",
        "image": rng.integers(0, 256, (side, side, 3)),
        "keypoints_2d": keypoints,
        "openpose": np.full((25, 3), 0.5),
        "has_2d": True,
        "has_3d": index % 2 == 0,
        "has_h36m17": index % 2 == 0,
        "has_smpl": True,
        "occlusion": ("none", "arms_head", "legs", "head")[index % 4],
        "crop": np.array([-1, -1, 1, 1]),
        "source": "sample",
    }


def annotation(number: int, image_id: int = 1, **changes: Any) -> dict[str, Any]:
    """Return a COCO person, all 17 keypoints labelled on a grid inside the box 20,10,40,60."""
    keypoints = [n for k in range(17) for n in (22 + 2 * k, 12 + 3 * k, 2)]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [20, 10, 40, 60],
        "num_keypoints": 17,
        "keypoints": keypoints,
    } | changes


def write_coco(
    folder: Path,
    annotations: list[dict[str, Any]],
    images: int = 1,
    changes: dict[str, Any] | None = None,
) -> Path:
    """Write a look-alike of COCO: `images` PNGs of 100x80 pixels and their annotation file.

    `changes` replace top-level keys of that file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for k in range(1, images + 1):
        pixels = np.random.default_rng(k).integers(0, 256, (80, 100, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{k:012d}.png")
        listed.append({"id": k, "file_name": f"{k:012d}.png", "width": 100, "height": 80})
    content = {"images": listed, "annotations": annotations, "categories": [CATEGORY]}
    path = folder / "person_keypoints_test.json"
    path.write_text(json.dumps(content | (changes or {})))
    return path


def sample_maker(task: ShardTask) -> Made:
    """Make a task's rows out of `sample_rows`; here, where a Ray worker can import it."""
    return sample_rows(task.count, task.start, task.split), []


def sample_plan(
    rows: dict[str, int], per_shard: int, make: RowMaker = sample_maker, seed: int = 0
) -> Plan:
    """Return a plan of small splits, made by `make`."""
    data = DataConfig(image_size=SIDE, rows_per_shard=per_shard, seed=seed)
    recipe = {"schema_version": SCHEMA_VERSION, "data": data.model_dump(mode="json")}
    tasks = [task for split, count in rows.items() for task in plan_split(split, count, per_shard)]
    return Plan(recipe, tuple(tasks), make, PictureFormat(SIDE))
