"""What every importer is: it lists, cheaply and in a fixed order, and reads any part of that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from multibodies.data.sources.record import Item
from multibodies.errors import UserError


@dataclass(frozen=True)
class SourceOptions:
    """Where a user's copy of a dataset lies, and what belongs to it. Plain values: it travels.

    root: the set's folder, or one label file (SPIN's or ProHMR's npz, COCO's json, MPII's h5 or
    mat); images: the pictures' folder where that is not the set's own; fits: SPIN's static fits
    (npy) for the set; bodies: gender -> body npz, for sets whose truth is a body; min_visible:
    COCO's persons with so many of keypoints 5..16 labelled; step: every how many-th video frame,
    None is the set's own.
    """

    root: str
    images: str | None = None
    fits: str | None = None
    bodies: Mapping[str, str] = field(default_factory=dict)
    min_visible: int = 12
    step: int | None = None


class Unit(NamedTuple):
    """A part of a set that is opened on its own (a sequence, a label file), and its records."""

    name: str
    records: int


class Listing(NamedTuple):
    """What a split would hold: units in a fixed order, what was left out by which rule, and what
    decides the labels (SHA-256 of label files, rules) as plain JSON for the recipe."""

    units: tuple[Unit, ...]
    skipped: Mapping[str, int]
    identity: Mapping[str, Any]


class Importer(Protocol):
    """Reads one dataset in one layout. Built from SourceOptions, in the driver and in workers."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Such as "3dpw-train", "3dpw-test": the set, which part of it."""
        ...

    def listing(self, split: str) -> Listing:
        """List a split without opening pictures.

        One file of labels at a time in memory. Raises UserError naming the file or field that is
        missing or not as the set's layout has it.
        """
        ...

    def records(self, split: str, unit: str, start: int, count: int) -> Iterator[Item]:
        """Give exactly records start..start+count-1 of a unit; a bad one as a Fault, in its place.

        Opens no picture. Raises UserError as `listing`.
        """
        ...


def require_file(path: str | Path, what: str) -> Path:
    """Return the path of a file that must be there. Raises UserError saying what was expected."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected {what}")
    return path


def require_folder(path: str | Path, what: str) -> Path:
    """Return the path of a folder that must be there. Raises UserError saying what was expected."""
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; expected {what}")
    return path
