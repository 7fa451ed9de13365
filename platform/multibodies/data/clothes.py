"""Vertex colours: the embedded body is nude, so every picture dresses it.

Regions come from the skinning weights and the rest pose (y up, metres), so any body in SMPL's
topology is dressed alike. Shapes: B row, V vertex.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multibodies.core.body import BodyArrays
from multibodies.core.joints import FACE_VERTICES
from multibodies.data.draws import Draws
from multibodies.data.jit import jit
from multibodies.data.subjects import WARDROBE, Subjects

Floats = NDArray[np.float32]

SKIN, TORSO, ARM, LEG, FOOT, HAIR, LONG_HAIR, EYE, LIP = range(9)
PLAIN, STRIPES, CHECKS, OPEN = range(4)  # patterns of a shirt
SLEEVES = np.array([0.22, 0.34, 0.44, 0.64])  # |x| up to which an arm is covered, metres
HEMS = np.array([-0.42, -0.58, -0.90, -1.05])  # y down to which a leg is covered, metres
SHOE_TOP = -1.04
NOSE, _, LEFT_EYE, _, LEFT_EAR = FACE_VERTICES


class Dress(NamedTuple):
    """Outfits of B rows."""

    colours: Floats  # [B, 7, 3]: skin, hair, lips, shirt, its second colour, trousers, shoes
    style: NDArray[np.int64]  # [B] hair: 0 bald, 1 short, 2 long
    sleeve: Floats  # [B]
    hem: Floats  # [B]
    pattern: NDArray[np.int64]  # [B]
    frequency: Floats  # [B] of the pattern, radians per metre
    shoes: NDArray[np.bool_]  # [B]

    def outfit(self, row: int) -> tuple[Floats, int, float, float, int, float, bool]:
        """Return one row in the order of `paint`."""
        lengths = self.sleeve[row], self.hem[row]
        pattern = self.pattern[row], self.frequency[row]
        return (self.colours[row], self.style[row], *lengths, *pattern, self.shoes[row])


def body_regions(body: BodyArrays) -> NDArray[np.int8]:
    """Return the region code [V] of every vertex."""
    rest, part = body.v_template.numpy(), body.weights.numpy().argmax(1)
    y, eye = rest[:, 1], rest[LEFT_EYE]
    region = np.full(len(rest), SKIN, np.int8)
    region[np.isin(part, [0, 1, 2, 4, 5])] = LEG
    region[np.isin(part, [3, 6, 9, 13, 14]) | ((part == 0) & (y > -0.2))] = TORSO
    region[np.isin(part, [16, 17, 18, 19])] = ARM
    region[np.isin(part, [7, 8, 10, 11]) & (y < SHOE_TOP)] = FOOT
    region[np.isin(part, [12, 15]) & (rest[:, 2] < 0) & (y > eye[1] - 0.18)] = LONG_HAIR
    back = (rest[:, 2] < rest[LEFT_EAR, 2] - 0.005) & (y > eye[1] - 0.06)
    region[(part == 15) & ((y > eye[1] + 0.055) | back)] = HAIR
    region[np.linalg.norm(rest - (rest[NOSE] - [0, 0.052, 0.022]), axis=1) < 0.016] = LIP
    region[np.linalg.norm(np.abs(rest) - np.abs(eye), axis=1) < 0.012] = EYE
    return region


def draw_outfits(people: Subjects, who: NDArray[np.int64], draws: Draws) -> Dress:
    """Choose clothes from each subject's wardrobe, tinted by the row's light."""
    u = draws.u("outfit")
    pick = (u[:, :4] * WARDROBE).astype(int)
    cloth = np.take_along_axis(people.wardrobe[who], pick[:, :, None], axis=1)
    cloth *= [[1.0], [1.0], [1.0], [0.8]]
    skin = people.skin[who]
    body = np.stack([skin, people.hair[who], skin * [0.85, 0.6, 0.6]], axis=1)
    tint = (1 + 0.08 * draws.n("tint")) * (0.75 + 0.4 * u[:, 4:5])
    colours = np.clip(np.concatenate([body, cloth], axis=1), 0, 1) * tint[:, None]
    pattern = np.digitize(u[:, 5], [0.48, 0.78, 0.90])
    return Dress(
        colours.astype(np.float32),
        people.style[who],
        SLEEVES[(u[:, 7] * 4).astype(int)].astype(np.float32),
        HEMS[(u[:, 8] * 4).astype(int)].astype(np.float32),
        pattern,
        np.where(pattern == STRIPES, 60 + 100 * u[:, 6], 70.0).astype(np.float32),
        u[:, 9] < 0.85,
    )


@jit
def paint(
    regions: NDArray[np.int8],
    rest: Floats,
    colours: Floats,
    style: int,
    sleeve: float,
    hem: float,
    pattern: int,
    frequency: float,
    shoes: bool,
    out: Floats,
) -> None:
    """Write the vertex colours [V, 3] of one row of `Dress`."""
    for v in range(regions.shape[0]):
        region, x, y = regions[v], rest[v, 0], rest[v, 1]
        chosen = 0
        if region == TORSO or (region == ARM and abs(x) < sleeve):
            front = region == TORSO and rest[v, 2] > 0
            chosen = 4 if _second_colour(pattern, frequency, x, y, front) else 3
        elif region == LEG and y > hem:
            chosen = 5
        elif region == FOOT and shoes:
            chosen = 6
        elif region == LIP:
            chosen = 2
        elif (region == HAIR and style > 0) or (region == LONG_HAIR and style > 1):
            chosen = 1
        for c in range(3):
            out[v, c] = 0.08 if region == EYE else colours[chosen, c]


@jit
def _second_colour(pattern: int, frequency: float, x: float, y: float, front: bool) -> bool:
    """Whether a place of the shirt has its second colour."""
    if pattern == STRIPES:
        return np.sin(y * frequency) > 0
    if pattern == CHECKS:
        return np.sin(y * frequency) * np.sin(x * frequency) > 0
    return pattern == OPEN and front and abs(x) < 0.05
