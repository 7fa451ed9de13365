"""Persons who are labelled in 2D only: their joints in j24, their box, what is wrong with them.

Legend: K joint of the set, in the set's own order. Pixels as in `record`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from multibodies.core.joints import J24_NAMES
from multibodies.data.crops import BOX_SCALE
from multibodies.data.sources.record import Box, Floats

Mask = npt.NDArray[np.bool_]
MATLAB_CENTRE = -0.5  # MATLAB's first pixel is 1, and its centre .5
INDEX_CENTRE = 0.5  # a pixel's index from 0, and its centre
SMALLEST = 4.0  # a person who spans fewer pixels shows nothing


def fault_of(points: Floats, labelled: Mask) -> str | None:
    """Return what is wrong with a person's labelled joints: points [K, 2], labelled [K]."""
    seen = points[labelled]
    if not len(seen):
        return "keypoints: no joint is labelled"
    if not np.isfinite(seen).all():
        return "keypoints: NaN or infinite value"
    return None


def size_fault(points: Floats) -> str | None:
    """Return what is wrong with the size of a person's labelled points [K, 2]: fractions of a
    picture where pixels are expected, or one joint, which makes no box."""
    span = float(np.ptp(points, axis=0).max())
    if span < SMALLEST:
        return f"keypoints: the person spans {span:.3g} px; expected pixels of the whole picture"
    return None


def to_j24(points: Floats, labelled: Mask, order: Sequence[int]) -> Floats:
    """Return x, y, confidence [24, 3] of points [K, 2] whose j24 joints are order [K].

    Confidence is 1 where a joint is labelled [K]; elsewhere all three are 0.
    """
    joints = np.zeros((len(J24_NAMES), 3))
    joints[list(order)] = np.where(labelled[:, None], np.insert(points, 2, 1.0, axis=1), 0.0)
    return joints


def box_around(points: Floats) -> Box:
    """Return the square of 1.2 times the longer side of points [K, 2], as SPIN's boxes are."""
    low, high = points.min(axis=0), points.max(axis=0)
    x, y = (low + high) / 2
    return Box(float(x), float(y), float(BOX_SCALE * (high - low).max()))
