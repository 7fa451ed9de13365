"""Kernels that put a scene and a rasterised body together.

Shapes: S image side, H sample side, K joint. A view is (cx, cy, half side) in ndc of the uncropped frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multibodies.data.jit import jit
from multibodies.data.noise import COARSE, FINE, GRAIN, GROUND, OCCLUDER, hashed, ten_bits, value_noise
from multibodies.data.renderer import Canvas, resolve
from multibodies.data.scene import Backdrop, Occluders, Scene

Floats = NDArray[np.float32]

SEE_THROUGH = np.float32(0.16)  # metres that a joint may lie behind the surface it shows through


class Sheets(NamedTuple):
    """Buffers that rows share: body (premultiplied), backdrop and noise [S, S, 3], coverage [S, S]; ndc of the pixels'
    columns and lines in the uncropped frame [S]; front-most occluder [S, S], -1 for none."""

    body: Floats
    backdrop: Floats
    noise: Floats
    cover: Floats
    xs: Floats
    ys: Floats
    front: NDArray[np.int8]


def new_sheets(size: int) -> Sheets:
    """Allocate buffers for pictures of `size` pixels."""
    colour = np.zeros((3, size, size, 3), np.float32)
    line = np.zeros((2, size), np.float32)
    cover, front = np.zeros((size, size), np.float32), np.zeros((size, size), np.int8)
    return Sheets(colour[0], colour[1], colour[2], cover, line[0], line[1], front)


@jit
def compose(canvas: Canvas, samples: int, scene: Scene, row: int, view: Floats, sheets: Sheets) -> None:
    """Fill the sheets: sheets.body becomes the picture in [0, 1], before grain, of the scene seen through the view."""
    size = sheets.cover.shape[0]
    for i in range(size):
        step = np.float32(2 * i + 1) / np.float32(size) - np.float32(1)
        sheets.xs[i], sheets.ys[i] = view[0] + view[2] * step, view[1] + view[2] * step
    resolve(canvas, samples, sheets.body, sheets.cover)
    _wall(scene.backdrop, row, scene.bits[row], sheets)
    _ground(scene.backdrop, row, scene.bits[row], sheets)
    _boxes(scene.backdrop, row, sheets)
    _merge(sheets.body, sheets.cover, sheets.backdrop)
    sheets.front[:] = -1
    for k in range(scene.occluders.count[row]):
        _cover(scene.occluders, row, k, scene.bits[row], sheets)


@jit
def _wall(backdrop: Backdrop, row: int, bits: int, sheets: Sheets) -> None:
    """Wall: base colour and two scales of noise, fading upwards into the sky where there is one."""
    half, out, noise = np.float32(0.5), sheets.backdrop, sheets.noise
    value_noise(bits, COARSE, sheets.xs, sheets.ys, backdrop.coarse[row, 0], noise)
    base, amount, tint = backdrop.base[row], backdrop.coarse[row, 1], backdrop.sky[row]
    for j in range(len(sheets.ys)):
        fade = min(max(half - sheets.ys[j] * half, np.float32(0)), np.float32(1)) * backdrop.sky_amount[row]
        for i in range(len(sheets.xs)):
            grey = (noise[j, i, 0] + noise[j, i, 1] + noise[j, i, 2]) * np.float32(0.65 / 3) - half
            for c in range(3):
                wall = base[c] + (noise[j, i, c] * np.float32(0.35) + grey) * amount
                out[j, i, c] = wall + (tint[c] - wall) * fade
    if backdrop.fine[row, 1] > 0:
        value_noise(bits, FINE, sheets.xs, sheets.ys, backdrop.fine[row, 0], noise)
        for j in range(len(sheets.ys)):
            for i in range(len(sheets.xs)):
                grey = (noise[j, i, 0] - half) * backdrop.fine[row, 1]
                for c in range(3):
                    out[j, i, c] += grey


@jit
def _ground(backdrop: Backdrop, row: int, bits: int, sheets: Sheets) -> None:
    """Ground below the horizon."""
    if sheets.ys[-1] <= backdrop.horizon[row]:
        return
    out, noise, colour = sheets.backdrop, sheets.noise, backdrop.ground[row]
    value_noise(bits, GROUND, sheets.xs, sheets.ys, backdrop.ground_noise[row, 0], noise)
    for j in range(len(sheets.ys)):
        if sheets.ys[j] > backdrop.horizon[row]:
            for i in range(len(sheets.xs)):
                grey = (noise[j, i, 0] - np.float32(0.5)) * backdrop.ground_noise[row, 1]
                for c in range(3):
                    out[j, i, c] = out[j, i, c] * np.float32(0.4) + (colour[c] + grey) * np.float32(0.6)


@jit
def _boxes(backdrop: Backdrop, row: int, sheets: Sheets) -> None:
    """Furniture-like boxes behind the body, seven tenths opaque."""
    for k in range(backdrop.box_count[row]):
        box, colour = backdrop.boxes[row, k], backdrop.box_colours[row, k]
        for j in range(len(sheets.ys)):
            if box[1] < sheets.ys[j] < box[3]:
                for i in range(len(sheets.xs)):
                    if box[0] < sheets.xs[i] < box[2]:
                        for c in range(3):
                            mixed = sheets.backdrop[j, i, c] * np.float32(0.3) + colour[c] * np.float32(0.7)
                            sheets.backdrop[j, i, c] = mixed


@jit
def _merge(body: Floats, cover: Floats, backdrop: Floats) -> None:
    """Put the backdrop [S, S, 3] behind the premultiplied body: body += (1 - cover) * clip(backdrop)."""
    for j in range(cover.shape[0]):
        for i in range(cover.shape[1]):
            rest = np.float32(1) - cover[j, i]
            for c in range(3):
                body[j, i, c] += rest * min(max(backdrop[j, i, c], np.float32(0)), np.float32(1))


@jit
def _cover(occluders: Occluders, row: int, k: int, bits: int, sheets: Sheets) -> None:
    """Draw occluder k over the picture and mark its pixels."""
    value_noise(bits, OCCLUDER + k, sheets.xs, sheets.ys, occluders.noise[row, k, 0], sheets.noise)
    centre, axes, direction = occluders.centre[row, k], occluders.axes[row, k], occluders.direction[row, k]
    ellipse, colour, amount = occluders.ellipse[row, k], occluders.colours[row, k], occluders.noise[row, k, 1]
    for j in range(len(sheets.ys)):
        for i in range(len(sheets.xs)):
            if _within(centre, axes, direction, ellipse, sheets.xs[i], sheets.ys[j]):
                sheets.front[j, i] = k
                for c in range(3):
                    value = colour[c] + (sheets.noise[j, i, c] - np.float32(0.5)) * amount
                    sheets.body[j, i, c] = min(max(value, np.float32(0)), np.float32(1))


@jit
def _within(centre: Floats, axes: Floats, direction: Floats, ellipse: bool, x: float, y: float) -> bool:
    """Whether (x, y) lies in a rotated ellipse or rectangle."""
    dx, dy = x - centre[0], y - centre[1]
    u = (dx * direction[0] + dy * direction[1]) / axes[0]
    v = (dy * direction[0] - dx * direction[1]) / axes[1]
    if ellipse:
        return u * u + v * v < 1
    return abs(u) < 1 and abs(v) < 1


@jit
def develop(picture: Floats, grain: float, bits: int, image: NDArray[np.uint8]) -> None:
    """Round a picture [S, S, 3] in [0, 1] to bytes, with triangular grain of standard deviation `grain`."""
    spread = grain * np.float32(2.4494898 / 1023)  # the sum of two uniforms on [0, 1] has deviation 1 / sqrt(6)
    for j in range(image.shape[0]):
        for i in range(image.shape[1]):
            h = hashed(bits, GRAIN, i, j)
            for c in range(3):
                value = picture[j, i, c] + spread * np.float32(ten_bits(h, 2 * c) + ten_bits(h, 2 * c + 1) - 1023)
                image[j, i, c] = np.uint8(min(max(value * 255, np.float32(0)), np.float32(255)) + np.float32(0.5))


@jit
def visible_joints(canvas: Canvas, sheets: Sheets, points: Floats, depth: Floats, out: Floats) -> None:
    """Flag out [K] = 1 where a joint is inside the picture, not under an occluder and at most 0.16 m behind the
    nearest surface. points [K, 2] in ndc of the picture, depth [K] metres from the camera."""
    side, size = canvas.depth.shape[0], sheets.front.shape[0]
    for k in range(points.shape[0]):
        x, y = points[k, 0], points[k, 1]
        out[k] = 0
        if abs(x) < 1 and abs(y) < 1:
            u, v = (x + 1) * 0.5, (y + 1) * 0.5
            behind = depth[k] - canvas.depth[min(int(v * side), side - 1), min(int(u * side), side - 1)]
            free = sheets.front[min(int(v * size), size - 1), min(int(u * size), size - 1)] < 0
            if free and behind < SEE_THROUGH:
                out[k] = 1
