"""Joints of a row: those that are known, in the schema's order, of a size that a body can have.

Legend: K joint. Pixels and metres as in `record.py`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from multibodies.core.joints import H36M_TO_J17, J24_TO_J17
from multibodies.data.sources.record import Floats
from multibodies.errors import UserError

BODY_M: Final = (0.3, 3.5)  # what the joints of a body may span
MANY_JOINTS: Final = 10  # fewer of them may lie close together


def known_joints(joints: Floats | None, key: str, shift: float = 0.0) -> Floats | None:
    """Return joints [K, 3 | 4] with the confidence last, or None where none is above 0.

    What is not known is 0 throughout, confidences end at 1, `shift` is added to the known
    coordinates. ProHMR's 19 joints become J24. Raises UserError on NaN or infinity in a joint that
    is not marked as absent.
    """
    if joints is None or not joints[:, -1].any():
        return None
    bad = (joints[:, -1] != 0) & ~np.isfinite(joints).all(1)
    if bad.any():
        raise UserError(f"'{key}' is NaN or infinite at joint {int(np.argmax(bad))}")
    found = np.zeros((max(len(joints), 24), joints.shape[1]))
    known = joints[:, -1] > 0
    found[: len(joints)][known] = joints[known]
    found[: len(joints), :-1][known] += shift
    found[:, -1] = np.minimum(found[:, -1], 1.0)
    return found if known.any() else None


def check_span(joints: Floats, key: str) -> None:
    """Raise UserError if no body in metres can span the known ones of joints [24, 4]."""
    points = joints[joints[:, 3] > 0, :3]
    with np.errstate(over="ignore"):
        span = float(np.linalg.norm(points.max(0) - points.min(0)))
    low, high = BODY_M
    if span > high or (span < low and len(points) >= MANY_JOINTS):
        guess = "; it looks like millimetres" if 1000 * low <= span <= 1000 * high else ""
        raise UserError(f"joints of '{key}' span {span:.4g}, expected a body in metres{guess}")


def h36m17_of(joints: Floats | None) -> Floats | None:
    """Return the 17 joints of the metric from S [24, 4], where it has all of them."""
    if joints is None or not (joints[list(J24_TO_J17), 3] == 1).all():
        return None
    measured = np.empty((17, 3))
    measured[list(H36M_TO_J17)] = joints[list(J24_TO_J17), :3]
    return measured
