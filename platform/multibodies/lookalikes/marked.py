"""Photographs of one person each, as the sets of pictures have them, and what is true of them.

Legend: K = 24 joints (j24). Continuous pixels of the whole picture. float64.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from multibodies.core.body import BodyArrays
from multibodies.lookalikes.people import Floats, draw_picture, project, sample_person

SIZE = (240, 320)  # width, height
FOCAL = 480.0  # a person of 1.7 m, 4 m away, is 200 pixels tall


class Truth(NamedTuple):
    """A person in a picture: the file, all joints [24, 2] in its pixels, those labelled as seen."""

    path: Path
    points: Floats
    visible: tuple[int, ...] = ()  # j24


def sample_points(body: BodyArrays, rng: np.random.Generator, centre: float = 0.5) -> Floats:
    """Return the joints [24, 2] of a person about `centre` of the picture's width."""
    width, height = SIZE
    camera = np.array([[FOCAL, 0, centre * width], [0, FOCAL, height / 2], [0, 0, 1.0]])
    return project(sample_person(body, rng).j24, camera)


def save_picture(path: Path, points: Floats, rng: np.random.Generator) -> None:
    """Draw the joints [24, 2] on a picture and save it in the format of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # PNG takes no notice of the two.
    Image.fromarray(draw_picture(SIZE, points, rng)).save(path, quality=95, subsampling=0)
