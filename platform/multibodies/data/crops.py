"""One pixel pipeline for training, evaluation and predict: cut a square, resize it.

Legend: H, W of the photograph, S side of the crop, K keypoint. Boxes are continuous pixel
coordinates: the first pixel covers [0, 1), so its centre is .5. In ndc the crop's edges are -1, 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from multibodies.errors import UserError

BOX_SCALE = 1.2  # SPIN pads a person's box by this
LARGEST = 8  # a box may be this many times larger than the photograph's longer side


class Square(NamedTuple):
    """A square of whole pixels of a photograph: left edge, top edge, side.

    It may reach outside the photograph.
    """

    left: int
    top: int
    side: int

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 as the schema's `crop` column stores them."""
        return (
            float(self.left),
            float(self.top),
            float(self.left + self.side),
            float(self.top + self.side),
        )


def square_around(
    x: float, y: float, width: float, height: float, scale: float = BOX_SCALE
) -> Square:
    """Return the square about a box's centre, of side scale * max(width, height).

    It is rounded to whole pixels. Raises UserError on a box that is not finite or has no area.
    """
    if not all(map(math.isfinite, (x, y, width, height))):
        raise UserError(
            f"box {x:g},{y:g},{width:g},{height:g}: expected four finite numbers x,y,width,height"
        )
    if width <= 0 or height <= 0:
        raise UserError(
            f"box {x:g},{y:g},{width:g},{height:g}: zero area; width and height must be positive"
        )
    return square_at(x + width / 2, y + height / 2, scale * max(width, height))


def square_at(x: float, y: float, side: float) -> Square:
    """Return the square of whole pixels nearest to one of centre x, y and that side."""
    whole = max(1, round(side))
    return Square(round(x - whole / 2), round(y - whole / 2), whole)


def crop(image: npt.NDArray[np.uint8], square: Square, size: int) -> npt.NDArray[np.uint8]:
    """Cut `square` out of an RGB photograph [H, W, 3] and resize it to [size, size, 3].

    Outside the photograph is black. Shrinking averages areas (no aliasing), enlarging interpolates
    bilinearly. Raises UserError when the square does not touch the photograph or is absurdly large.
    """
    height, width = image.shape[:2]
    left, top, side = square
    overlaps = left < width and top < height and left + side > 0 and top + side > 0
    if not overlaps or side > LARGEST * max(width, height):
        raise UserError(
            f"box {square.corners} does not fit the {width}x{height} photograph; "
            "give x,y,width,height in its pixels"
        )
    right, bottom = min(left + side, width), min(top + side, height)
    inside = image[max(top, 0) : bottom, max(left, 0) : right]
    above, before = max(-top, 0), max(-left, 0)
    padded = np.zeros((side, side, 3), np.uint8)
    padded[above : above + inside.shape[0], before : before + inside.shape[1]] = inside
    how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(padded, (size, size), interpolation=how), dtype=np.uint8)


def to_ndc(points: npt.NDArray[np.floating], square: Square) -> npt.NDArray[np.float32]:
    """Map points [K, 2] in pixels of the photograph to ndc: 2 (p - corner) / side - 1."""
    corner = np.array([square.left, square.top], np.float64)
    return (2 * (points - corner) / square.side - 1).astype(np.float32)


def from_ndc(points: npt.NDArray[np.floating], square: Square) -> npt.NDArray[np.float32]:
    """Inverse of `to_ndc`: ndc [K, 2] to continuous pixels of the photograph."""
    corner = np.array([square.left, square.top], np.float64)
    return ((points + 1) / 2 * square.side + corner).astype(np.float32)
