"""Records -> rows of the schema: cut the square, put labels into the crop, refuse what is wrong.

Legend: B row, K joint, S side of the crop, L side of the stored picture (L = S but for training
splits with room around the crop). Ambiguous splits, and a share of training rows, are hidden and
cropped anew by the paper's rule or the released code's (`core.occlusion`), by a draw that depends
on the seed and the image's id alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from multibodies.config import DataConfig
from multibodies.data.crops import Square, crop, square_at
from multibodies.data.pixels import encode_jpeg
from multibodies.data.schema import COLUMNS, JPEG, shape_of
from multibodies.data.sources.checks import fault_of
from multibodies.data.sources.hiding import Flags, Hidden, hide_record
from multibodies.data.sources.pictures import Image, pixels_of
from multibodies.data.sources.record import Fault, Floats, Item, Record
from multibodies.data.validation import Rejection
from multibodies.errors import UserError

MID_HIPS = (2, 3)


class View(NamedTuple):
    """What a row shows: the stored picture's square of whole pixels, and the crop in its middle as
    corner and side in pixels of the source."""

    square: Square
    left: float
    top: float
    side: float

    def ndc(self, points: Floats) -> Floats:
        """Map source pixels [K, 2] to the crop's ndc."""
        return 2 * (points - (self.left, self.top)) / self.side - 1


@dataclass(frozen=True)
class RowMaker:
    """Makes rows of one split. `open_picture` reads pixels."""

    data: DataConfig
    split: str
    open_picture: Callable[..., Image] = pixels_of

    def rows(self, items: Iterable[Item]) -> tuple[dict[str, list[Any]], list[Rejection]]:
        """Turn items into columns of the schema; a fault, or a record that makes no row, is refused
        with its reason and its place in the list."""
        rows: list[dict[str, Any]] = []
        refused: list[Rejection] = []
        for index, item in enumerate(items):
            made = item if isinstance(item, Fault) else self._row(item)
            if isinstance(made, Fault):
                refused.append(Rejection(index, made.image_id, made.reason))
            else:
                rows.append(made)
        return {name: [row[name] for row in rows] for name in COLUMNS}, refused

    def _row(self, record: Record) -> dict[str, Any] | Fault:
        if fault := fault_of(record):
            return Fault(record.image_id, fault)
        try:
            image = self.open_picture(record.picture)
            _check_size(image, record)
            hidden = hide_record(record, self.data, self.split, (image.shape[1], image.shape[0]))
            view = self._view(hidden)
            return self._names(record, hidden) | self._labels(record, hidden, view, image)
        except UserError as error:  # says where the set lies, which is nobody else's concern
            reason = str(error).replace(str(record.picture.path), record.source)
            return Fault(record.image_id, reason)

    def _view(self, hidden: Hidden) -> View:
        """Lay the stored square of whole pixels about the box, and the crop in its middle."""
        size, stored = self.data.image_size, stored_side(self.data, self.split)
        square = square_at(hidden.box.x, hidden.box.y, hidden.box.side * stored / size)
        side = square.side * size / stored
        margin = (square.side - side) / 2
        return View(square, square.left + margin, square.top + margin, side)

    def _names(self, record: Record, hidden: Hidden) -> dict[str, Any]:
        return {
            "image_id": record.image_id,
            "dataset": self.split.rpartition("-")[0],
            "split": self.split,
            "subject": record.subject,
            "sequence": record.sequence,
            "frame": record.frame,
            "gender": record.gender,
            "occlusion": hidden.strategy,
            "source": record.source,
            "has_2d": record.keypoints is not None,
            "has_3d": record.joints_3d is not None,
            "has_h36m17": record.h36m17 is not None,
            "has_smpl": record.theta is not None and record.beta is not None,
        }

    def _labels(self, record: Record, hidden: Hidden, view: View, image: Image) -> dict[str, Any]:
        height, width = image.shape[:2]
        picture = crop(image, view.square, stored_side(self.data, self.split))
        jpeg = self.data.image_format == JPEG
        labels = {
            "keypoints_2d": _points(record.keypoints, hidden.joints, view, (width, height), True),
            "openpose": _points(record.openpose, hidden.openpose, view, (width, height), False),
            "joints_3d": centred(record.joints_3d, MID_HIPS),
            "h36m17": centred(record.h36m17, (0,)),
            "theta": record.theta,
            "beta": record.beta,
            "camera": None,
            "crop": np.array(
                [view.left, view.top, view.left + view.side, view.top + view.side], np.float32
            ),
        }
        absent = {name: shape_of(name, self.data.image_size) for name in labels}
        return {
            "image": encode_jpeg(picture, self.data.jpeg_quality) if jpeg else picture,
            **{
                name: np.zeros(absent[name], np.float32)
                if value is None
                else np.asarray(value, np.float32)
                for name, value in labels.items()
            },
        }


def stored_side(data: DataConfig, split: str) -> int:
    """Return L: S, and in training splits `data.context` times as much, an even margin more."""
    room = data.context - 1 if split.endswith("-train") else 0.0
    return data.image_size + 2 * round(data.image_size * room / 2)


def centred(joints: Floats | None, root: tuple[int, ...]) -> Floats | None:
    """Subtract the mean of the root joints from joints [K, 3 or 4]; confidence stays."""
    if joints is None:
        return None
    moved = joints.copy()
    moved[:, :3] -= joints[list(root), :3].mean(0)
    return np.where(joints[:, 3:] > 0, moved, 0) if joints.shape[1] == 4 else moved


def _points(
    points: Floats | None,
    hidden: Flags,
    view: View,
    size: tuple[int, int],
    binary: bool,
) -> Floats | None:
    """Put points [K, 3] into the crop; unknown ones are 0, 0, 0.

    Those that are hidden, outside the picture or outside the crop have confidence 0; else it is
    kept, or is 1.
    """
    if points is None:
        return None
    known, ndc = points[:, 2] > 0, view.ndc(points[:, :2])
    inside = np.all((points[:, :2] >= 0) & (points[:, :2] <= size), 1) & np.all(abs(ndc) <= 1, 1)
    confidence = np.where(known, 1.0 if binary else np.clip(points[:, 2], 0, 1), 0.0)
    confidence = np.where(inside & ~hidden, confidence, 0.0)
    return np.where(known[:, None], np.column_stack([ndc, confidence]), 0.0)


def _check_size(image: Image, record: Record) -> None:
    found = (image.shape[1], image.shape[0])
    if record.size is not None and found != record.size:
        listed = f"{record.size[0]}x{record.size[1]}"
        raise UserError(
            f"{record.source}: image is {found[0]}x{found[1]} pixels, the annotations say {listed}"
        )
