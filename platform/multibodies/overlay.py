"""Dressed bodies over a picture and from the side, for figures. No GL, no display.

Shapes: B body, V vertex, S picture side. Camera frame (x right, y down, z forward), metres.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multibodies.core.body import BodyArrays, MeshBody
from multibodies.core.camera import camera_translation
from multibodies.data.clothes import (
    ARM,
    EYE,
    FOOT,
    HAIR,
    LEG,
    LIP,
    LONG_HAIR,
    SKIN,
    SLEEVES,
    TORSO,
    body_regions,
)
from multibodies.data.renderer import Lamp, new_canvas, rasterise, resolve

Picture = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Colour = tuple[float, float, float]

SAMPLES = 2  # anti-aliasing, samples per pixel side
PAPER: Colour = (0.95, 0.95, 0.94)
SHIRT: Colour = (0.33, 0.53, 0.75)
OUTFIT: dict[int, Colour] = {
    SKIN: (0.80, 0.62, 0.51),
    LEG: (0.25, 0.27, 0.33),
    FOOT: (0.20, 0.16, 0.14),
    HAIR: (0.25, 0.18, 0.13),
    LONG_HAIR: (0.25, 0.18, 0.13),
    EYE: (0.08, 0.08, 0.08),
    LIP: (0.62, 0.37, 0.33),
}


class Painter:
    """Poses and draws bodies of one SMPL-format model in one outfit."""

    def __init__(self, arrays: BodyArrays) -> None:
        self.mesh = MeshBody(arrays)
        self.faces = np.ascontiguousarray(arrays.faces.numpy().astype(np.uint32))
        regions, rest = body_regions(arrays), arrays.v_template.numpy()
        sleeved = (regions == ARM) & (np.abs(rest[:, 0]) < SLEEVES[2])
        self.shirt = (regions == TORSO) | sleeved
        self.colours = np.array([OUTFIT.get(int(r), OUTFIT[SKIN]) for r in regions], np.float32)

    @torch.inference_mode()
    def pose(self, rotations: Tensor, beta: Tensor) -> F32:
        """Rotations [B, 24, 3, 3], beta [B, 10] -> vertices [B, V, 3]."""
        return np.asarray(self.mesh(rotations, beta).numpy(), np.float32)

    def over(self, picture: Picture, vertices: F32, camera: F32, shirt: Colour = SHIRT) -> Picture:
        """Draw a body [V, 3] under its camera (s, tx, ty) over a crop [S, S, 3]."""
        if picture.shape != (len(picture), len(picture), 3):
            raise ValueError(f"expected a square picture [S, S, 3], got {picture.shape}")
        shift = camera_translation(torch.from_numpy(camera.astype(np.float64))).numpy()
        body, cover = self._draw(vertices, shift.astype(np.float32), len(picture), shirt)
        mixed = body + (1 - cover[..., None]) * (picture / np.float32(255))
        return _to_bytes(mixed.astype(np.float32))

    def beside(self, vertices: F32, extent: float, size: int, shirt: Colour = SHIRT) -> Picture:
        """Draw a body [V, 3] as seen from the picture's right, so that the camera stands to the
        left.

        `extent` metres fill the picture.
        """
        turned = from_the_side(vertices)
        centred = turned - (turned.min(0) + turned.max(0)) / 2
        camera = np.array([2 / extent, 0, 0], np.float32)
        plain = np.tile(np.array(PAPER) * 255, (size, size, 1)).round().astype(np.uint8)
        return self.over(plain, centred, camera, shirt)

    def _draw(self, vertices: F32, shift: F32, size: int, shirt: Colour) -> tuple[F32, F32]:
        """Return the body premultiplied [S, S, 3] and its coverage [S, S]."""
        colours = np.where(self.shirt[:, None], np.array(shirt, np.float32), self.colours)
        towards = np.array([0.35, -0.6, -0.8], np.float32)
        towards /= np.linalg.norm(towards)
        lamp = Lamp(towards, np.float32(0.65), np.float32(0.05))
        canvas = new_canvas(size, SAMPLES, len(vertices), len(self.faces))
        points = np.ascontiguousarray(vertices, np.float32)
        rasterise(points, self.faces, colours, shift, lamp, canvas)
        body, cover = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
        resolve(canvas, SAMPLES, body, cover)
        return body, cover


def from_the_side(points: F32) -> F32:
    """Turn points [..., 3] by a quarter about the vertical, depth to width: (x, y, z) -> (z, y,
    -x).
    """
    return np.stack([points[..., 2], points[..., 1], -points[..., 0]], -1)


def common_extent(bodies: Sequence[F32], margin: float = 1.1) -> float:
    """Return the metres that show every body from the side whole, at one scale."""
    sides = [from_the_side(body)[:, :2] for body in bodies]
    return float(margin * max((side.max(0) - side.min(0)).max() for side in sides))


def _to_bytes(picture: F32) -> Picture:
    return np.asarray((picture.clip(0, 1) * 255).round(), np.uint8)
