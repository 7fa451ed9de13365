"""People before a pinhole camera, with every label a dataset may carry, and pictures with marks.

Legend: K joint, V vertex. Metres in the camera's frame (x right, y down, z forward); continuous
pixels (the first covers [0, 1)). float64.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
import torch

from multibodies.core.body import BodyArrays, MeshBody
from multibodies.core.joints import J24_FROM_54, OPENPOSE25_FROM_54
from multibodies.core.rotations import axis_angle_to_matrix, matrix_to_axis_angle

Floats = npt.NDArray[np.float64]
UPRIGHT = np.array([np.pi, 0.0, 0.0])  # bodies have y up, cameras y down
COLOURS = np.array(
    [[round(255 * c) for c in colorsys.hsv_to_rgb(k / 24, 1.0, 1.0)] for k in range(24)], np.uint8
)  # RGB of each j24 joint's mark


@dataclass(frozen=True, eq=False)
class Person:
    """A posed body in the camera's frame; points already hold the translation.

    theta [24, 3] with the root in the camera's frame, beta [10], translation [3]: smplx's `transl`.
    """

    theta: Floats
    beta: Floats
    translation: Floats
    gender: str
    joints54: Floats  # smpl24, 21 of smplx's vertices, 9 of SPIN's extra
    h36m17: Floats
    vertices: Floats = field(repr=False)

    @property
    def j24(self) -> Floats:
        """[24, 3]."""
        return self.joints54[list(J24_FROM_54)]

    @property
    def smpl24(self) -> Floats:
        """[24, 3]."""
        return self.joints54[:24]

    @property
    def openpose25(self) -> Floats:
        """[25, 3]."""
        return self.joints54[list(OPENPOSE25_FROM_54)]


def pose_person(
    body: BodyArrays, theta: Floats, beta: Floats, translation: Floats, gender: str = "neutral"
) -> Person:
    """Pose a body through smplx's mesh, in float64."""
    mesh, h36m = _mesh(body)
    rotations = axis_angle_to_matrix(torch.from_numpy(np.asarray(theta, np.float64)))
    with torch.inference_mode():
        shape = torch.from_numpy(np.asarray(beta, np.float64))[None]
        vertices = mesh(rotations[None], shape)
        joints = mesh.joints54(rotations[None], shape)
        seen = h36m @ vertices[0]
    shift = np.asarray(translation, np.float64)
    return Person(
        np.asarray(theta, np.float64),
        np.asarray(beta, np.float64),
        shift,
        gender,
        joints[0].numpy() + shift,
        seen.numpy() + shift,
        vertices[0].numpy() + shift,
    )


def sample_person(
    body: BodyArrays,
    rng: np.random.Generator,
    *,
    depth: float = 4.0,
    gender: str = "neutral",
    spread: float = 0.25,
) -> Person:
    """Draw a person who stands upright about `depth` metres away, near the optical axis, turned any
    way, joints bent by normal angles of `spread` radians."""
    theta = spread * rng.normal(size=(24, 3))
    theta[0] = turn(UPRIGHT, [0.0, rng.uniform(-np.pi, np.pi), 0.0])
    shift = np.array([rng.uniform(-0.3, 0.3), rng.uniform(-0.2, 0.2), depth + rng.uniform(0, 0.5)])
    return pose_person(body, theta, rng.normal(size=10), shift, gender)


def turn(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    """Return the axis-angle of R(first) R(second)."""
    one, two = (
        axis_angle_to_matrix(torch.tensor(np.asarray(a, np.float64))) for a in (first, second)
    )
    return matrix_to_axis_angle(one @ two).numpy()


def project(points: Floats, intrinsics: Floats) -> Floats:
    """Pinhole projection: points [K, 3], intrinsics [3, 3] -> continuous pixels [K, 2]."""
    seen = points @ np.asarray(intrinsics, np.float64).T
    return np.asarray(seen[:, :2] / seen[:, 2:])


def draw_picture(
    size: tuple[int, int], points: Floats, rng: np.random.Generator, radius: float = 4.0
) -> npt.NDArray[np.uint8]:
    """Return an RGB picture [H, W, 3] of a grey noise floor with a disc of COLOURS[k] at each j24
    joint [24, 2], so that pixels can be held against labels after any crop."""
    width, height = size
    image = rng.integers(90, 110, (height, width, 1), np.uint8).repeat(3, axis=2)
    image = np.ascontiguousarray(image)
    for colour, (x, y) in zip(COLOURS.tolist(), points, strict=True):
        # cv2's coordinates are pixel indices, with 4 fractional bits here.
        centre = (round(16 * (x - 0.5)), round(16 * (y - 0.5)))
        cv2.circle(image, centre, round(16 * radius), colour, -1, cv2.LINE_AA, 4)
    return image


@lru_cache(maxsize=4)
def _mesh(body: BodyArrays) -> tuple[MeshBody, torch.Tensor]:
    return MeshBody(body, dtype=torch.float64), body.J_regressor_h36m.double()
