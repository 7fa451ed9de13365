"""Kernels that put a scene and a rasterised body together, pixel by pixel.

Shapes: S image side, K joint. A view is (cx, cy, half side) in ndc of the uncropped frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multibodies.data.jit import jit
from multibodies.data.renderer import Canvas, resolve
from multibodies.data.scene import Backdrop, Occluders, Scene

Floats = NDArray[np.float32]

SEE_THROUGH = np.float32(0.16)  # metres that a joint may lie behind the surface it shows through
COARSE, FINE, GROUND, OCCLUDER, GRAIN = range(5)  # streams of the hashed noise


@jit
def hashed(bits: int, stream: int, x: int, y: int) -> int:
    """Mix four integers into 64 bits (the finaliser of SplitMix64)."""
    z = np.uint64(bits) + np.uint64(stream) * np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(x + 65536) * np.uint64(0xD1B54A32D192ED03) + np.uint64(y + 65536) * np.uint64(0xABC98388FB8FAC03)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))  # type: ignore[no-any-return]


@jit
def value_noise(bits: int, stream: int, x: float, y: float, cells: float, out: Floats) -> None:
    """Smooth noise in [0, 1], three channels into out [3], at ndc (x, y) with `cells` lattice cells per frame."""
    u, v = (x + 1) * np.float32(0.5) * cells, (y + 1) * np.float32(0.5) * cells
    i, j = int(np.floor(u)), int(np.floor(v))
    fu, fv = u - i, v - j
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    out[:] = 0
    unit = np.float32(1.0 / 2097151.0)
    for corner in range(4):
        a, b = corner & 1, corner >> 1
        weight = (fu if a else 1 - fu) * (fv if b else 1 - fv) * unit
        h = hashed(bits, stream, i + a, j + b)
        for c in range(3):
            out[c] += weight * np.float32((h >> np.uint64(21 * c)) & np.uint64(0x1FFFFF))


@jit
def backdrop_colour(backdrop: Backdrop, row: int, bits: int, x: float, y: float, noise: Floats, out: Floats) -> None:
    """Colour [3] of the backdrop at ndc (x, y): wall or sky, ground, boxes. `noise` [3] is scratch."""
    value_noise(bits, COARSE, x, y, backdrop.coarse[row, 0], noise)
    mean = (noise[0] + noise[1] + noise[2]) / 3 * np.float32(0.65)
    sky = backdrop.sky_amount[row] * min(max(np.float32(0.5) - y * np.float32(0.5), np.float32(0)), np.float32(1))
    for c in range(3):
        wall = backdrop.base[row, c] + (noise[c] * np.float32(0.35) + mean - np.float32(0.5)) * backdrop.coarse[row, 1]
        out[c] = wall * (1 - sky) + backdrop.sky[row, c] * sky
    if backdrop.fine[row, 1] > 0:
        value_noise(bits, FINE, x, y, backdrop.fine[row, 0], noise)
        for c in range(3):
            out[c] += (noise[0] - np.float32(0.5)) * backdrop.fine[row, 1]
    if y > backdrop.horizon[row]:
        value_noise(bits, GROUND, x, y, backdrop.ground_noise[row, 0], noise)
        grey = (noise[0] - np.float32(0.5)) * backdrop.ground_noise[row, 1]
        for c in range(3):
            out[c] = out[c] * np.float32(0.4) + (backdrop.ground[row, c] + grey) * np.float32(0.6)
    for k in range(backdrop.box_count[row]):
        box = backdrop.boxes[row, k]
        if box[0] < x < box[2] and box[1] < y < box[3]:
            for c in range(3):
                out[c] = out[c] * np.float32(0.3) + backdrop.box_colours[row, k, c] * np.float32(0.7)


@jit
def occluder_at(occluders: Occluders, row: int, x: float, y: float) -> int:
    """Index of the front-most occluder that covers ndc (x, y), or -1."""
    for k in range(occluders.count[row] - 1, -1, -1):
        dx, dy = x - occluders.centre[row, k, 0], y - occluders.centre[row, k, 1]
        cos, sin = occluders.direction[row, k, 0], occluders.direction[row, k, 1]
        u, v = (dx * cos + dy * sin) / occluders.axes[row, k, 0], (dy * cos - dx * sin) / occluders.axes[row, k, 1]
        inside = u * u + v * v < 1 if occluders.ellipse[row, k] else abs(u) < 1 and abs(v) < 1
        if inside:
            return k
    return -1


@jit
def compose(
    canvas: Canvas, samples: int, scene: Scene, row: int, view: Floats, image: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> None:
    """Fill image [S, S, 3], and mask [S, S] of the body seen, from the canvas and the scene through the view."""
    size, bits = image.shape[0], scene.bits[row]
    body, back, noise = np.empty(3, np.float32), np.empty(3, np.float32), np.empty(3, np.float32)
    for j in range(size):
        y = view[1] + view[2] * (np.float32(2 * j + 1) / size - 1)
        for i in range(size):
            x = view[0] + view[2] * (np.float32(2 * i + 1) / size - 1)
            cover = resolve(canvas, samples, j, i, body)
            front = occluder_at(scene.occluders, row, x, y)
            mask[j, i] = front < 0 and cover >= 0.5
            if front >= 0:
                value_noise(bits, OCCLUDER + front * 8, x, y, scene.occluders.noise[row, front, 0], noise)
                for c in range(3):
                    rough = (noise[c] - np.float32(0.5)) * scene.occluders.noise[row, front, 1]
                    body[c] = min(max(scene.occluders.colours[row, front, c] + rough, np.float32(0)), np.float32(1))
            elif cover < 1:
                backdrop_colour(scene.backdrop, row, bits, x, y, noise, back)
                for c in range(3):
                    body[c] += (1 - cover) * min(max(back[c], np.float32(0)), np.float32(1))
            _store(body, scene.grain[row], hashed(bits, GRAIN, i, j), image[j, i])


@jit
def _store(colour: Floats, grain: float, h: int, pixel: NDArray[np.uint8]) -> None:
    """Add triangular grain of standard deviation `grain`, clip and round a colour [3] into a pixel."""
    for c in range(3):
        value = colour[c]
        if grain > 0:
            first = np.float32((h >> np.uint64(20 * c)) & np.uint64(0x3FF))
            second = np.float32((h >> np.uint64(20 * c + 10)) & np.uint64(0x3FF))
            value += grain * np.float32(2.4494898) * ((first + second) / np.float32(1023.0) - 1)
        pixel[c] = np.uint8(min(max(value * 255, np.float32(0)), np.float32(255)) + np.float32(0.5))


@jit
def visible_joints(canvas: Canvas, scene: Scene, row: int, view: Floats, points: Floats, depth: Floats, out: Floats) -> None:
    """Flag out [K] = 1 where a joint is inside the picture, not under an occluder and at most 0.16 m behind the
    nearest surface. points [K, 2] in ndc of the picture, depth [K] metres from the camera."""
    side = canvas.depth.shape[0]
    for k in range(points.shape[0]):
        x, y = points[k, 0], points[k, 1]
        out[k] = 0
        if abs(x) >= 1 or abs(y) >= 1:
            continue
        column, line = int((x + 1) * 0.5 * side), int((y + 1) * 0.5 * side)
        if depth[k] - canvas.depth[min(line, side - 1), min(column, side - 1)] >= SEE_THROUGH:
            continue
        if occluder_at(scene.occluders, row, view[0] + view[2] * x, view[1] + view[2] * y) < 0:
            out[k] = 1
