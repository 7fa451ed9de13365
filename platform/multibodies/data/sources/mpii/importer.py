"""MPII Human Pose: persons with all 16 joints, from `train.h5` or from the release's .mat.

Legend: N person, K = 16 joints. A joint whose x or y is 0 or less is absent. All 16 have confidence
1, seen or hidden, as in SPIN. The release's training pictures hold more persons than train.h5,
which leaves out the hourglass networks' validation set; a person is the same record in both.
`single_person` is not asked for; how many it names is in the listing's identity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from multibodies.apart.reader import Apart
from multibodies.data.sources.flat import MATLAB_CENTRE, fault_of, size_fault, to_j24
from multibodies.data.sources.importer import (
    Importer,
    SourceOptions,
    require_file,
    require_folder,
)
from multibodies.data.sources.matlab import LIBRARIES
from multibodies.data.sources.mpii.h5 import read_h5
from multibodies.data.sources.record import Box, Fault, Floats, Item, Picture, Record
from multibodies.data.sources.single import Labelled, SingleFile, stamp
from multibodies.errors import UserError

WHAT = "MPII's train.h5 or mpii_human_pose_v1_u12_1.mat"
RELEASE = "mpii_human_pose_v1_u12_1.mat"
# Where people keep the labels; SPIN's choice goes first.
PLACES = (
    "train.h5", "annot/train.h5", RELEASE, f"mpii_human_pose_v1_u12_2/{RELEASE}", f"annot/{RELEASE}"
)  # fmt: skip
# The j24 joint of each of MPII's: ankles, knees, hips, pelvis, thorax, neck, head, arms.
MPII16_TO_J24 = (0, 1, 2, 3, 4, 5, 14, 15, 12, 13, 6, 7, 8, 9, 10, 11)
EVERY = np.ones(len(MPII16_TO_J24), bool)
SIDE = 200.0  # px of a person of scale 1
# The location is above a body's middle and its scale is tight, which cuts feet. These two are the
# hourglass networks'. SPIN's files have neither, but SPIN also trains on joints outside the crop.
LOWER, WIDER = 15.0, 1.25
MEMORY = 6 << 30  # the release needs 1.3 GB
SECONDS = 600.0  # the release takes 20


class People(NamedTuple):
    """Those kept, in the file's order: their ids, and their values as the file has them."""

    ids: tuple[str, ...]
    names: npt.NDArray[np.str_]
    parts: Floats
    centres: Floats
    scales: Floats
    skipped: Mapping[str, int]
    rules: Mapping[str, str | int]


def open_source(options: SourceOptions) -> Importer:
    """Return the importer of MPII's folder, or of its h5 or mat. Raises UserError: no such file."""
    path = _labels(Path(options.root))
    images = _images(path, Path(options.root), options.images)
    return SingleFile(("mpii-train",), path, partial(_read, path, images))


def _labels(root: Path) -> Path:
    if root.suffix in READERS:
        return require_file(root, WHAT)
    require_folder(root, WHAT)
    for place in PLACES:
        if (root / place).is_file():
            return root / place
    raise UserError(f"{root}: neither {' nor '.join(PLACES)} is here; expected {WHAT}")


def _images(path: Path, root: Path, named: str | None) -> Path:
    """Return the pictures' folder: the one named, or `images` at the root or by the labels."""
    if named is not None:
        return require_folder(named, "MPII's pictures")
    places = [base / "images" for base in (root, path.parent, path.parent.parent)]
    return next((place for place in places if place.is_dir()), places[1])


def _read(path: Path, images: Path, _: str) -> Labelled:
    people = _people(*stamp(path))
    return Labelled(len(people.ids), partial(_item, people, images), people.skipped, people.rules)


@lru_cache(maxsize=4)
def _people(path: str, *_: int) -> People:
    """Read a label file once for a process and keep those who have a place and all joints."""
    table = READERS[Path(path).suffix](Path(path))
    parts, centres, scales = table["parts"], table["centres"], table["scales"]
    placed = ~(scales <= 0) & ~(centres < 0).any(axis=1)  # NaN stays: it becomes a fault
    whole = ~(parts <= 0).any(axis=(1, 2))
    keep = placed & whole
    skipped = Counter(table.get("skipped", {}))
    skipped.update(no_location=int((~placed).sum()), few_joints=int((placed & ~whole).sum()))
    rules: dict[str, str | int] = {"layout": Path(path).suffix[1:], "joints": 16}
    if "alone" in table:
        rules["single_person"] = int(table["alone"][keep].sum())
    names, centres = table["names"][keep], centres[keep]
    ids = _ids(names, centres)
    return People(ids, names, parts[keep], centres, scales[keep], dict(skipped), rules)


def _ids(names: npt.NDArray[np.str_], centres: Floats) -> tuple[str, ...]:
    """Return ids that do not depend on the layout: the picture, and where in it the person is."""
    seen: Counter[str] = Counter()
    ids = []
    for name, (x, y) in zip(names, centres, strict=True):
        base = f"mpii-{Path(name).stem}-{x:.0f}x{y:.0f}"
        seen[base] += 1
        ids.append(base if seen[base] == 1 else f"{base}-{seen[base]}")
    return tuple(ids)


def _item(people: People, images: Path, index: int) -> Item:
    image_id, name = people.ids[index], str(people.names[index])
    points = people.parts[index] + MATLAB_CENTRE
    (x, y), scale = people.centres[index] + MATLAB_CENTRE, people.scales[index]
    reason = fault_of(points, EVERY) or size_fault(points)
    if reason is None and not np.isfinite([x, y, scale]).all():
        reason = "center, scale: NaN or infinite value"
    if reason is not None:
        return Fault(image_id, reason)
    return Record(
        image_id,
        Picture(images / name),
        f"images/{name}",
        Box(float(x), float(y + LOWER * scale), float(SIDE * WIDER * scale)),
        subject=image_id,
        sequence=Path(name).stem,
        keypoints=to_j24(points, EVERY, MPII16_TO_J24),
    )


def read_release(path: Path) -> dict[str, Any]:
    """Return `mpii_mat`'s arrays. SciPy recurses in C, and leaves gigabytes of small objects."""
    with Apart("multibodies.data.sources.mpii.mat", LIBRARIES, MEMORY, SECONDS) as child:
        return dict(child.read(path, WHAT))


READERS = {".h5": read_h5, ".mat": read_release}
