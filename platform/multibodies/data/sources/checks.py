"""What is wrong with a record, whatever its set: not finite, misshapen, or in other units.

Legend: K joint. One line a fault, naming the field, what was found and what was expected.
"""

from __future__ import annotations

import math

import numpy as np

from multibodies.data.sources.record import GENDERS, Floats, Record

SHAPES = {
    "keypoints": (24, 3),
    "openpose": (25, 3),
    "joints_3d": (24, 4),
    "h36m17": (17, 3),
    "theta": (24, 3),
    "beta": (10,),
}
SMALLEST, LARGEST = 0.25, 4.0  # metres across a person's joints
LEAST_FOR_SIZE = 6  # joints; fewer may lie close together
LARGEST_BETA = 20.0
HIPS = (2, 3)


def fault_of(record: Record) -> str | None:
    """Return why a record makes no row, or None."""
    for name, shape in SHAPES.items():
        value: Floats | None = getattr(record, name)
        if value is not None and (fault := _array_fault(name, value, shape)):
            return fault
    return (
        _person_fault(record)
        or _size_fault("joints_3d", _known(record.joints_3d))
        or (_size_fault("h36m17", record.h36m17))
    )


def _array_fault(name: str, value: Floats, shape: tuple[int, ...]) -> str | None:
    if value.shape != shape:
        return f"{name}: shape {value.shape}, expected {shape}"
    return None if np.isfinite(value).all() else f"{name}: NaN or infinite value"


def _person_fault(record: Record) -> str | None:
    if record.gender not in GENDERS:
        return f"gender: '{record.gender}', expected one of {', '.join(GENDERS)}"
    if not all(map(math.isfinite, record.box)) or record.box.side <= 0:
        return f"box: side {record.box.side:g} px; expected a finite box with an area"
    if record.keypoints is not None and not (record.keypoints[:, 2] > 0).any():
        return "keypoints: nobody there (no joint is labelled)"
    if record.joints_3d is not None and not (record.joints_3d[list(HIPS), 3] > 0).all():
        return "joints_3d: no hips, which rows are centred on"
    if record.beta is not None and np.abs(record.beta).max() > LARGEST_BETA:
        return f"beta: {np.abs(record.beta).max():g}, expected shape coefficients of a few units"
    return None


def _known(joints: Floats | None) -> Floats | None:
    return None if joints is None else joints[joints[:, 3] > 0, :3]


def _size_fault(name: str, points: Floats | None) -> str | None:
    if points is None or len(points) < LEAST_FOR_SIZE:
        return None
    across = float((points.max(0) - points.min(0)).max())
    if SMALLEST <= across <= LARGEST:
        return None
    guess = "; millimetres?" if across > 100 else ""
    return f"{name}: {across:.3g} m across{guess}; expected a person in metres"
