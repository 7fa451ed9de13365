"""A z-buffer rasteriser for small training images: numba only, no GL, no display.

Camera frame (x right, y down, z forward, metres); perspective projection x_ndc = 2 (5000/224) (X + tx) / (Z + tz).
Gouraud shading, `samples` x `samples` anti-aliasing. Shapes: V vertex, F face, S image side, H = S * samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multibodies.data.jit import jit

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

FOCAL = np.float32(5000.0 / 224.0)  # in image sides
NEAR = np.float32(0.05)  # metres; triangles closer than this are not drawn
FAR = np.float32(1e9)  # depth of an empty sample


class Light(NamedTuple):
    """Lights of B rows: direction towards the light [B, 3] (camera frame, unit), ambient [B], specular [B]."""

    direction: Floats
    ambient: Floats
    specular: Floats


class Canvas(NamedTuple):
    """Buffers that rows share: depth [H, H], colour [H, H, 3]; per vertex normal, screen (x, y, depth), shade [V, 3]."""

    depth: Floats
    colour: Floats
    normal: Floats
    screen: Floats
    shade: Floats


def new_canvas(size: int, samples: int, vertices: int) -> Canvas:
    """Allocate buffers for images of `size` pixels and bodies of `vertices` vertices."""
    side = size * samples
    colour = np.zeros((side, side, 3), np.float32)
    per_vertex = np.zeros((3, vertices, 3), np.float32)
    return Canvas(np.zeros((side, side), np.float32), colour, per_vertex[0], per_vertex[1], per_vertex[2])


@jit
def rasterise(vertices: Floats, faces: Ints, colours: Floats, shift: Floats, light: Light, row: int, canvas: Canvas) -> None:
    """Draw one body into canvas.depth and canvas.colour.

    vertices, colours [V, 3]; faces [F, 3]; shift [3] is added to the vertices; `row` picks the light.
    """
    _normals(vertices, faces, canvas.normal)
    _shade(canvas.normal, colours, light.direction[row], light.ambient[row], light.specular[row], canvas.shade)
    side = canvas.depth.shape[0]
    for v in range(vertices.shape[0]):
        z = vertices[v, 2] + shift[2]
        scale = FOCAL * side / z
        canvas.screen[v, 0] = side * np.float32(0.5) + (vertices[v, 0] + shift[0]) * scale
        canvas.screen[v, 1] = side * np.float32(0.5) + (vertices[v, 1] + shift[1]) * scale
        canvas.screen[v, 2] = z
    canvas.depth[:] = FAR
    for f in range(faces.shape[0]):
        _triangle(canvas, faces[f, 0], faces[f, 1], faces[f, 2])


@jit
def _normals(vertices: Floats, faces: Ints, out: Floats) -> None:
    """Unnormalised vertex normals [V, 3]: sum of the cross products of the faces around each vertex."""
    out[:] = 0
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
def _shade(normal: Floats, colours: Floats, light: Floats, ambient: float, specular: float, out: Floats) -> None:
    """Lambert with a sky-weighted ambient term and a Blinn highlight of exponent 16, viewed along +z."""
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
def _triangle(canvas: Canvas, a: int, b: int, c: int) -> None:
    """Rasterise one front-facing triangle: barycentric depth and colour at every sample centre inside it."""
    screen, side = canvas.screen, canvas.depth.shape[0]
    x0, y0, z0 = screen[a, 0], screen[a, 1], screen[a, 2]
    x1, y1, z1 = screen[b, 0] - x0, screen[b, 1] - y0, screen[b, 2]
    x2, y2, z2 = screen[c, 0] - x0, screen[c, 1] - y0, screen[c, 2]
    area = x1 * y2 - x2 * y1
    if area >= np.float32(-1e-9) or min(z0, z1, z2) < NEAR:
        return
    half, zero, one = np.float32(0.5), np.float32(0), np.float32(1)
    left = max(0, int(np.ceil(x0 + min(zero, x1, x2) - half)))
    right = min(side - 1, int(np.floor(x0 + max(zero, x1, x2) - half)))
    top = max(0, int(np.ceil(y0 + min(zero, y1, y2) - half)))
    bottom = min(side - 1, int(np.floor(y0 + max(zero, y1, y2) - half)))
    inverse = one / area
    for y in range(top, bottom + 1):
        py = np.float32(y) + half - y0
        for x in range(left, right + 1):
            px = np.float32(x) + half - x0
            w1 = (px * y2 - x2 * py) * inverse
            w2 = (x1 * py - px * y1) * inverse
            w0 = one - w1 - w2
            if w0 < zero or w1 < zero or w2 < zero:
                continue
            z = w0 * z0 + w1 * z1 + w2 * z2
            if z < canvas.depth[y, x]:
                canvas.depth[y, x] = z
                for k in range(3):
                    mix = w0 * canvas.shade[a, k] + w1 * canvas.shade[b, k] + w2 * canvas.shade[c, k]
                    canvas.colour[y, x, k] = mix


@jit
def resolve(canvas: Canvas, samples: int, y: int, x: int, out: Floats) -> float:
    """Average the samples of one pixel: the body's colour, premultiplied, into out [3]; return its coverage."""
    out[:] = 0
    covered = 0
    for j in range(y * samples, (y + 1) * samples):
        for i in range(x * samples, (x + 1) * samples):
            if canvas.depth[j, i] < FAR:
                covered += 1
                for c in range(3):
                    out[c] += canvas.colour[j, i, c]
    share = np.float32(1.0) / np.float32(samples * samples)
    for c in range(3):
        out[c] *= share
    return covered * share
