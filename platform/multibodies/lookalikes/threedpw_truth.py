"""What is true of 3DPW's look-alike: persons in a frame, and their pictures. Legend: K joint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg

from multibodies.lookalikes.people import Floats, Person, draw_picture, project

SIZE = (1080, 1920)
INTRINSICS = np.array([[1961.85, 0.0, 540.0], [0.0, 1969.23, 960.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True, eq=False)
class Truth:
    """A person in a frame: in the world and, moved as points, in the camera.

    camera [4, 4]; theta [24, 3] with the root in the camera's frame; j24 [24, 3], h36m17 [17, 3],
    smpl24 [24, 3] in the camera's frame; pixels [24, 2] of j24; points [18, 3] is `poses2d`.
    """

    split: str
    sequence: str
    person: int
    frame: int
    valid: bool
    image: Path
    world: Person
    camera: Floats
    theta: Floats
    points: Floats

    def _seen(self, points: Floats) -> Floats:
        return points @ self.camera[:3, :3].T + self.camera[:3, 3]

    @property
    def j24(self) -> Floats:
        return self._seen(self.world.j24)

    @property
    def h36m17(self) -> Floats:
        return self._seen(self.world.h36m17)

    @property
    def smpl24(self) -> Floats:
        return self._seen(self.world.smpl24)

    @property
    def pixels(self) -> Floats:
        return project(self.j24, INTRINSICS)

    @property
    def kept(self) -> bool:
        """Whether the frame is to become a record."""
        return self.valid and bool((self.points[:, 2] > 0).any())


def draw_pictures(truths: list[Truth], rng: np.random.Generator) -> None:
    """Draw both persons of each frame into its picture."""
    people = [[t for t in truths if t.person == p] for p in (0, 1)]
    for first, second in zip(*people, strict=True):
        picture = draw_picture(SIZE, first.pixels, rng)
        low = np.clip(np.floor(second.pixels.min(0)).astype(int) - 8, 0, SIZE)
        high = np.clip(np.ceil(second.pixels.max(0)).astype(int) + 8, 0, SIZE)
        marks = draw_picture(tuple((high - low).tolist()), second.pixels - low, rng)
        there = picture[low[1] : high[1], low[0] : high[0]]
        coloured = np.ptp(marks, axis=-1) > 0  # the floor is grey
        there[coloured] = marks[coloured]
        first.image.parent.mkdir(parents=True, exist_ok=True)
        first.image.write_bytes(simplejpeg.encode_jpeg(picture, quality=90))
