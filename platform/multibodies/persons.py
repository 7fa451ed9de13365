"""n hypotheses for a person in a photograph, out of the M that a network gives.

Shapes: M hypothesis, N output, K = 24 joints (j24), 14 of H36M. Each output is a hypothesis of the
network's own, a medoid or a drawn one, because a centroid of joints has no mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from multibodies.core.drawing import draw_order, seed_of_image
from multibodies.core.quantizer import Quantised, hypothesis_weights, quantise
from multibodies.core.rotations import matrix_to_axis_angle, rotation_6d_to_matrix
from multibodies.data.crops import BOX_SCALE, Square, from_ndc, square_around
from multibodies.errors import UserError
from multibodies.hypotheses import StoredHypotheses

Box = tuple[float, float, float, float]
Picture = npt.NDArray[np.uint8]
Chosen = tuple[list[int], list[float]]
UNITS = "metres, radians; x right, y down, z forward; keypoints in pixels of the image"


@dataclass(frozen=True)
class Prediction:
    """n bodies of one person, the heaviest cluster first; drawn ones in their order, of equal
    mass."""

    stored: StoredHypotheses
    chosen: tuple[int, ...]
    mass: tuple[float, ...]
    square: Square

    def rows(self) -> list[dict[str, Any]]:
        """Return the bodies as plain JSON values; keypoints in pixels of the photograph."""
        return [self._row(rank) for rank in range(len(self.chosen))]

    def _row(self, rank: int) -> dict[str, Any]:
        stored, index = self.stored, self.chosen[rank]
        matrix = rotation_6d_to_matrix(torch.from_numpy(stored.rotation_6d[0, index]).double())
        return {
            "hypothesis": index,
            "weight": self.mass[rank],
            "log_density": float(stored.log_density[0, index]),
            "theta": matrix_to_axis_angle(matrix).numpy().round(6).tolist(),
            "beta": stored.beta[0, index].tolist(),
            "camera": stored.camera[0, index].tolist(),
            "joints_j24": stored.joints_j24[0, index].tolist(),
            "keypoints_px": from_ndc(stored.keypoints_2d_pred[0, index], self.square).tolist(),
        }


def trained_size(meta: Mapping[str, Any], where: str | Path) -> int:
    """Return the side in pixels that a checkpoint was trained at.

    Raises UserError if it says none.
    """
    recipe = meta.get("recipe")
    data = recipe.get("data") if isinstance(recipe, Mapping) else None
    for source in (meta, data):
        if isinstance(source, Mapping) and "image_size" in source:
            return int(source["image_size"])
    raise UserError(
        f"{where}: its meta has no image_size; give the side it was trained at (--image-size)"
    )


def person_square(photo: Picture, box: Box | None) -> Square:
    """Return the square to look at: about the box, padded as SPIN pads; or about the photograph."""
    if box is not None:
        return square_around(*box, scale=BOX_SCALE)
    height, width = photo.shape[:2]
    return square_around(0, 0, width, height, scale=1)


def choose(
    stored: StoredHypotheses, n: int, flow_weight: float, square: Square, quantizer: str = "kmeans"
) -> Prediction:
    """Take n of the M hypotheses of one image, as `quantizer` of CHOICES says."""
    chosen, mass = CHOICES[quantizer](stored, n, flow_weight)
    return Prediction(stored, tuple(chosen), tuple(mass), square)


def nearest(stored: StoredHypotheses, n: int, alpha: float) -> Chosen:
    """The medoids of weighted K-means (equations 2 and 3), with their clusters' mass."""
    joints = torch.from_numpy(stored.joints_j24).double()
    weights = hypothesis_weights(torch.from_numpy(stored.log_density).double(), alpha)
    search = {"restarts": 2, "rounds": 3}  # a few per cent of the network's time
    quantised: Quantised = quantise(joints, joints, weights, n, representative="medoid", **search)
    return quantised.medoids[0].tolist(), quantised.clusters.mass[0].tolist()


def drawn(stored: StoredHypotheses, n: int, alpha: float) -> Chosen:
    """Random modes (supplement C), drawn by p^alpha and seeded by the image's id."""
    log_density = torch.from_numpy(stored.log_density)
    order = draw_order(log_density, alpha, [seed_of_image(stored.image_id[0])])
    return order[0, :n].tolist(), [1 / n] * n


CHOICES: dict[str, Callable[[StoredHypotheses, int, float], Chosen]] = {
    "kmeans": nearest,
    "random": drawn,
}
