"""Leeds Sports Pose Extended: `joints.mat` (14, 3, N) and a picture for each of its N columns.

Legend: K = 14 joints, which are the first 14 of j24; N picture. The third column is 1 where a joint
is visible, against LSP's; the others were not placed, and their numbers mean nothing.

The first release has `images/im00001.jpg` to `im10000.jpg`. The one in high resolution (HR-LSPET,
9,428 columns) has PNG pictures that keep their numbers but lack some: as in SPIN, its columns go to
its pictures in the order of their names.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from pathlib import Path

from multibodies.data.sources.flat import MATLAB_CENTRE, box_around, fault_of, size_fault, to_j24
from multibodies.data.sources.importer import Importer, SourceOptions
from multibodies.data.sources.lsp import JOINTS, flag_fault, label_file, pictures
from multibodies.data.sources.matlab import read_matrix
from multibodies.data.sources.record import Fault, Floats, Item, Picture, Record
from multibodies.data.sources.single import Labelled, SingleFile, stamp
from multibodies.errors import UserError

WHAT = "LSPet's joints.mat: 'joints' (14, 3, N)"
SUFFIXES = (".png", ".jpg")  # high resolution first
HIGH_RESOLUTION = 9428  # columns, for numbers up to 10000
VISIBLE = 1


def open_source(options: SourceOptions) -> Importer:
    """Return the importer of LSPet's folder, or of its joints.mat. Raises UserError as opening
    does."""
    path = label_file(options.root, WHAT)
    images = pictures(path.parent, options.images)
    return SingleFile(("lspet-train",), path, partial(_read, path, images))


def _read(path: Path, images: Path, _: str) -> Labelled:
    joints = _joints(*stamp(path))
    names = _names(len(joints), *stamp(images))
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    rules = {"layout": "joints.mat (14, 3, N)", "pictures_sha256": digest}
    return Labelled(len(joints), partial(_item, joints, images, names), {}, rules)


@lru_cache(maxsize=2)
def _joints(path: str, *_: int) -> Floats:
    """Return x, y in MATLAB's pixels and the flag of each joint, [N, K, 3]."""
    return read_matrix(Path(path), "joints", (14, 3, None), WHAT).transpose(2, 0, 1)


@lru_cache(maxsize=2)
def _names(columns: int, folder: str, *_: int) -> tuple[str, ...]:
    """Return the picture's name for each column of the labels.

    Raises UserError where too few pictures of a set that lacks numbers are there to tell.
    """
    images = Path(folder)
    found = [sorted(path.name for path in images.glob(f"im?????{s}")) for s in SUFFIXES]
    suffix, names = next((z for z in zip(SUFFIXES, found, strict=True) if z[1]), (".jpg", []))
    if len(names) == columns:
        return tuple(names)
    numbered = tuple(f"im{number:05d}{suffix}" for number in range(1, columns + 1))
    if columns == HIGH_RESOLUTION or not set(names) <= set(numbered):
        raise UserError(
            f"{images}: {len(names)} pictures im*{suffix} for {columns} columns of joints.mat, and "
            "some numbers are left out, so nobody can tell whose labels are whose; "
            "unpack all of the set's pictures"
        )
    return numbered


def _item(joints: Floats, images: Path, names: tuple[str, ...], index: int) -> Item:
    path, values = images / names[index], joints[index]
    points, visible = values[:, :2] + MATLAB_CENTRE, values[:, 2] == VISIBLE
    image_id = f"lspet-{path.stem}"
    reason = (
        flag_fault(values[:, 2], visible)
        or fault_of(points, visible)
        or size_fault(points[visible])
    )
    if reason is not None:
        return Fault(image_id, reason)
    return Record(
        image_id,
        Picture(path),
        path.name,
        box_around(points[visible]),
        subject=image_id,
        sequence=path.stem,
        keypoints=to_j24(points, visible, JOINTS),
    )
