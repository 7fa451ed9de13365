"""Hashed lattice noise: a function of (bits, stream, place), so a crop agrees with the whole.

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
def hashed(bits: np.uint64, stream: int, x: int, y: int) -> np.uint64:
    """Mix four integers into 64 bits (the finaliser of SplitMix64)."""
    z = np.uint64(bits) + np.uint64(stream) * np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(x + 65536) * np.uint64(0xD1B54A32D192ED03)
    z += np.uint64(y + 65536) * np.uint64(0xABC98388FB8FAC03)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@jit
def ten_bits(h: np.uint64, k: int) -> np.int64:
    """Bits 10k to 10k+9 of a hash, signed (its conversion to float is then one instruction)."""
    return np.int64((h >> np.uint64(10 * k)) & MASK10)


def value_noise(
    bits: np.uint64, stream: int, xs: Floats, ys: Floats, cells: float, out: Floats
) -> None:
    """Smooth noise in [0, 1], three channels: out [L, W, 3] at ndc xs [W], ys [L] (both ascending).

    There are `cells` lattice cells per frame; between lattice points, smoothstep interpolation.
    """
    columns, shares = _places(xs, cells)
    lines, heights = _places(ys, cells)
    left, top = columns[0], lines[0]
    lattice = np.empty((lines[-1] - top + 2, columns[-1] - left + 2, 3), np.float32)
    _lattice(bits, stream, left, top, lattice)
    _interpolate(lattice, columns - left, shares, lines - top, heights, out)


@jit
def _places(axis: Floats, cells: float) -> tuple[NDArray[np.int64], Floats]:
    """Lattice cell and smoothstep share 3 t^2 - 2 t^3 of every coordinate."""
    cell, share = np.empty(len(axis), np.int64), np.empty(len(axis), np.float32)
    scale = np.float32(cells) * np.float32(0.5)
    for i in range(len(axis)):
        place = (axis[i] + np.float32(1)) * scale
        cell[i] = int(np.floor(place))
        t = place - np.float32(cell[i])
        share[i] = t * t * (np.float32(3) - np.float32(2) * t)
    return cell, share


@jit
def _lattice(bits: np.uint64, stream: int, x0: int, y0: int, out: Floats) -> None:
    """Lattice values in [0, 1]: out [lines, columns, 3] from lattice place (x0, y0)."""
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            h = hashed(bits, stream, x0 + i, y0 + j)
            for c in range(3):
                channel = np.int64((h >> np.uint64(21 * c)) & MASK21)
                out[j, i, c] = np.float32(channel) * np.float32(1 / 2097151)


@jit
def _interpolate(
    lattice: Floats,
    columns: NDArray[np.int64],
    shares: Floats,
    lines: NDArray[np.int64],
    heights: Floats,
    out: Floats,
) -> None:
    mixed = np.empty((lattice.shape[1], 3), np.float32)
    for j in range(out.shape[0]):
        upper, lower = lattice[lines[j]], lattice[lines[j] + 1]
        for k in range(mixed.shape[0]):
            for c in range(3):
                mixed[k, c] = upper[k, c] + (lower[k, c] - upper[k, c]) * heights[j]
        for i in range(out.shape[1]):
            k = columns[i]
            for c in range(3):
                out[j, i, c] = mixed[k, c] + (mixed[k + 1, c] - mixed[k, c]) * shares[i]
