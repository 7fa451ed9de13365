"""COCO's keypoint files: one record a person whose body is labelled; 2D only.

Legend: K = 17 keypoints of COCO. COCO's x, y are pixel indices, so .5 is added to reach the pixel's
centre (as Detectron2 does); a box is continuous as it is. Labelled is v > 0, seen or hidden (SPIN).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from multibodies.core.joints import COCO17_TO_J24
from multibodies.data.crops import BOX_SCALE
from multibodies.data.sources.coco_file import Person, Selection, find_annotations, select_people
from multibodies.data.sources.flat import INDEX_CENTRE, fault_of, to_j24
from multibodies.data.sources.importer import (
    Importer,
    SourceOptions,
    require_file,
    require_folder,
)
from multibodies.data.sources.record import Box, Fault, Item, Picture, Record
from multibodies.data.sources.single import Labelled, SingleFile, stamp
from multibodies.errors import UserError

WHAT = "COCO's folder or its person_keypoints_*.json"


def open_source(options: SourceOptions) -> Importer:
    """Return the importer of a COCO file, or of the folder that has one.

    Raises UserError as opening does, and where a folder has no such file or several.
    """
    path = _labels(Path(options.root))
    images = _images(path, options.images)
    return SingleFile(("coco-train",), path, partial(_read, path, images, options.min_visible))


def _labels(root: Path) -> Path:
    if root.suffix == ".json":
        return require_file(root, WHAT)
    require_folder(root, WHAT)
    found = sorted(root.glob("annotations/person_keypoints_train*.json"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{root}: expected one training file, found {names}; name the file")
    return found[0] if found else find_annotations(root)


def _images(path: Path, named: str | None) -> Path:
    """Return the pictures' folder: the one named, COCO's own (`train2014` beside `annotations`), or
    that of the labels."""
    if named is not None:
        return require_folder(named, "COCO's pictures")
    split = re.fullmatch(r"person_keypoints_(\w+)\.json", path.name)
    own = path.parent.parent / split[1] if split else path.parent
    return own if path.parent.name == "annotations" and own.is_dir() else path.parent


def _read(path: Path, images: Path, min_visible: int, _: str) -> Labelled:
    people, skipped = _select(min_visible, *stamp(path))
    if not people:
        raise UserError(
            f"{path}: no person has {min_visible} of keypoints 5..16 labelled; lower min_visible"
        )
    rules = {"layout": "COCO keypoints", "min_visible": min_visible}
    return Labelled(len(people), partial(_item, people, images), skipped, rules)


@lru_cache(maxsize=2)
def _select(min_visible: int, path: str, *_: int) -> Selection:
    """Read and select once for a process: COCO's file has hundreds of megabytes."""
    return select_people(path, min_visible)


def _item(people: Sequence[Person], images: Path, index: int) -> Item:
    person = people[index]
    try:
        return _record(person, images)
    except UserError as error:
        return Fault(row_id(person), str(error))


def row_id(person: Person) -> str:
    """Return the person's image_id: ``coco-000000000785-442619``, image and annotation."""
    return f"coco-{person['image_id']:012d}-{person['annotation_id']}"


def _record(person: Person, images: Path) -> Record:
    """Raises UserError on keypoints or a box that are no use."""
    flat = person["keypoints"]
    if len(flat) != 3 * len(COCO17_TO_J24):
        raise UserError(f"keypoints: {len(flat)} numbers, expected 51 (17 times x, y, v)")
    values = np.asarray(flat, np.float64).reshape(-1, 3)
    points, labelled = values[:, :2] + INDEX_CENTRE, values[:, 2] > 0
    reason = fault_of(points, labelled)
    if reason is not None:
        raise UserError(reason)
    return Record(
        row_id(person),
        Picture(images / person["file_name"]),
        person["file_name"],
        square_of(person["bbox"]),
        subject=f"coco-{person['annotation_id']}",
        sequence=Path(person["file_name"]).stem,
        keypoints=to_j24(points, labelled, COCO17_TO_J24),
        size=(person["width"], person["height"]),
    )


def square_of(bbox: Sequence[float]) -> Box:
    """Return the square of 1.2 times the longer side of x, y, width, height, about its centre."""
    if len(bbox) != 4:
        raise UserError(f"bbox: {len(bbox)} numbers, expected 4 (x, y, width, height)")
    x, y, width, height = bbox
    said = f"box {x:g},{y:g},{width:g},{height:g}"
    if not all(map(math.isfinite, bbox)):
        raise UserError(f"{said}: expected four finite numbers x,y,width,height")
    if width <= 0 or height <= 0:
        raise UserError(f"{said}: zero area; width and height must be positive")
    return Box(x + width / 2, y + height / 2, BOX_SCALE * max(width, height))
