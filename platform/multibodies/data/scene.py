"""Everything in a picture but the body: backdrop, boxes behind, occluders in front, grain, light.

A scene is given in ndc of the uncropped frame and can be looked at through any square view of it, so a re-cropped
picture shows the same scene. Shapes: B row. Colours are linear in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multibodies.data.draws import Draws
from multibodies.data.renderer import Light

Floats = NDArray[np.float32]

BOXES, OCCLUDERS = 6, 3


@dataclass(frozen=True)
class Look:
    """What tells `lab` from `wild`: camera pitch (mean, std in degrees), how much of the crop the body fills, light
    from the side, least ambient light, spread of the backdrop's hue, share of pictures with a sky, of those with a floor."""

    pitch: tuple[float, float]
    fill: tuple[float, float]
    side_light: float
    ambient: tuple[float, float]
    hue: float
    sky: float
    floor: float


LOOKS = {
    "lab": Look((5.0, 6.0), (0.72, 0.92), 0.6, (0.30, 0.60), 0.16, 0.0, 0.65),
    "wild": Look((9.0, 8.0), (0.66, 0.95), 0.9, (0.25, 0.55), 0.24, 0.6, 0.9),
}


class Backdrop(NamedTuple):
    """Backdrops of B rows. `coarse`, `fine`, `ground_noise` are (cells per frame, amount) [B, 2]; `sky` and `ground`
    are colours [B, 3]; `horizon` [B] is the ground's upper edge in ndc (beyond the frame: none)."""

    base: Floats
    coarse: Floats
    fine: Floats
    sky: Floats
    sky_amount: Floats
    ground: Floats
    ground_noise: Floats
    horizon: Floats
    boxes: Floats  # [B, 6, 4]: x0, y0, x1, y1
    box_colours: Floats  # [B, 6, 3]
    box_count: NDArray[np.int64]


class Occluders(NamedTuple):
    """Ellipses and rectangles in front of B rows: centre [B, 3, 2], half axes [B, 3, 2], (cos, sin) [B, 3, 2]."""

    count: NDArray[np.int64]
    centre: Floats
    axes: Floats
    direction: Floats
    ellipse: NDArray[np.bool_]
    colours: Floats
    noise: Floats  # [B, 3, 2]: cells, amount


class Scene(NamedTuple):
    """All of it, with the grain's strength [B] and the bits [B] that seed the hashed noise."""

    backdrop: Backdrop
    occluders: Occluders
    light: Light
    grain: Floats
    bits: NDArray[np.uint64]


def draw_scene(draws: Draws, look: Look, clutter: float) -> Scene:
    """Draw the scenes of B rows; clutter 0 is a plain backdrop without occluders or grain, 1 a busy one."""
    grain = draws.u("grain")
    strength = np.where(grain[:, 0] < 0.5, (1 + 8 * grain[:, 1]) / 255 * clutter, 0.0)
    return Scene(
        _backdrop(draws, look, clutter),
        _occluders(draws, clutter),
        _light(draws, look),
        strength.astype(np.float32),
        draws.bits,
    )


def _light(draws: Draws, look: Look) -> Light:
    """Mostly from above and from the camera's side."""
    u = draws.u("light")
    side = look.side_light * draws.n("light")[:, 0]
    towards = np.stack([side, -(-0.1 + 1.2 * u[:, 0]), -(0.25 + 0.75 * u[:, 1])], axis=1)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    ambient = look.ambient[0] + (look.ambient[1] - look.ambient[0]) * u[:, 2]
    return Light(
        towards.astype(np.float32), ambient.astype(np.float32), (0.2 * u[:, 3]).astype(np.float32)
    )


def _backdrop(draws: Draws, look: Look, clutter: float) -> Backdrop:
    u, boxes = draws.u("backdrop"), draws.u("boxes").reshape(-1, BOXES, 7)
    base = 0.1 + 0.85 * u[:, :1] + look.hue * draws.n("backdrop")
    corner = boxes[..., :2] * 2.5 - 1.5
    size = 0.06 + 0.94 * boxes[..., 2:4]
    has_ground = u[:, 1] < look.floor
    fields = (
        base,
        np.stack([2 + np.floor(3 * u[:, 2]), clutter * (0.1 + 0.7 * u[:, 3])], axis=1),
        np.stack([8 + np.floor(24 * u[:, 4]), clutter * 0.25 * u[:, 5]], axis=1),
        0.3 + 0.7 * u[:, 6:9],
        np.where(u[:, 9] < look.sky, 0.7, 0.0),
        0.15 + 0.75 * u[:, 10:13],
        np.stack([2 + np.floor(14 * u[:, 13]), np.full(len(u), 0.4 * clutter)], axis=1),
        np.where(has_ground, -0.1 + 0.9 * u[:, 14], np.inf),
        np.concatenate([corner, corner + size], axis=-1),
        boxes[..., 4:],
    )
    count = np.floor((BOXES + 1) * u[:, 15] * clutter).astype(int)
    return Backdrop(*(f.astype(np.float32) for f in fields), box_count=count)


def _occluders(draws: Draws, clutter: float) -> Occluders:
    """One to three, in a share clutter^2 / 2 of the rows; half axes up to 0.64 of the frame's half at clutter 1."""
    u = draws.u("occluders")
    each = u[:, 2 : 2 + OCCLUDERS * 12].reshape(-1, OCCLUDERS, 12)
    count = np.where(u[:, 0] < 0.5 * clutter**2, 1 + np.floor(OCCLUDERS * u[:, 1]), 0).astype(int)
    angle = np.pi * each[..., 4]
    fields = (
        1.6 * each[..., :2] - 0.8,
        (0.12 + 0.52 * each[..., 2:4]) * (0.5 + 0.5 * clutter),
        np.stack([np.cos(angle), np.sin(angle)], axis=-1),
    )
    noise = np.stack([2 + np.floor(18 * each[..., 9]), 0.1 + 0.5 * each[..., 10]], axis=-1).astype(
        np.float32
    )
    centre, axes, direction = (f.astype(np.float32) for f in fields)
    return Occluders(
        count, centre, axes, direction, each[..., 5] < 0.4, each[..., 6:9].astype(np.float32), noise
    )
