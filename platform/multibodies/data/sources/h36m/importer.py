"""Human3.6M in its original layout: every fifth frame of each camera's video is a record.

Protocol 1 tests on S9 and S11 from all cameras, protocol 2 from camera 60457274 alone; both trials
of an action count. The pose of row t is that of the video's frame t, from 0. Video "Directions" of
S11 from camera 54138969 is known to be damaged in the original: its records fail at their picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from multibodies.data.sources.h36m.boxes import JOINTS_SCALE, MASK_SCALE, Masks, box_of_joints
from multibodies.data.sources.h36m.cdf import cdf_reader
from multibodies.data.sources.h36m.files import (
    CAMERAS,
    GENDERS,
    SPLITS,
    Sequence,
    find_sequence,
    find_sequences,
)
from multibodies.data.sources.h36m.fits import Fits, read_fits
from multibodies.data.sources.h36m.joints import Mocap, fault_of, read_mocap, to_h36m17, to_j24
from multibodies.data.sources.importer import Importer, Listing, SourceOptions, Unit
from multibodies.data.sources.record import Box, Fault, Item, Picture, Record
from multibodies.errors import UserError, nearest
from multibodies.files import sha256

STEP = 5


def open_source(options: SourceOptions) -> Importer:
    """Return the importer of the copy at `options.root`.

    Raises UserError when pictures are given apart (SPIN's two scripts number theirs differently,
    by one frame), or the step is below 1.
    """
    if options.images is not None:
        raise UserError(
            f"{options.images}: Human3.6M's pictures are read from its Videos folders; leave out "
            "the folder of images"
        )
    if options.step is not None and options.step < 1:
        raise UserError(f"step {options.step}: expected 1 or more frames")
    return H36m(Path(options.root), STEP if options.step is None else options.step)


class H36m:
    """The importer. A unit is a sequence such as ``S9/Walking 1.60457274``."""

    splits = tuple(SPLITS)

    def __init__(self, root: Path, step: int = STEP) -> None:
        self._root, self._step = root, step

    def listing(self, split: str) -> Listing:
        """List a split. Reads all joints, and of masks, fits and videos only whether they exist."""
        _check(split)
        found = find_sequences(self._root, split)
        with cdf_reader() as reader:
            frames = [len(read_mocap(s, reader).joints_3d) for s in found.sequences]
        units = tuple(
            Unit(s.name, -(-count // self._step))
            for s, count in zip(found.sequences, frames, strict=True)
        )
        return Listing(units, found.skipped, self._identity(found.sequences, found.subjects))

    def records(self, split: str, unit: str, start: int, count: int) -> Iterator[Item]:
        """Give a sequence's records start..start+count-1, one for every `step` frames."""
        _check(split)
        sequence = find_sequence(self._root, split, unit)
        with cdf_reader() as reader:
            mocap = read_mocap(sequence, reader)
        length = len(mocap.joints_3d)
        fits = read_fits(sequence.fits, length) if sequence.fits.is_file() else None
        with ExitStack() as stack:
            masks = None
            if sequence.masks.is_file():
                masks = stack.enter_context(Masks(sequence.masks))
            for frame in range(length)[:: self._step][start : start + count]:
                yield _item(sequence, frame, mocap, masks, fits)

    def _identity(
        self, sequences: tuple[Sequence, ...], subjects: tuple[str, ...]
    ) -> dict[str, Any]:
        masked = sum(s.masks.is_file() for s in sequences)
        return {
            "layout": "Human3.6M",
            "subjects": list(subjects),
            "cameras": sorted({s.camera for s in sequences}),
            "step": self._step,
            "joints_sha256": _digest(sequences),
            "boxes": {
                f"mask x {MASK_SCALE}": masked,
                f"joints x {JOINTS_SCALE}": len(sequences) - masked,
            },
            "mosh_fits": sum(s.fits.is_file() for s in sequences),
            "note": "h36m-val is S8, who is in h36m-train as well: SPIN's five subjects",
        }


def _check(split: str) -> None:
    if split not in SPLITS:
        raise UserError(f"unknown split '{split}'{nearest(split, SPLITS)}")


def _digest(sequences: tuple[Sequence, ...]) -> str:
    """Hash names and contents of joints and fits, names and sizes of masks (gigabytes)."""
    lines = []
    for s in sequences:
        labels = [s.joints_3d, s.joints_2d, *([s.fits] if s.fits.is_file() else [])]
        lines += [f"{s.name} {path.name} {sha256(path)}" for path in labels]
        lines += [f"{s.name} masks {s.masks.stat().st_size}"] if s.masks.is_file() else []
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _item(
    sequence: Sequence, frame: int, mocap: Mocap, masks: Masks | None, fits: Fits | None
) -> Item:
    points, pixels = mocap.joints_3d[frame], mocap.joints_2d[frame]
    image_id = sequence.image_id(frame)
    reason = fault_of(points, pixels)
    if reason is not None:
        return Fault(image_id, f"{sequence.joints_3d.name}, frame {frame}: {reason}")
    try:
        box = _box(sequence, frame, mocap, masks)
    except ValueError as error:
        return Fault(image_id, str(error))
    theta, beta = (None, None) if fits is None else fits.of(frame) or (None, None)
    return Record(
        image_id=image_id,
        picture=Picture(sequence.video, frame),
        source=sequence.video.relative_to(sequence.root).as_posix(),
        box=box,
        subject=sequence.subject,
        sequence=sequence.stem,
        frame=frame,
        gender=GENDERS[sequence.subject],
        keypoints=to_j24(pixels),
        joints_3d=to_j24(points),
        h36m17=to_h36m17(points),
        theta=theta,
        beta=beta,
        size=CAMERAS[sequence.camera],
    )


def _box(sequence: Sequence, frame: int, mocap: Mocap, masks: Masks | None) -> Box:
    if masks is None:
        return box_of_joints(to_h36m17(mocap.joints_2d[frame]))
    return masks.box(frame)
