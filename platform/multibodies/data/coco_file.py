"""COCO's annotation file: which of its persons become rows.

The file is COCO's own ``person_keypoints_*.json``: images {id, file_name, width, height},
annotations {id, image_id, category_id, bbox xywh, keypoints[51], iscrowd}.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

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
    """Persons in the order of (image, annotation) ids; how many were left out by which rule."""

    people: tuple[Person, ...]
    skipped: dict[str, int]


def find_annotations(path: str | Path) -> Path:
    """Return the annotation file: `path` itself, or the only ``*keypoints*.json`` (else ``*.json``)
    of a folder.

    Raises UserError when there is none or more than one.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    found = sorted(path.glob("*keypoints*.json")) or sorted(path.glob("*.json"))
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise UserError(
            f"{path}: expected one COCO annotation file (*.json), found {names}; name the file"
        )
    return found[0]


def select_people(path: str | Path, min_visible: int = MIN_VISIBLE) -> Selection:
    """Read a COCO file through pycocotools and keep whole single persons with enough labelled
    joints.

    A keypoint counts when its flag v is 1 or 2, as in SPIN. Left out and counted: crowds, and
    persons with fewer than `min_visible` labelled among keypoints 5..16. Raises UserError when the
    file is no COCO keypoint file.
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
        raise UserError(
            f"{path}: not readable as JSON ({error}); expected person_keypoints_*.json"
        ) from None
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
        raise UserError(
            f"{path}: no annotation has keypoints; expected COCO's person_keypoints_*.json"
        )
    for key in ("id", "image_id", "bbox", "category_id"):
        if any(key not in a for a in annotations):
            raise UserError(
                f"{path}: an annotation lacks '{key}'; expected COCO's person_keypoints_*.json"
            )
    if any(
        key not in image
        for image in content["images"]
        for key in ("id", "file_name", "width", "height")
    ):
        raise UserError(
            f"{path}: an image lacks id, file_name, width or height; expected COCO's own format"
        )


def _left_out(annotation: dict[str, Any], min_visible: int) -> str | None:
    if annotation.get("iscrowd", 0):
        return "crowd"
    flags = annotation.get("keypoints", [])[2::3][FIRST_BODY_KEYPOINT:]
    return "few_visible" if sum(flag > 0 for flag in flags) < min_visible else None


def _person(annotation: dict[str, Any], images: dict[int, Any], path: str | Path) -> Person:
    image = images.get(annotation["image_id"])
    if image is None:
        raise UserError(
            f"{path}: annotation {annotation['id']} names image {annotation['image_id']}, "
            "which is not listed"
        )
    return Person(
        image_id=int(image["id"]),
        annotation_id=int(annotation["id"]),
        file_name=str(image["file_name"]),
        width=int(image["width"]),
        height=int(image["height"]),
        bbox=[float(value) for value in annotation["bbox"]],
        keypoints=[float(value) for value in annotation["keypoints"]],
    )
