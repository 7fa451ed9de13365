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
    """Return the annotation file: `path` itself, or the only one of a folder.

    Files called ``*keypoints*.json`` go before other ``*.json``. Raises UserError when there is
    none or more than one.
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
    """Read a COCO file through pycocotools and keep single persons with enough joints.

    A keypoint counts when its flag v is 1 or 2, as in SPIN. Left out and counted: crowds, and
    persons with fewer than `min_visible` labelled among keypoints 5..16. Raises UserError when the
    file is no COCO keypoint file.
    """
    api = _open(Path(path))
    people: list[Person] = []
    skipped = {"crowd": 0, "few_visible": 0}
    annotations = api.loadAnns(api.getAnnIds(catIds=api.getCatIds(catNms=["person"])))
    for annotation in sorted(annotations, key=lambda a: (a["image_id"], a["id"])):
        try:
            rule = _left_out(annotation, min_visible)
            if rule is None:
                people.append(_person(annotation, api.imgs[annotation["image_id"]]))
            else:
                skipped[rule] += 1
        except (TypeError, ValueError, OverflowError):
            raise UserError(
                f"{path}: annotation {annotation['id']}: bbox, keypoints: expected lists of numbers"
            ) from None
    return Selection(tuple(people), skipped)


def _open(path: Path) -> Any:
    """Return pycocotools' index of a checked file."""
    from pycocotools.coco import COCO

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such COCO annotation file") from None
    except (OSError, ValueError, RecursionError) as error:
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
    """Raise UserError unless the content has COCO's lists with their keys and joins."""
    needed = {
        "images": ("id", "file_name", "width", "height"),
        "annotations": ("id", "image_id", "bbox", "category_id"),
        "categories": ("id", "name"),
    }
    for name, keys in needed.items():
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise UserError(f"{path}: no list '{name}'; expected COCO's person_keypoints_*.json")
        _check_entries(content[name], name, keys, path)
        _check_ids(content[name], name, path)
    if not any("keypoints" in a for a in content["annotations"]):
        raise UserError(f"{path}: nobody has keypoints; expected COCO's person_keypoints_*.json")
    known = {image["id"] for image in content["images"]}
    for annotation in content["annotations"]:
        if annotation["image_id"] not in known:
            where = f"annotation {annotation['id']} names image {annotation['image_id']}"
            raise UserError(f"{path}: {where}, which is not listed under 'images'")


def _check_ids(entries: list[Any], name: str, path: Path) -> None:
    """Ids join the lists and become image_ids: whole numbers, each once."""
    for key in ("id", "image_id"):
        for value in (entry[key] for entry in entries if key in entry):
            if type(value) is not int:
                raise UserError(f"{path}: '{key}' {value!r} in '{name}', expected a whole number")
    if len({entry["id"] for entry in entries}) < len(entries):
        raise UserError(f"{path}: two entries of '{name}' have the same id")


def _check_entries(entries: list[Any], name: str, keys: tuple[str, ...], path: Path) -> None:
    for entry in entries:
        if not isinstance(entry, dict):
            raise UserError(f"{path}: expected objects in '{name}', found {entry!r}")
        missing = [key for key in keys if key not in entry]
        if missing:
            raise UserError(f"{path}: an entry of '{name}' lacks '{missing[0]}'")


def _left_out(annotation: dict[str, Any], min_visible: int) -> str | None:
    if annotation.get("iscrowd", 0):
        return "crowd"
    flags = annotation.get("keypoints", [])[2::3][FIRST_BODY_KEYPOINT:]
    return "few_visible" if sum(flag > 0 for flag in flags) < min_visible else None


def _person(annotation: dict[str, Any], image: dict[str, Any]) -> Person:
    return Person(
        image_id=int(image["id"]),
        annotation_id=int(annotation["id"]),
        file_name=str(image["file_name"]),
        width=int(image["width"]),
        height=int(image["height"]),
        bbox=[float(value) for value in annotation["bbox"]],
        keypoints=[float(value) for value in annotation["keypoints"]],
    )
