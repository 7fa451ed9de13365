"""Everything in a picture but the body: backdrop, boxes behind, occluders in front, grain, light.

A scene is given in ndc of the uncropped frame and can be looked at through any square view of it,
so a re-cropped picture shows the same scene. Shapes: B row. Colours are in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multibodies.data.draws import Draws
from multibodies.data.renderer import Lamp

Floats = NDArray[np.float32]

BOXES, OCCLUDERS = 6, 3


@dataclass(frozen=True)
class Look:
    """What tells `lab` from `wild`."""

    pitch: tuple[float, float]  # degrees by which the camera looks down: mean, standard deviation
    fill: tuple[float, float]  # least and greatest share of the crop that the body fills
    side_light: float  # spread of the light to the sides
    ambient: tuple[float, float]  # least and greatest ambient light
    hue: float  # spread of the backdrop's hue
    sky: float  # share of pictures with a sky
    floor: float  # share of pictures with a ground


LOOKS = {
    "lab": Look((5.0, 6.0), (0.72, 0.92), 0.6, (0.30, 0.60), 0.16, 0.0, 0.65),
    "wild": Look((9.0, 8.0), (0.66, 0.95), 0.9, (0.25, 0.55), 0.24, 0.6, 0.9),
}


class Light(NamedTuple):
    """Lights of B rows: direction towards the light [B, 3], ambient [B], specular [B]."""

    direction: Floats
    ambient: Floats
    specular: Floats

    def lamp(self, row: int) -> Lamp:
        """Return one row's light."""
        return Lamp(self.direction[row], self.ambient[row], self.specular[row])


class Backdrop(NamedTuple):
    """Backdrops of B rows."""

    base: Floats  # [B, 3] colour
    coarse: Floats  # [B, 2] cells per frame, amount; likewise fine and ground_noise
    fine: Floats
    sky: Floats  # [B, 3] colour
    sky_amount: Floats  # [B]
    ground: Floats  # [B, 3] colour
    ground_noise: Floats
    horizon: Floats  # [B] upper edge of the ground in ndc, infinite without one
    boxes: Floats  # [B, 6, 4]: x0, y0, x1, y1
    box_colours: Floats  # [B, 6, 3]
    box_count: NDArray[np.int64]  # [B]


class Occluders(NamedTuple):
    """Ellipses and rectangles in front of B rows."""

    number: NDArray[np.int64]  # [B]
    centre: Floats  # [B, 3, 2]
    axes: Floats  # [B, 3, 2] half axes
    direction: Floats  # [B, 3, 2] cos, sin
    ellipse: NDArray[np.bool_]  # [B, 3]
    colours: Floats  # [B, 3, 3]
    noise: Floats  # [B, 3, 2] cells per frame, amount


class Scene(NamedTuple):
    """All of it, with the grain's strength [B] and the bits [B] that seed the hashed noise."""

    backdrop: Backdrop
    occluders: Occluders
    light: Light
    grain: Floats
    bits: NDArray[np.uint64]


def draw_scene(draws: Draws, look: Look, clutter: float) -> Scene:
    """Draw B scenes; clutter 0 is a plain backdrop without occluders or grain, 1 a busy one."""
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
    specular = 0.2 * u[:, 3]
    return Light(*(f.astype(np.float32) for f in (towards, ambient, specular)))


def _backdrop(draws: Draws, look: Look, clutter: float) -> Backdrop:
    u, boxes = draws.u("backdrop"), draws.u("boxes").reshape(-1, BOXES, 7)
    corner = boxes[..., :2] * 2.5 - 1.5
    fields = {
        "base": 0.1 + 0.85 * u[:, :1] + look.hue * draws.n("backdrop"),
        "coarse": _pairs(2 + np.floor(3 * u[:, 2]), clutter * (0.1 + 0.7 * u[:, 3])),
        "fine": _pairs(8 + np.floor(24 * u[:, 4]), clutter * 0.25 * u[:, 5]),
        "sky": 0.3 + 0.7 * u[:, 6:9],
        "sky_amount": np.where(u[:, 9] < look.sky, 0.7, 0.0),
        "ground": 0.15 + 0.75 * u[:, 10:13],
        "ground_noise": _pairs(2 + np.floor(14 * u[:, 13]), np.full(len(u), 0.4 * clutter)),
        "horizon": np.where(u[:, 1] < look.floor, -0.1 + 0.9 * u[:, 14], np.inf),
        "boxes": np.concatenate([corner, corner + 0.06 + 0.94 * boxes[..., 2:4]], axis=-1),
        "box_colours": boxes[..., 4:],
    }
    count = np.floor((BOXES + 1) * u[:, 15] * clutter).astype(int)
    return Backdrop(**{name: f.astype(np.float32) for name, f in fields.items()}, box_count=count)


def _occluders(draws: Draws, clutter: float) -> Occluders:
    """One to three in clutter^2 / 2 of the rows; at clutter 1, half axes of 0.12 to 0.64."""
    u = draws.u("occluders")
    each = u[:, 2 : 2 + OCCLUDERS * 12].reshape(-1, OCCLUDERS, 12)
    hit = u[:, 0] < 0.5 * clutter**2
    angle = np.pi * each[..., 4]
    fields = {
        "centre": 1.6 * each[..., :2] - 0.8,
        "axes": (0.12 + 0.52 * each[..., 2:4]) * (0.5 + 0.5 * clutter),
        "direction": _pairs(np.cos(angle), np.sin(angle)),
        "colours": each[..., 6:9],
        "noise": _pairs(2 + np.floor(18 * each[..., 9]), 0.1 + 0.5 * each[..., 10]),
    }
    return Occluders(
        number=np.where(hit, 1 + np.floor(OCCLUDERS * u[:, 1]), 0).astype(int),
        ellipse=each[..., 5] < 0.4,
        **{name: f.astype(np.float32) for name, f in fields.items()},
    )


def _pairs(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([a, b], axis=-1)
