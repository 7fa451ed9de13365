"""Models of the SMPL family that are not SMPL, known by their sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

EXPECTED: Final = (
    "SMPL: 6890 vertices, 24 joints, v1.0.0 (basicModel_*_lbs_10_207_0_v1.0.0.pkl) or v1.1.0 "
    "(SMPL_NEUTRAL.pkl, SMPL_MALE.pkl, SMPL_FEMALE.pkl) of smpl.is.tue.mpg.de"
)
SMPL: Final = (6890, 24, 207)


class Sizes(NamedTuple):
    """Vertices, joints and pose features; None where a file does not say."""

    vertices: int | None
    joints: int | None
    features: int | None


# The first that agrees in all its numbers names a file.
FAMILY: Final[tuple[tuple[str, Sizes], ...]] = (
    ("SMPL-X", Sizes(10475, None, None)),
    ("SMPL-H", Sizes(6890, 52, None)),
    ("MANO, a hand", Sizes(778, None, None)),
    ("FLAME, a head", Sizes(5023, None, None)),
    ("STAR", Sizes(6890, None, 93)),
)


def foreign_name(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Return what a file is, if its sizes are those of another model than SMPL."""
    sizes = sizes_of(arrays)
    for name, wanted in FAMILY:
        if all(b in (None, a) for a, b in zip(sizes, wanted, strict=True)):
            return name
    return None


def sizes_of(arrays: Mapping[str, np.ndarray]) -> Sizes:
    """Return the sizes that the arrays tell."""

    def size(key: str, axis: int) -> int | None:
        array = arrays.get(key)
        return array.shape[axis] if array is not None and array.ndim else None

    return Sizes(size("v_template", 0), size("kintree_table", -1), size("posedirs", -1))
