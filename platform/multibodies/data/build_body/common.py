"""Names and small geometry that the stages share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from multibodies.core.joints import SMPL_FLIP, SMPL_PARENTS

Array = npt.NDArray[np.floating[Any]]
Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Report = Callable[[str], None]

NUM_VERTICES: Final = 6890
FLIP: Final = np.array(SMPL_FLIP)
PARENTS: Final = np.array(SMPL_PARENTS)
ACROSS: Final = np.array([-1.0, 1.0, 1.0])  # a mirror image negates x


@dataclass(frozen=True)
class Samples:
    """Bodies drawn from Anny at rest, in Anny's own topology."""

    vertices: Array  # [S, N, 3] float32
    heads: Array  # [S, B, 3] float32, where each bone starts
    skin: Array  # [N, B] skinning weights
    faces: Index  # [F, 3]
    template: Array  # [N, 3]
    labels: tuple[str, ...]  # bone names; .L and .R are sides
    parents: tuple[int, ...]  # of the bones, -1 at the root

    def bone(self, name: str) -> int:
        """Index of a bone by its name."""
        return self.labels.index(name)


def unit(x: Array) -> Array:
    """Vectors [..., 3] of length one."""
    length: Array = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / length


def apply(rotations: Array, x: Array) -> Array:
    """Rotations [S, 3, 3] of vectors [S, 3]."""
    return np.asarray(np.einsum("sij,sj->si", rotations, x))


def frame(x: Array, normal: Array) -> Array:
    """Orthonormal frames [S, 3, 3]: columns x, the part of ``normal`` across x, their product."""
    x = unit(x)
    normal = unit(normal - (normal * x).sum(-1, keepdims=True) * x)
    return np.stack([x, normal, np.cross(x, normal)], -1)


def shortest_rotation(a: Array, b: Array) -> Array:
    """Rotations [S, 3, 3] that turn directions a [S, 3] to b along the shortest way."""
    a, b = unit(a), unit(b)
    x, y, z = np.moveaxis(np.cross(a, b), -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
    cosine = (a * b).sum(-1)[..., None, None]
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + cosine))


def turn(axis: int, angle: Array) -> Array:
    """Right-handed rotations [S, 3, 3] by angles [S] about a coordinate axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out = np.broadcast_to(np.eye(3), (*angle.shape, 3, 3)).copy()
    out[..., i, i] = out[..., j, j] = np.cos(angle)
    out[..., j, i] = np.sin(angle)
    out[..., i, j] = -np.sin(angle)
    return out
