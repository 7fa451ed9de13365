"""Put a scene and a rasterised body together into one picture.

Shapes: S image side, H sample side, K joint. A view is (cx, cy, half side) in ndc of the uncropped
frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multibodies.data.jit import jit
from multibodies.data.noise import (
    COARSE,
    FINE,
    GRAIN,
    GROUND,
    OCCLUDER,
    hashed,
    ten_bits,
    value_noise,
)
from multibodies.data.renderer import Canvas, Scalar, resolve
from multibodies.data.scene import Backdrop, Occluders, Scene

Floats = NDArray[np.float32]

SEE_THROUGH = np.float32(0.16)  # metres that a joint may lie behind the surface it shows through


class Sheets(NamedTuple):
    """Buffers that rows share: body (premultiplied), backdrop and noise [S, S, 3], coverage [S, S];
    front-most occluder [S, S], -1 for none."""

    body: Floats
    backdrop: Floats
    noise: Floats
    cover: Floats
    front: NDArray[np.int8]


def new_sheets(size: int) -> Sheets:
    """Allocate buffers for pictures of `size` pixels."""
    body, backdrop, noise = np.zeros((3, size, size, 3), np.float32)
    cover, front = np.zeros((size, size), np.float32), np.zeros((size, size), np.int8)
    return Sheets(body, backdrop, noise, cover, front)


def compose(
    canvas: Canvas, samples: int, scene: Scene, row: int, view: Floats, sheets: Sheets
) -> None:
    """Make sheets.body the picture, in [0, 1] and before grain, of the scene through the view."""
    size, one = len(sheets.cover), np.float32(1)
    step = np.arange(1, 2 * size, 2, dtype=np.float32) / np.float32(size) - one
    xs, ys = view[0] + view[2] * step, view[1] + view[2] * step
    resolve(canvas, samples, sheets.body, sheets.cover)
    _backdrop(scene.backdrop, row, scene.bits[row], xs, ys, sheets)
    _merge(sheets.body, sheets.cover, sheets.backdrop)
    sheets.front.fill(-1)
    for k in range(scene.occluders.number[row]):
        _occlude(scene.occluders, row, k, scene.bits[row], xs, ys, sheets)


def _backdrop(
    backdrop: Backdrop, row: int, bits: np.uint64, xs: Floats, ys: Floats, sheets: Sheets
) -> None:
    """Wall or sky, then finer texture, ground and boxes into sheets.backdrop."""
    out, noise = sheets.backdrop, sheets.noise
    value_noise(bits, COARSE, xs, ys, backdrop.coarse[row, 0], noise)
    fade = np.clip(np.float32(0.5) - ys * np.float32(0.5), np.float32(0), np.float32(1))
    fade *= backdrop.sky_amount[row]
    _wall(noise, backdrop.base[row], backdrop.coarse[row, 1], backdrop.sky[row], fade, out)
    if backdrop.fine[row, 1] > 0:
        value_noise(bits, FINE, xs, ys, backdrop.fine[row, 0], noise)
        _texture(noise, backdrop.fine[row, 1], out)
    first = int(np.searchsorted(ys, backdrop.horizon[row], side="right"))
    if first < len(ys):
        value_noise(bits, GROUND, xs, ys[first:], backdrop.ground_noise[row, 0], noise[first:])
        _ground(noise[first:], backdrop.ground[row], backdrop.ground_noise[row, 1], out[first:])
    for k in range(backdrop.box_count[row]):
        _box(out, backdrop.boxes[row, k], backdrop.box_colours[row, k], xs, ys)


@jit
def _wall(
    noise: Floats, base: Floats, amount: Scalar, sky: Floats, fade: Floats, out: Floats
) -> None:
    """Base colour plus mostly grey noise, fading by fade [S] into the sky's colour."""
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            grey = (noise[j, i, 0] + noise[j, i, 1] + noise[j, i, 2]) * np.float32(0.65 / 3)
            grey -= np.float32(0.5)
            for c in range(3):
                wall = base[c] + (noise[j, i, c] * np.float32(0.35) + grey) * amount
                out[j, i, c] = wall + (sky[c] - wall) * fade[j]


@jit
def _texture(noise: Floats, amount: Scalar, out: Floats) -> None:
    """Add grey noise."""
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            grey = (noise[j, i, 0] - np.float32(0.5)) * amount
            for c in range(3):
                out[j, i, c] += grey


