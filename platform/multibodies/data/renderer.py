"""A z-buffer rasteriser for small training images: numba only, no GL, no display.

Camera frame (x right, y down, z forward, metres); perspective projection
x_ndc = 2 (5000/224) (X + tx) / (Z + tz). Gouraud shading, `samples` x `samples` anti-aliasing.
Shapes: V vertex, F face, S image side, H = S * samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from multibodies.data.body_tables import Floats, Index
from multibodies.data.jit import jit

FOCAL = np.float32(5000.0 / 224.0)  # in image sides
NEAR = np.float32(0.05)  # metres; triangles closer than this are not drawn
FAR = np.float32(1e9)  # depth of an empty sample
Scalar = np.float32


class Lamp(NamedTuple):
    """One light: direction towards it [3] (camera frame, unit), ambient and specular strength."""

    direction: Floats
    ambient: Scalar
    specular: Scalar


class Canvas(NamedTuple):
    """Buffers that rows share: samples' depth [H, H] and colour [H, H, 3]; per vertex normal,
    screen (x, y, depth) and shade [V, 3]; triangles kept [F, 7]."""

    depth: Floats
    colour: Floats
    normal: Floats
    screen: Floats
    shade: Floats
    kept: Index


def new_canvas(size: int, samples: int, vertices: int, faces: int) -> Canvas:
    """Allocate buffers for images of `size` pixels and bodies of so many vertices and faces."""
    side = size * samples
    normal, screen, shade = np.zeros((3, vertices, 3), np.float32)
    depth, colour = np.zeros((side, side), np.float32), np.zeros((side, side, 3), np.float32)
    return Canvas(depth, colour, normal, screen, shade, np.zeros((faces, 7), np.uint32))


def rasterise(
    vertices: Floats, faces: Index, colours: Floats, shift: Floats, lamp: Lamp, canvas: Canvas
) -> None:
    """Draw one body into canvas.depth and canvas.colour.

    vertices, colours [V, 3]; faces [F, 3]; shift [3] (metres) is added to the vertices.
    """
    canvas.normal.fill(0)
    canvas.depth.fill(FAR)
    _normals(vertices, faces, canvas.normal)
    _shade(canvas.normal, colours, *lamp, canvas.shade)
    _place(vertices, shift, len(canvas.depth), canvas.screen)
    count = _cull(canvas.screen, faces, len(canvas.depth), canvas.kept)
    _fill(canvas.screen, canvas.shade, canvas.kept[:count], canvas.depth, canvas.colour)


@jit
def _normals(vertices: Floats, faces: Index, out: Floats) -> None:
    """Add the cross products of the faces around each vertex, its normal, to out [V, 3]."""
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        px, py, pz = vertices[b, 0] - ax, vertices[b, 1] - ay, vertices[b, 2] - az
        qx, qy, qz = vertices[c, 0] - ax, vertices[c, 1] - ay, vertices[c, 2] - az
        x, y, z = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
        for v in (a, b, c):
            out[v, 0] += x
            out[v, 1] += y
            out[v, 2] += z


@jit
def _shade(
    normal: Floats, colours: Floats, light: Floats, ambient: Scalar, specular: Scalar, out: Floats
) -> None:
    """Lambert, a sky-weighted ambient term and a Blinn highlight of exponent 16, seen along +z."""
    one, zero = np.float32(1), np.float32(0)
    hx, hy, hz = light[0], light[1], light[2] - one
    half = one / np.sqrt(hx * hx + hy * hy + hz * hz)
    for v in range(normal.shape[0]):
        x, y, z = normal[v, 0], normal[v, 1], normal[v, 2]
        length = one / (np.float32(1e-12) + np.sqrt(x * x + y * y + z * z))
        x, y, z = x * length, y * length, z * length
        lit = max(x * light[0] + y * light[1] + z * light[2], zero)
        shine = max((x * hx + y * hy + z * hz) * half, zero)
        shine *= shine
        shine *= shine
        shine *= shine
        shine *= shine
        sky = np.float32(0.8) - np.float32(0.2) * y
        gain = ambient * sky + (one - ambient) * lit
        for c in range(3):
            out[v, c] = colours[v, c] * gain + specular * shine


@jit
def _place(vertices: Floats, shift: Floats, side: int, screen: Floats) -> None:
    """Project vertices: screen [V, 3] = x, y in samples, depth in metres."""
    for v in range(vertices.shape[0]):
        z = vertices[v, 2] + shift[2]
        scale = FOCAL * side / z
        screen[v, 0] = side * np.float32(0.5) + (vertices[v, 0] + shift[0]) * scale
        screen[v, 1] = side * np.float32(0.5) + (vertices[v, 1] + shift[1]) * scale
        screen[v, 2] = z


@jit
def _cull(screen: Floats, faces: Index, side: int, kept: Index) -> int:
    """List the triangles that face the camera and hold a sample centre within their bounds.

    kept [F, 7] is (corners a, b, c, left, right, top, bottom). Return how many.
    """
    count = 0
    half, last = np.float32(0.5), np.int32(side - 1)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, x1, y1 = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
        x2, y2 = screen[c, 0], screen[c, 1]
        if (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0) >= np.float32(-1e-9):
            continue
        left = max(np.int32(0), np.int32(np.ceil(min(x0, x1, x2) - half)))
        right = min(last, np.int32(np.floor(max(x0, x1, x2) - half)))
        top = max(np.int32(0), np.int32(np.ceil(min(y0, y1, y2) - half)))
        bottom = min(last, np.int32(np.floor(max(y0, y1, y2) - half)))
        near = min(screen[a, 2], screen[b, 2], screen[c, 2]) < NEAR
        if left <= right and top <= bottom and not near:
            kept[count, 0], kept[count, 1], kept[count, 2] = a, b, c
            kept[count, 3], kept[count, 4] = left, right
            kept[count, 5], kept[count, 6] = top, bottom
            count += 1
    return count


@jit
def _fill(screen: Floats, shade: Floats, kept: Index, depth: Floats, colour: Floats) -> None:
    """Z-buffer the kept triangles: barycentric depth and colour at every sample centre inside."""
    half, zero, one = np.float32(0.5), np.float32(0), np.float32(1)
    for f in range(kept.shape[0]):
        a, b, c = kept[f, 0], kept[f, 1], kept[f, 2]
        x0, y0, z0 = screen[a, 0], screen[a, 1], screen[a, 2]
        x1, y1, z1 = screen[b, 0] - x0, screen[b, 1] - y0, screen[b, 2]
        x2, y2, z2 = screen[c, 0] - x0, screen[c, 1] - y0, screen[c, 2]
        inverse = one / (x1 * y2 - x2 * y1)
        for y in range(kept[f, 5], kept[f, 6] + 1):
            py = np.float32(y) + half - y0
            for x in range(kept[f, 3], kept[f, 4] + 1):
                px = np.float32(x) + half - x0
                w1, w2 = (px * y2 - x2 * py) * inverse, (x1 * py - px * y1) * inverse
                w0 = one - w1 - w2
                z = w0 * z0 + w1 * z1 + w2 * z2
                if min(w0, w1, w2) >= zero and z < depth[y, x]:
                    depth[y, x] = z
                    for k in range(3):
                        colour[y, x, k] = w0 * shade[a, k] + w1 * shade[b, k] + w2 * shade[c, k]


def resolve(canvas: Canvas, samples: int, image: Floats, cover: Floats) -> None:
    """Average samples x samples: image [S, S, 3] (premultiplied), cover [S, S] in [0, 1]."""
    image.fill(0)
    cover.fill(0)
    _resolve(canvas.depth, canvas.colour, samples, image, cover)


@jit
def _resolve(depth: Floats, colour: Floats, samples: int, image: Floats, cover: Floats) -> None:
    share = np.float32(1.0) / np.float32(samples * samples)
    for j in range(depth.shape[0]):
        for i in range(depth.shape[1]):
            if depth[j, i] < FAR:
                y, x = j // samples, i // samples
                cover[y, x] += share
                for c in range(3):
                    image[y, x, c] += colour[j, i, c] * share
