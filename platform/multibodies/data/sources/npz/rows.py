"""Rows of an npz -> records, or faults that say what is wrong with the row.

Pixels, metres and radians as in `record.py`. SPIN's own crop takes the pixels from
centre - side / 2 on, so `center` and `scale` are continuous coordinates already; keypoints are the
numbers of each set's own file, which `Kind.pixel_shift` turns into such.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from multibodies.data.sources.npz.joints import check_span, h36m17_of, known_joints
from multibodies.data.sources.npz.layouts import TEXTS, Layout
from multibodies.data.sources.npz.names import find_origin, image_id, picture_name, text_at
from multibodies.data.sources.npz.table import Block
from multibodies.data.sources.record import Box, Fault, Floats, Item, Picture, Record
from multibodies.errors import UserError

MAX_BETA: Final = 3.0  # SPIN takes a fit with any |beta| above this to have failed in its shape
MAX_ANGLE: Final = 25.0  # radians, about 8 pi; fitters do not wrap around
BOX_PX: Final = (4.0, 20_000.0)
GENDERS: Final = {
    "m": "male", "male": "male", "f": "female", "female": "female",
    "n": "neutral", "neutral": "neutral", "": "neutral",
}  # fmt: skip


class Kind(NamedTuple):
    """How a set's rows differ: what to add to keypoints (a pixel's index + .5, a MATLAB index
    - .5), whether its metric is taken from `S` or from the gendered body."""

    pixel_shift: float = 0.0
    measured_by_s: bool = False
    measured_by_body: bool = False


KINDS: Final[Mapping[str, Kind]] = {
    "h36m": Kind(measured_by_s=True),
    "mpii3d": Kind(measured_by_s=True),
    "3dpw": Kind(measured_by_body=True),
    "coco": Kind(0.5),
    "lsp": Kind(-0.5),
    "lspet": Kind(-0.5),
    "mpii": Kind(-0.5),
}


@dataclass(frozen=True)
class RowReader:
    """Turns rows of one file into items; `images` is the folder that `imgname` starts from."""

    dataset: str
    images: Path
    layout: Layout

    def item(self, block: Block, k: int, row: int) -> Item:
        """Return row k of a block, which is `row` of the file."""
        name = "unreadable"
        try:
            name = picture_name(block["imgname"], k)
            gender = gender_of(block, k)
            values = {n: column[k] for n, column in block.items() if n not in TEXTS}
            return self._record(values, name, row, gender)
        except UserError as error:
            return Fault(image_id(self.dataset, name, row), f"row {row}: {error}")

    def _record(self, values: Block, name: str, row: int, gender: str) -> Record:
        kind, origin = KINDS[self.dataset], find_origin(self.dataset, name, row)
        joints = self._joints(values, "joints_3d")
        if joints is not None:
            check_span(joints, self.layout.fields["joints_3d"].key)
        theta, beta = body_of(values)
        record = Record(
            image_id=image_id(self.dataset, name, row),
            picture=Picture(self.images / name),
            source=name,
            box=box_of(values["center"], values["scale"], self.layout.box_px),
            subject=origin.subject,
            sequence=origin.sequence,
            frame=origin.frame,
            gender=gender,
            keypoints=self._joints(values, "keypoints", kind.pixel_shift),
            openpose=self._joints(values, "openpose"),
            joints_3d=joints,
            h36m17=h36m17_of(joints) if kind.measured_by_s else None,
            theta=theta,
            beta=beta,
        )
        if all(a is None for a in (record.keypoints, record.openpose, joints, theta)):
            raise UserError("an empty person: no joint has a confidence above 0, and no body")
        return record

    def _joints(self, values: Block, name: str, shift: float = 0.0) -> Floats | None:
        return known_joints(values.get(name), self.layout.fields[name].key, shift)


def box_of(centre: Floats, scale: Floats, box_px: float) -> Box:
    """Return the box of `center` and `scale`; of two scales the larger, as in ProHMR."""
    side = float(np.max(scale)) * box_px
    if not np.isfinite([*centre, side]).all():
        raise UserError("center, scale: NaN or infinite")
    if not BOX_PX[0] <= side <= BOX_PX[1] or not centre.any():
        raise UserError(
            f"center, scale: a box of {side:g} px at {centre[0]:g}, {centre[1]:g}; SPIN's scale is "
            "the box's side / 200, ProHMR's the side in px"
        )
    return Box(float(centre[0]), float(centre[1]), side)


def body_of(values: Block) -> tuple[Floats, Floats] | tuple[None, None]:
    """Return theta [24, 3] and beta [10] of the file, else of the static fits, else nothing.

    SPIN's rule for fits: a shape with any |beta| > 3 becomes 0. Bodies of the file keep theirs.
    """
    flags = [values[name] for name in ("has_theta", "has_beta") if name in values]
    if not np.isfinite(flags).all():
        raise UserError("its flag for a body is NaN or infinite")
    if "theta" in values and all(flag > 0 for flag in flags):
        theta, beta = values["theta"], values["beta"]
    elif "fits" in values:
        theta, beta = values["fits"][:72], values["fits"][72:]
        beta = np.zeros(10) if (np.abs(beta) > MAX_BETA).any() else beta
    else:
        return None, None
    if not np.isfinite(theta).all() or not np.isfinite(beta).all():
        raise UserError("pose or shape is NaN or infinite")
    if np.abs(theta).max() > MAX_ANGLE:
        raise UserError(f"pose: an angle of {np.abs(theta).max():.4g}, expected radians")
    return theta.reshape(24, 3), beta


def gender_of(block: Block, k: int) -> str:
    """Return the gender of row k of a block, neutral where the file has none."""
    if "gender" not in block:
        return "neutral"
    word = text_at(block["gender"], k, "gender")
    if word not in GENDERS:
        raise UserError(f"gender: {word[:20]!r}, expected 'm' or 'f'")
    return GENDERS[word]
