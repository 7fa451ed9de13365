"""One person in one picture as a dataset describes it, before anything is cropped.

Legend: K joint, in the orders of `core.joints`. Pixels are continuous coordinates of the whole
picture: the first pixel covers [0, 1), so its centre is .5 (a label that is a pixel's index gets
.5 added, a MATLAB index .5 taken away). 3D is metres in the camera's frame (x right, y down, z
forward), wherever its origin: rows are centred later.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
GENDERS = ("neutral", "male", "female")


class Picture(NamedTuple):
    """Where the pixels are: an image file, or the frame of that index (from 0) in a video."""

    path: Path
    frame: int | None = None


class Box(NamedTuple):
    """The square that a network is to see, in pixels of the picture: centre and side, padded."""

    x: float
    y: float
    side: float


@dataclass(frozen=True, eq=False)
class Record:
    """One person. What a set does not know is None; a joint it does not know has confidence 0.

    image_id is unique within the dataset and the same in every split and run of a layout; source is
    the picture's path within the set, for people. keypoints [24, 3] (j24) and openpose [25, 3] are
    x, y, confidence; joints_3d [24, 4] (j24) has a last column of confidence; h36m17 [17, 3] is
    what MPJPE is measured against; theta [24, 3] axis-angle with the root (gamma) in the camera's
    frame, beta [10]. size is the picture's width and height as the labels give them.
    """

    image_id: str
    picture: Picture
    source: str
    box: Box
    subject: str
    sequence: str
    frame: int = 0
    gender: str = "neutral"
    keypoints: Floats | None = None
    openpose: Floats | None = None
    joints_3d: Floats | None = None
    h36m17: Floats | None = None
    theta: Floats | None = None
    beta: Floats | None = None
    size: tuple[int, int] | None = None


class Fault(NamedTuple):
    """A record that cannot be made: its image_id, and one line that says why."""

    image_id: str
    reason: str


Item = Record | Fault
Plain = dict[str, Any]
