"""3DPW in its original layout: sequenceFiles/{train,validation,test}/*.pkl and imageFiles/.

Frames are chosen and boxes made as nkolot/SPIN's datasets/preprocess/pw3d.py does, which gives
35,515 records for the test split; the order is by sequence, person and frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from multibodies.data.sources.importer import (
    Importer,
    Listing,
    SourceOptions,
    Unit,
    require_file,
    require_folder,
)
from multibodies.data.sources.record import Item
from multibodies.data.sources.threedpw.bodies import Sample, body_of, check_bodies, samples_of
from multibodies.data.sources.threedpw.file import EXPECTED, Actor, Sequence, read_sequence
from multibodies.data.sources.threedpw.records import PADDING, items_of
from multibodies.errors import UserError, nearest
from multibodies.files import sha256

FOLDERS = {"3dpw-train": "train", "3dpw-val": "validation", "3dpw-test": "test"}
RULES = {
    "frames": "campose_valid, and a point of poses2d with confidence > 0",
    "box": f"{PADDING} x the extent of those points",
    "truth": "the gendered body in the camera's frame",
}


class Summary(NamedTuple):
    """What a listing needs of a sequence file."""

    records: int
    skipped: Mapping[str, int]
    genders: frozenset[str]
    samples: tuple[Sample, ...]
    sha256: str


def open_source(options: SourceOptions) -> Importer:
    """Return the importer. Raises UserError where the folder is missing."""
    require_folder(options.root, "3DPW's folder, with sequenceFiles/ and imageFiles/")
    return ThreeDPW(options)


class ThreeDPW:
    """The importer of 3DPW; a unit is a sequence."""

    splits = tuple(FOLDERS)

    def __init__(self, options: SourceOptions) -> None:
        self._root = Path(options.root)
        self._images = Path(options.images) if options.images else self._root / "imageFiles"
        self._bodies = options.bodies

    def listing(self, split: str) -> Listing:
        """List a split, and check that the user's bodies are those of the set."""
        folder = self._folder(split)
        require_folder(self._images, "3DPW's pictures, <sequence>/image_00000.jpg")
        paths = sorted(p for p in folder.glob("*.pkl") if not p.name.startswith("."))
        if not paths:
            raise UserError(f"{folder}: no *.pkl in it; expected 3DPW's sequence files")
        units, skipped, files = [], Counter(campose_invalid=0, no_keypoints=0), {}
        genders: set[str] = set()
        for path in paths:
            summary = _summary(path, _version(path))
            check_bodies(path, summary.samples, self._bodies)
            units.append(Unit(path.stem, summary.records))
            skipped.update(summary.skipped)
            files[path.name] = summary.sha256
            genders |= summary.genders
        bodies = {gender: body_of(gender, self._bodies).sha256 for gender in sorted(genders)}
        return Listing(tuple(units), skipped, {"files": files, "bodies": bodies, "rules": RULES})

    def records(self, split: str, unit: str, start: int, count: int) -> Iterator[Item]:
        """Give records of a sequence, person by person."""
        path = require_file(self._folder(split) / f"{unit}.pkl", EXPECTED)
        sequence = _sequence(path, _version(path))
        places = [(p, i) for p, actor in enumerate(sequence.actors) for i in actor.kept]
        chosen = places[start : start + count]
        if len(chosen) != count:
            raise UserError(
                f"{path}: {len(places)} records, asked for {start}..{start + count - 1}; "
                "the file has changed since it was listed"
            )
        for person, group in groupby(chosen, key=lambda place: place[0]):
            frames = np.array([i for _, i in group], np.intp)
            body = body_of(sequence.actors[person].gender, self._bodies)
            yield from items_of(sequence, person, frames, body, self._images)

    def _folder(self, split: str) -> Path:
        if split not in FOLDERS:
            raise UserError(f"3DPW has no split '{split}'{nearest(split, FOLDERS)}")
        folder = self._root / "sequenceFiles" / FOLDERS[split]
        return require_folder(folder, "3DPW's sequence files (<sequence>.pkl)")


def _version(path: Path) -> tuple[int, int]:
    """What a cached reading of a file depends on."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def _summary(path: Path, version: tuple[int, int]) -> Summary:
    sequence = read_sequence(path)
    skipped: Counter[str] = Counter()
    for actor in sequence.actors:
        skipped.update(_skipped(actor))
    return Summary(
        sum(len(actor.kept) for actor in sequence.actors),
        skipped,
        frozenset(actor.gender for actor in sequence.actors),
        samples_of(sequence),
        sha256(path),
    )


def _skipped(actor: Actor) -> dict[str, int]:
    return {
        "campose_invalid": int((~actor.valid).sum()),
        "no_keypoints": int((actor.valid & ~actor.seen).sum()),
    }


@lru_cache(maxsize=1)
def _sequence(path: Path, version: tuple[int, int]) -> Sequence:
    return read_sequence(path)
