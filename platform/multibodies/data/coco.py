"""COCO persons -> rows of the schema: 2D joints only; the 3D columns are zero and marked absent.

Legend: B row (person), K = 17 keypoints of COCO, mapped into J24.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multibodies.core.joints import COCO17_TO_J24
from multibodies.data.coco_file import Person
from multibodies.data.crops import Square, crop, square_around, to_ndc
from multibodies.data.photo import load_photo
from multibodies.data.schema import COLUMNS, Array, shape_of
from multibodies.data.validation import Rejection
from multibodies.errors import UserError


def coco_rows(
    people: Sequence[Person], image_root: Path, image_size: int, split: str
) -> tuple[dict[str, Array | list[Any]], list[Rejection]]:
    """Turn B persons into columns of the schema; refuse those whose image or box is unusable.

    The index of a rejection is that of the person. NaN keypoints are left for `validate_rows`.
    """
    rows: list[dict[str, Any]] = []
    refused: list[Rejection] = []
    for index, person in enumerate(people):
        try:
            rows.append(person_row(person, image_root, image_size, split))
        except UserError as error:
            refused.append(Rejection(index, row_id(person), str(error)))
    return _columns(rows, image_size), refused


def _columns(rows: Iterable[dict[str, Any]], image_size: int) -> dict[str, Array | list[Any]]:
    rows = list(rows)
    return {name: [row[name] for row in rows] for name in COLUMNS}


def row_id(person: Person) -> str:
    """Return the row's image_id: ``coco-000000000785-442619``, image and annotation."""
    return f"coco-{person['image_id']:012d}-{person['annotation_id']}"


def person_row(person: Person, image_root: Path, image_size: int, split: str) -> dict[str, Any]:
    """Return one row: the square of 1.2 times the person's box, its keypoints in ndc, no 3D.

    Raises UserError on a missing, damaged or differently sized image and on a zero-area box.
    """
    square = square_around(*_four(person["bbox"]))
    image = _photo(image_root / person["file_name"])
    if image.shape[:2] != (person["height"], person["width"]):
        found, listed = (
            f"{image.shape[1]}x{image.shape[0]}",
            f"{person['width']}x{person['height']}",
        )
        raise UserError(
            f"{person['file_name']}: image is {found} pixels, the annotations say {listed}"
        )
    absent = {
        n: np.zeros(shape_of(n, image_size), c.dtype)
        for n, c in COLUMNS.items()
        if c.dtype == "float32"
    }
    return absent | {
        "image_id": row_id(person),
        "dataset": "coco",
        "split": split,
        "subject": f"coco-{person['annotation_id']}",
        "sequence": Path(person["file_name"]).stem,
        "frame": 0,
        "gender": "neutral",
        "image": crop(image, square, image_size),
        "keypoints_2d": keypoints_j24(person["keypoints"], square),
        "has_2d": True,
        "has_3d": False,
        "has_h36m17": False,
        "has_smpl": False,
        "occlusion": "none",
        "crop": np.array(square.corners, np.float32),
        "source": person["file_name"],
    }


def keypoints_j24(flat: Sequence[float], square: Square) -> npt.NDArray[np.float32]:
    """Map COCO's 17 keypoints (x, y, v) to J24 in ndc [24, 3].

    Joints that COCO lacks are 0, 0, hidden. COCO's x, y are pixel indices, so .5 is added to reach
    the pixel's centre (as Detectron2 does). Visible is v > 0 (labelled, perhaps behind something,
    as in SPIN) and inside the crop. Raises UserError on another length than 51.
    """
    if len(flat) != 3 * len(COCO17_TO_J24):
        raise UserError(f"keypoints: {len(flat)} numbers, expected 51 (17 times x, y, v)")
    points = np.asarray(flat, np.float64).reshape(-1, 3)
    labelled = points[:, 2] > 0
    ndc = to_ndc(points[:, :2] + 0.5, square)
    seen = labelled & ~(np.abs(ndc) > 1).any(
        1
    )  # NaN stays visible: it must be refused later, not hidden here
    joints = np.zeros((24, 3), np.float32)
    joints[list(COCO17_TO_J24)] = np.where(labelled[:, None], np.column_stack([ndc, seen]), 0)
    return joints


def _four(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    if len(bbox) != 4:
        raise UserError(f"bbox: {len(bbox)} numbers, expected 4 (x, y, width, height)")
    return (bbox[0], bbox[1], bbox[2], bbox[3])


@lru_cache(maxsize=2)
def _photo(path: Path) -> npt.NDArray[np.uint8]:
    """Decode once for the several persons of a photograph: they are neighbours in the list."""
    return load_photo(path)