@jit
def _ground(noise: Floats, colour: Floats, amount: Scalar, out: Floats) -> None:
    """Six tenths of a noisy ground colour over what is there."""
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            grey = (noise[j, i, 0] - np.float32(0.5)) * amount
            for c in range(3):
                ground = (colour[c] + grey) * np.float32(0.6)
                out[j, i, c] = out[j, i, c] * np.float32(0.4) + ground


def _box(out: Floats, box: Floats, colour: Floats, xs: Floats, ys: Floats) -> None:
    """A furniture-like box behind the body, seven tenths opaque."""
    left, right = np.searchsorted(xs, box[0], side="right"), np.searchsorted(xs, box[2])
    top, bottom = np.searchsorted(ys, box[1], side="right"), np.searchsorted(ys, box[3])
    place = out[top:bottom, left:right]
    place *= np.float32(0.3)
    place += colour * np.float32(0.7)


@jit
def _merge(body: Floats, cover: Floats, backdrop: Floats) -> None:
    """Put the backdrop behind the premultiplied body: body += (1 - cover) * clip(backdrop)."""
    for j in range(cover.shape[0]):
        for i in range(cover.shape[1]):
            rest = np.float32(1) - cover[j, i]
            for c in range(3):
                body[j, i, c] += rest * min(max(backdrop[j, i, c], np.float32(0)), np.float32(1))


def _occlude(
    shapes: Occluders, row: int, k: int, bits: np.uint64, xs: Floats, ys: Floats, sheets: Sheets
) -> None:
    """Draw occluder k of a row, an ellipse or a rectangle, and mark its pixels in sheets.front."""
    centre, axes, turn = shapes.centre[row, k], shapes.axes[row, k], shapes.direction[row, k]
    dx, dy = xs - centre[0], (ys - centre[1])[:, None]
    u, v = (dx * turn[0] + dy * turn[1]) / axes[0], (dy * turn[0] - dx * turn[1]) / axes[1]
    in_box = (np.abs(u) < 1) & (np.abs(v) < 1)
    inside: NDArray[np.bool_] = u * u + v * v < 1 if shapes.ellipse[row, k] else in_box
    value_noise(bits, OCCLUDER + k, xs, ys, shapes.noise[row, k, 0], sheets.noise)
    rough = (sheets.noise[inside] - np.float32(0.5)) * shapes.noise[row, k, 1]
    sheets.front[inside] = k
    sheets.body[inside] = np.clip(shapes.colours[row, k] + rough, 0, 1)


@jit
def develop(picture: Floats, grain: Scalar, bits: np.uint64, image: NDArray[np.uint8]) -> None:
    """Round a picture [S, S, 3] in [0, 1] to bytes, with triangular grain of deviation `grain`.

    The sum of two uniforms on [0, 1] has the standard deviation 1 / sqrt(6).
    """
    spread = grain * np.float32(2.4494898 / 1023)
    for j in range(image.shape[0]):
        for i in range(image.shape[1]):
            h = hashed(bits, GRAIN, i, j)
            for c in range(3):
                speck = ten_bits(h, 2 * c) + ten_bits(h, 2 * c + 1) - 1023
                value = (picture[j, i, c] + spread * np.float32(speck)) * 255
                image[j, i, c] = np.uint8(min(max(value, np.float32(0)), np.float32(255)) + 0.5)


@jit
def visible_joints(
    depth: Floats, front: NDArray[np.int8], points: Floats, far: Floats, out: Floats
) -> None:
    """Flag out [K] = 1 where a joint is inside the picture, not under an occluder, and at most
    0.16 m behind the nearest surface.

    depth [H, H] and front [S, S] are the picture's buffers; points [K, 2] are the joints in ndc of
    the picture and far [K] their distances in metres.
    """
    side, size = depth.shape[0], front.shape[0]
    for k in range(points.shape[0]):
        x, y = points[k, 0], points[k, 1]
        out[k] = 0
        if abs(x) < 1 and abs(y) < 1:
            u, v = (x + 1) * 0.5, (y + 1) * 0.5  # below 1 also after rounding: in double precision
            surface = far[k] - depth[int(v * side), int(u * side)] < SEE_THROUGH
            out[k] = surface and front[int(v * size), int(u * size)] < 0
