"""Leeds Sports Pose: `joints.mat` (3, 14, 2000) and `images/im0001.jpg` to `im2000.jpg`.

Legend: K = 14 joints, which are the first 14 of j24; N picture. The third row is 0 where a joint is
visible and 1 where it is hidden, against LSPet's; hidden joints are placed all the same. Here a
hidden joint has confidence 0 (SPIN gives all 14 confidence 1), but the box is SPIN's: all 14.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from multibodies.data.sources.flat import (
    MATLAB_CENTRE,
    Mask,
    box_around,
    fault_of,
    size_fault,
    to_j24,
)
from multibodies.data.sources.importer import Importer, SourceOptions, require_folder
from multibodies.data.sources.matlab import read_matrix
from multibodies.data.sources.record import Fault, Floats, Item, Picture, Record
from multibodies.data.sources.single import Labelled, SingleFile, stamp

WHAT = "LSP's joints.mat: 'joints' (3, 14, 2000)"
SPLITS = {"lsp-train": range(1, 1001), "lsp-test": range(1001, 2001)}  # numbers of pictures
JOINTS = range(14)
VISIBLE = 0


def open_source(options: SourceOptions) -> Importer:
    """Return the importer of LSP's folder, or of its joints.mat. Raises UserError: no folder."""
    path = label_file(options.root, WHAT)
    images = pictures(path.parent, options.images)
    return SingleFile(tuple(SPLITS), path, partial(_read, path, images))


def label_file(root: str, what: str) -> Path:
    """Return joints.mat, given itself or its folder."""
    path = Path(root)
    return path if path.suffix == ".mat" else require_folder(path, what) / "joints.mat"


def pictures(folder: Path, images: str | None) -> Path:
    """Return the pictures' folder: the one named, or `images` beside the labels, or theirs."""
    if images is not None:
        return require_folder(images, "the pictures")
    return folder / "images" if (folder / "images").is_dir() else folder


def _read(path: Path, images: Path, split: str) -> Labelled:
    numbers = SPLITS[split]
    joints = _joints(*stamp(path))
    make = partial(_item, joints, images, numbers)
    return Labelled(len(numbers), make, {}, {"layout": "joints.mat (3, 14, 2000)"})


@lru_cache(maxsize=2)
def _joints(path: str, *_: int) -> Floats:
    """Return x, y in MATLAB's pixels and the flag of each joint, [N, K, 3]."""
    return read_matrix(Path(path), "joints", (3, 14, 2000), WHAT).transpose(2, 1, 0)


def _item(joints: Floats, images: Path, numbers: range, index: int) -> Item:
    number = numbers[index]
    stem, values = f"im{number:04d}", joints[number - 1]
    points, visible = values[:, :2] + MATLAB_CENTRE, values[:, 2] == VISIBLE
    image_id = f"lsp-{stem}"
    reason = (
        flag_fault(values[:, 2], visible)
        or fault_of(points, np.ones(len(points), bool))
        or size_fault(points)
    )
    if reason is not None:
        return Fault(image_id, reason)
    return Record(
        image_id,
        Picture(images / f"{stem}.jpg"),
        f"images/{stem}.jpg",
        box_around(points),
        subject=image_id,
        sequence=stem,
        keypoints=to_j24(points, visible, JOINTS),
    )


def flag_fault(flags: Floats, visible: Mask) -> str | None:
    """Return what is wrong with a person's flags [K], of which `visible` [K] are raised."""
    if not np.isin(flags, (0, 1)).all():
        return "joints: a visibility flag is neither 0 nor 1"
    return None if visible.any() else "joints: no joint is visible"
