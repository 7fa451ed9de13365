"""A look-alike of COCO 2014: the annotation file, and pictures beside it.

Legend: K = 17 keypoints. COCO's coordinates are pixel indices, its boxes continuous.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from multibodies.core.body import BodyArrays
from multibodies.core.joints import COCO17_TO_J24
from multibodies.lookalikes.marked import SIZE, Truth, sample_points, save_picture
from multibodies.lookalikes.people import Floats

KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
FEW = 9  # keypoints 9..16 of a person who shows too few


def write_coco(
    root: Path, body: BodyArrays, people: int = 3, seed: int = 2, flat: bool = False
) -> list[Truth]:
    """Write `annotations/person_keypoints_train2014.json` and `train2014/*.jpg`, or all of it in
    one folder. Return the truths of those whom SPIN's rule keeps.

    The first picture also has a crowd and a person with few labelled keypoints.
    """
    rng = np.random.default_rng(seed)
    images, annotations, truths = [], [], []
    for number in range(1, people + 1):
        name = f"COCO_train2014_{100 + number:012d}.jpg"
        path = root / name if flat else root / "train2014" / name
        points = sample_points(body, rng)
        save_picture(path, points, rng)
        flags = np.r_[rng.integers(0, 3, 5), rng.integers(1, 3, 12)]
        visible = tuple(np.asarray(COCO17_TO_J24)[flags > 0])
        truths.append(Truth(path, points, visible))
        images.append({"id": 100 + number, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
        annotations.append(_annotation(9000 + number, 100 + number, points, flags))
        if number == 1:
            few = np.r_[np.zeros(FEW, int), np.full(17 - FEW, 2)]
            annotations.append(_annotation(11, 101, points, few))
            annotations.append(_annotation(12, 101, points, few * 0) | {"iscrowd": 1})
    category = {"id": 1, "name": "person", "supercategory": "person", "keypoints": KEYPOINTS}
    content = {"images": images, "annotations": annotations[::-1], "categories": [category]}
    folder = root if flat else root / "annotations"
    folder.mkdir(exist_ok=True)
    (folder / "person_keypoints_train2014.json").write_text(json.dumps(content))
    return truths


def _annotation(
    number: int, image: int, points: Floats, flags: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """Keypoints are whole pixels, 0 where the flag is."""
    low, high = points.min(axis=0) - 5, points.max(axis=0) + 5
    pixels = np.floor(points[list(COCO17_TO_J24)]).astype(int)
    keypoints = np.column_stack([pixels * (flags > 0)[:, None], flags])
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "area": float(np.prod(high - low)),
        "bbox": np.r_[low, high - low].round(2).tolist(),
        "num_keypoints": int((flags > 0).sum()),
        "keypoints": keypoints.ravel().tolist(),
        "segmentation": [],
    }
