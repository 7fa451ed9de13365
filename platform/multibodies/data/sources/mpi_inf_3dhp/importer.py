"""MPI-INF-3DHP in its original layout: S1-8/Seq1-2 for training, TS1-6 for testing.

`mpii3d-train` is S1-8, cameras 0-2 and 4-8, every 10th video frame (indices 0, 10, 20, ...). SPIN
takes a 10th of the same frames, but counts it along an unsorted listing. `mpii3d-val` is S8 alone:
it is part of the training split too, as in SPIN, so it shows learning and is no result.
`mpii3d-test` is every valid frame of TS1-6 (2,929 in the full set).

3D truth is `annot3` in training (the camera's frame; it is held to project to `annot2`) and
`univ_annot3` in testing, the skeleton of one height that SPIN scores against.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from multibodies.data.sources.importer import (
    Listing,
    SourceOptions,
    Unit,
    require_file,
    require_folder,
)
from multibodies.data.sources.mpi_inf_3dhp.frames import PADDING, Reading, Take, item
from multibodies.data.sources.mpi_inf_3dhp.testing import read_test_sequence
from multibodies.data.sources.mpi_inf_3dhp.training import read_training_sequence
from multibodies.data.sources.record import Item
from multibodies.errors import UserError, nearest
from multibodies.files import sha256

TEST_FOLDER = "mpi_inf_3dhp_test_set"  # as unpacked; a root may be this folder itself


class Split(NamedTuple):
    """Sequences of a split, every how many-th frame, the label file, its truth, how it is read."""

    sequences: tuple[str, ...]
    step: int
    labels: str
    truth: str
    read: Callable[[Reading], Take]


TRAINING = tuple(f"S{subject}/Seq{take}" for subject in range(1, 9) for take in (1, 2))
TESTING = tuple(f"TS{subject}" for subject in range(1, 7))
SPLITS = {
    "mpii3d-train": Split(TRAINING, 10, "annot.mat", "annot3", read_training_sequence),
    "mpii3d-val": Split(TRAINING[-2:], 10, "annot.mat", "annot3", read_training_sequence),
    "mpii3d-test": Split(TESTING, 1, "annot_data.mat", "univ_annot3", read_test_sequence),
}


def open_source(options: SourceOptions) -> Mpi3dhp:
    """Return the importer of the set at `options.root`.

    Raises UserError where a folder is missing, the step is none, or static fits are given.
    """
    require_folder(options.root, "MPI-INF-3DHP: S1/Seq1/annot.mat, ... or TS1/annot_data.mat, ...")
    if options.images is not None:
        require_folder(options.images, "MPI-INF-3DHP's pictures, in folders as in the set")
    if options.fits is not None:
        raise UserError(
            f"{options.fits}: SPIN's static fits are in the order of its npz and do not match "
            "MPI-INF-3DHP's own files; give mpi_inf_3dhp_train.npz as the root, or no fits"
        )
    if options.step is not None and options.step < 1:
        raise UserError(f"step: {options.step}; expected 1 or more (every how many-th video frame)")
    return Mpi3dhp(options)


class Mpi3dhp:
    """Importer of MPI-INF-3DHP: a unit is a sequence, its records go by camera, then by frame."""

    splits = tuple(SPLITS)

    def __init__(self, options: SourceOptions) -> None:
        self.options = options

    def listing(self, split: str) -> Listing:
        """List the sequences that are there; the others count as `absent_sequences`.

        Frames left out are counted by rule: `not_sampled`, `invalid`, `outside_picture`,
        `no_pictures` (a camera with neither video nor frames).
        """
        chosen = _split(split)
        units: list[Unit] = []
        labels: dict[str, str] = {}
        skipped: Counter[str] = Counter()
        for name in chosen.sequences:
            folder = self._folder(self.options.root, name)
            if not folder.is_dir():
                skipped["absent_sequences"] += 1
                continue
            take = self._take(chosen, name)
            units.append(Unit(name, len(take.frames)))
            skipped.update(take.skipped)
            labels[name] = sha256(folder / chosen.labels)
        self._require_records(split, units, skipped)
        rules = {"step": self._step(chosen), "truth": chosen.truth, "box": PADDING}
        return Listing(tuple(units), dict(skipped), {"sha256": labels, "rules": rules})

    def records(self, split: str, unit: str, start: int, count: int) -> Iterator[Item]:
        """Give records start..start+count-1 of a sequence such as S1/Seq1 or TS1."""
        chosen = _split(split)
        if unit not in chosen.sequences:
            known = nearest(unit, chosen.sequences)
            raise UserError(f"unknown sequence '{unit}' of {split}{known}")
        take = self._take(chosen, unit)
        if start < 0 or count < 0 or start + count > len(take.frames):
            raise UserError(
                f"{unit} of {split}: there are {len(take.frames)} records, no {count} from {start};"
                " list the set again if its files have changed"
            )
        return (item(take, row) for row in range(start, start + count))

    def _take(self, split: Split, name: str) -> Take:
        folder = self._folder(self.options.root, name)
        images = self._folder(self.options.images or self.options.root, name)
        stamp = require_file(folder / split.labels, "the labels of this sequence").stat()
        reading = Reading(name, folder / split.labels, images, self._step(split))
        return _read(split.read, reading, stamp.st_size, stamp.st_mtime_ns)

    def _step(self, split: Split) -> int:
        return self.options.step or split.step

    @staticmethod
    def _folder(root: str, name: str) -> Path:
        nested = Path(root) / TEST_FOLDER / name
        return nested if nested.is_dir() else Path(root) / name

    def _require_records(self, split: str, units: list[Unit], skipped: Counter[str]) -> None:
        if sum(unit.records for unit in units):
            return
        left_out = ", ".join(f"{count} {rule}" for rule, count in skipped.items() if count)
        raise UserError(
            f"{self.options.root}: no frame of {split}; expected folders such as "
            f"{_split(split).sequences[0]} with labels and pictures, left out: {left_out}"
        )


@lru_cache(maxsize=2)
def _read(read: Callable[[Reading], Take], reading: Reading, size: int, mtime: int) -> Take:
    """Read a sequence once for the several parts of it; what is kept is a few MB."""
    return read(reading)


def _split(name: str) -> Split:
    if name not in SPLITS:
        raise UserError(f"unknown split '{name}' of MPI-INF-3DHP{nearest(name, SPLITS)}")
    return SPLITS[name]
