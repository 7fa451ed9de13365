"""Hashed lattice noise: a texture is a function of (bits, stream, place), so any crop of it agrees with the whole.

Shapes: W columns, L lines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multibodies.data.jit import jit

Floats = NDArray[np.float32]

COARSE, FINE, GROUND, GRAIN, OCCLUDER = range(5)  # streams; occluder k uses OCCLUDER + k
MASK21, MASK10 = np.uint64(0x1FFFFF), np.uint64(0x3FF)


@jit
def hashed(bits: int, stream: int, x: int, y: int) -> int:
    """Mix four integers into 64 bits (the finaliser of SplitMix64)."""
    z = np.uint64(bits) + np.uint64(stream) * np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(x + 65536) * np.uint64(0xD1B54A32D192ED03) + np.uint64(y + 65536) * np.uint64(0xABC98388FB8FAC03)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))  # type: ignore[no-any-return]


@jit
def ten_bits(h: int, k: int) -> int:
    """Bits 10k to 10k+9 of a hash, as a signed integer (conversion to float is then one instruction)."""
    return np.int64((np.uint64(h) >> np.uint64(10 * k)) & MASK10)  # type: ignore[return-value]


@jit
def value_noise(bits: int, stream: int, xs: Floats, ys: Floats, cells: float, out: Floats) -> None:
    """Smooth noise in [0, 1], three channels: out [L, W, 3] at ndc xs [W] (ascending), ys [L], `cells` per frame."""
    scale = cells * np.float32(0.5)
    x0, y0 = int(np.floor((xs[0] + 1) * scale)), int(np.floor((ys[0] + 1) * scale))
    columns = int(np.floor((xs[-1] + 1) * scale)) - x0 + 3
    cell, share = np.empty(len(xs), np.uint32), np.empty(len(xs), np.float32)
    for i in range(len(xs)):
        u = (xs[i] + 1) * scale - np.float32(x0)
        cell[i] = int(u)
        share[i] = _smooth(u - np.float32(cell[i]))
    upper, lower = np.empty((columns, 3), np.float32), np.empty((columns, 3), np.float32)
    mixed = np.empty((columns, 3), np.float32)
    current = y0 - 2
    for j in range(len(ys)):
        v = (ys[j] + 1) * scale
        line = int(np.floor(v))
        if line != current:
            _lattice(bits, stream, x0, line, upper)
            _lattice(bits, stream, x0, line + 1, lower)
            current = line
        mixed[:] = upper + (lower - upper) * _smooth(v - np.float32(line))
        for i in range(len(xs)):
            k = cell[i]
            for c in range(3):
                out[j, i, c] = mixed[k, c] + (mixed[k + np.uint32(1), c] - mixed[k, c]) * share[i]


@jit
def _smooth(t: float) -> float:
    """3 t^2 - 2 t^3."""
    return t * t * (np.float32(3) - np.float32(2) * t)


@jit
def _lattice(bits: int, stream: int, x0: int, y: int, out: Floats) -> None:
    """Lattice values in [0, 1] of one line: out [columns, 3]."""
    for k in range(out.shape[0]):
        h = hashed(bits, stream, x0 + k, y)
        for c in range(3):
            out[k, c] = np.float32(np.int64((h >> np.uint64(21 * c)) & MASK21)) * np.float32(1 / 2097151)
