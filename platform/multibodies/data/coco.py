"""COCO person keypoints -> rows of our schema: 2D joints only, the 3D columns are zero and marked as absent.

Legend: B row (person), K = 17 keypoints of COCO, mapped into J24. The file is COCO's own
``person_keypoints_*.json``: images {id, file_name, width, height}, annotations {image_id, bbox xywh, keypoints[51]}.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

from multibodies.core.joints import COCO17_TO_J24
from multibodies.data.crops import crop, square_around, to_ndc
from multibodies.data.photo import load_photo
from multibodies.data.schema import COLUMNS, Array, Rejection, shape_of
from multibodies.errors import UserError

MIN_VISIBLE = 12  # SPIN keeps persons whose 12 keypoints below the head (5..16) are all labelled
FIRST_BODY_KEYPOINT = 5


class Person(TypedDict):
    """One annotated person, as plain JSON values."""

    image_id: int
    annotation_id: int
    file_name: str
    width: int
    height: int
    bbox: list[float]
    keypoints: list[float]


class Selection(NamedTuple):
    """Persons to import, in the order of (image, annotation) ids, and how many were left out by which rule."""

    people: tuple[Person, ...]
    skipped: dict[str, int]


def find_annotations(path: str | Path) -> Path:
    """Return the annotation file: `path` itself, or the only ``*keypoints*.json`` (else ``*.json``) of a folder.

    Raises UserError when there is none or more than one.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    found = sorted(path.glob("*keypoints*.json")) or sorted(path.glob("*.json"))
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise UserError(f"{path}: expected one COCO annotation file (*.json), found {names}; name the file itself")
    return found[0]


def select_people(path: str | Path, min_visible: int = MIN_VISIBLE) -> Selection:
    """Read a COCO file through pycocotools and keep whole single persons with enough labelled joints.

    A keypoint counts when its flag v is 1 or 2, as in SPIN. Left out and counted: crowds, and persons with fewer than
    `min_visible` labelled among keypoints 5..16. Raises UserError when the file is no COCO keypoint file.
    """
    api = _open(Path(path))
    people: list[Person] = []
    skipped = {"crowd": 0, "few_visible": 0}
    annotations = api.loadAnns(api.getAnnIds(catIds=api.getCatIds(catNms=["person"])))
    for annotation in sorted(annotations, key=lambda a: (a["image_id"], a["id"])):
        rule = _left_out(annotation, min_visible)
        if rule is None:
            people.append(_person(annotation, api.imgs, path))
        else:
            skipped[rule] += 1
    return Selection(tuple(people), skipped)


def _open(path: Path) -> Any:
    """Return pycocotools' index of a checked file."""
    from pycocotools.coco import COCO

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such COCO annotation file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); expected person_keypoints_*.json") from None
    _check_file(content, path)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its own progress
        api = COCO()
        api.dataset = content
        api.createIndex()
    return api


def _check_file(content: Any, path: Path) -> None:
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(f"{path}: no list '{key}'; expected COCO's person_keypoints_*.json")
    annotations = content["annotations"]
    if not any("keypoints" in a for a in annotations):
        raise UserError(f"{path}: no annotation has keypoints; expected COCO's person_keypoints_*.json")
    for key in ("id", "image_id", "bbox", "category_id"):
        if any(key not in a for a in annotations):
            raise UserError(f"{path}: an annotation lacks '{key}'; expected COCO's person_keypoints_*.json")
    if any(key not in image for image in content["images"] for key in ("id", "file_name", "width", "height")):
        raise UserError(f"{path}: an image lacks id, file_name, width or height; expected COCO's own format")


def _left_out(annotation: dict[str, Any], min_visible: int) -> str | None:
    if annotation.get("iscrowd", 0):
        return "crowd"
    flags = annotation.get("keypoints", [])[2::3][FIRST_BODY_KEYPOINT:]
    return "few_visible" if sum(flag > 0 for flag in flags) < min_visible else None


def _person(annotation: dict[str, Any], images: dict[int, Any], path: str | Path) -> Person:
    image = images.get(annotation["image_id"])
    if image is None:
        raise UserError(f"{path}: annotation {annotation['id']} is of image {annotation['image_id']}, not listed")
    return Person(
        image_id=int(image["id"]),
        annotation_id=int(annotation["id"]),
        file_name=str(image["file_name"]),
        width=int(image["width"]),
        height=int(image["height"]),
        bbox=[float(value) for value in annotation["bbox"]],
        keypoints=[float(value) for value in annotation["keypoints"]],
    )


def coco_rows(
    people: Sequence[Person], image_root: Path, image_size: int, split: str
) -> tuple[dict[str, Array | list[Any]], list[Rejection]]:
    """Turn B persons into columns of the schema and the refused ones, whose image or box is unusable.

    The index of a rejection is that of the person. NaN keypoints are left for `validate_rows` to refuse.
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
        found, listed = f"{image.shape[1]}x{image.shape[0]}", f"{person['width']}x{person['height']}"
        raise UserError(f"{person['file_name']}: image is {found} pixels, the annotations say {listed}")
    absent = {n: np.zeros(shape_of(n, image_size), c.dtype) for n, c in COLUMNS.items() if c.dtype == "float32"}
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
        "has_3d": False,
        "has_smpl": False,
        "occlusion": "none",
        "crop": np.array(square.corners, np.float32),
        "source": person["file_name"],
    }


def keypoints_j24(flat: Sequence[float], square: Any) -> npt.NDArray[np.float32]:
    """Map COCO's 17 keypoints (x, y, v) to J24 in ndc [24, 3]; joints that COCO lacks are 0, 0, hidden.

    COCO's x, y are pixel indices, so .5 is added to reach the pixel's centre (as Detectron2 does). Visible is v > 0
    (labelled, perhaps behind something, as in SPIN) and inside the crop. Raises UserError on another length than 51.
    """
    if len(flat) != 3 * len(COCO17_TO_J24):
        raise UserError(f"keypoints: {len(flat)} numbers, expected 51 (17 times x, y, v)")
    points = np.asarray(flat, np.float64).reshape(-1, 3)
    labelled = points[:, 2] > 0
    ndc = to_ndc(points[:, :2] + 0.5, square)
    seen = labelled & ~(np.abs(ndc) > 1).any(1)  # NaN stays visible: it must be refused later, not hidden here
    joints = np.zeros((24, 3), np.float32)
    joints[list(COCO17_TO_J24)] = np.where(labelled[:, None], np.column_stack([ndc, seen]), 0)
    return joints


def _four(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    if len(bbox) != 4:
        raise UserError(f"bbox: {len(bbox)} numbers, expected 4 (x, y, width, height)")
    return (bbox[0], bbox[1], bbox[2], bbox[3])


@lru_cache(maxsize=2)
def _photo(path: Path) -> npt.NDArray[np.uint8]:
    """Decode once for the several persons of a photograph: they are neighbours in the order of ids."""
    return load_photo(path)
