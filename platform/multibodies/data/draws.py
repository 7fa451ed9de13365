"""Random numbers of the generator: row i of a split has its own stream, whatever the chunking.

Every use of randomness has a named slice of one uniform and one normal vector per row.
Shapes: B row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROW_STREAM, SUBJECT_STREAM = 0, 1
UNIFORM = {
    "keyframe": 2,  # which of the keyframes and their mirrors
    "mix": 6,  # swap or blend, which part, other keyframe, spare, which relative, how far
    "noise": 1,
    "subject": 1,
    "frame": 4,  # fill, truncation: whether, how much
    "shift": 2,
    "outfit": 12,
    "light": 5,
    "backdrop": 16,
    "boxes": 42,  # 6 x (x, y, width, height, r, g, b)
    "occluders": 40,  # whether, how many, 3 x (x, y, a, b, angle, shape, r, g, b, cells, amount)
    "grain": 4,
    "occlusion": 2,  # whether, strategy
}  # some are wider than their use
NORMAL = {"joints": 72, "heading": 1, "pitch": 1, "shift": 2, "light": 1, "tint": 3, "backdrop": 3}


def generator(seed: int, split_id: int, stream: int, index: int) -> np.random.Generator:
    """Return the generator of one row (or subject) of a split. Any integer seed is allowed."""
    sequence = np.random.SeedSequence([seed % 2**64, split_id], spawn_key=(stream, index))
    return np.random.Generator(np.random.PCG64(sequence))


@dataclass(frozen=True)
class Draws:
    """All random numbers of B rows."""

    uniform: Floats  # [B, U] in [0, 1)
    normal: Floats  # [B, N]
    bits: NDArray[np.uint64]  # [B] for hashed noise

    def u(self, name: str) -> Floats:
        """Return the uniforms [B, width] of one use."""
        return self.uniform[:, _SLICES_U[name]]

    def n(self, name: str) -> Floats:
        """Return the standard normals [B, width] of one use."""
        return self.normal[:, _SLICES_N[name]]


def draw_rows(seed: int, split_id: int, rows: range) -> Draws:
    """Draw the numbers of the given rows of a split."""
    uniform = np.empty((len(rows), sum(UNIFORM.values())))
    normal = np.empty((len(rows), sum(NORMAL.values())))
    bits = np.empty(len(rows), np.uint64)
    for k, row in enumerate(rows):
        rng = generator(seed, split_id, ROW_STREAM, row)
        rng.random(out=uniform[k])
        rng.standard_normal(out=normal[k])
        bits[k] = rng.integers(0, 2**63, dtype=np.uint64)
    return Draws(uniform, normal, bits)


def _slices(widths: dict[str, int]) -> dict[str, slice]:
    ends = np.cumsum(list(widths.values())).tolist()
    return {name: slice(end - widths[name], end) for name, end in zip(widths, ends, strict=True)}


_SLICES_U, _SLICES_N = _slices(UNIFORM), _slices(NORMAL)
