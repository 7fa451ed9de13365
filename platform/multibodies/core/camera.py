"""SPIN's weak-perspective camera: focal length 5000 px at 224 px, identity rotation.

Shapes: K points. Frame: x right, y down, z forward, metres. Image: ndc, [-1, 1] over the crop, so
that nothing depends on the crop's size in pixels. A camera is (s, tx, ty): scale in 1/m, shift in
metres.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

FOCAL: Final = 5000.0
IMAGE: Final = 224.0
FOCAL_NDC: Final = 2 * FOCAL / IMAGE


def camera_translation(cam: Tensor) -> Tensor:
    """[tx, ty, 2 * 5000 / (224 s + 1e-9)] in metres: [..., 3] -> [..., 3] (SPIN's trainer)."""
    _check_camera(cam)
    s, tx, ty = cam.unbind(-1)
    return torch.stack([tx, ty, 2 * FOCAL / (IMAGE * s + 1e-9)], -1)


def project(points: Tensor, cam: Tensor) -> Tensor:
    """x = 2 (5000/224) (X + tx) / (Z + tz), y likewise, in ndc.

    points [..., K, 3], cam [..., 3] -> [..., K, 2]. Raises ValueError unless the leading
    dimensions are equal.
    """
    if points.ndim < 2 or points.shape[-1] != 3 or points.shape[:-2] != cam.shape[:-1]:
        raise ValueError(
            f"need points [..., K, 3], cam [..., 3], got {tuple(points.shape)}, {tuple(cam.shape)}"
        )
    moved = points + camera_translation(cam).unsqueeze(-2)
    return FOCAL_NDC * moved[..., :2] / moved[..., 2:]


def crop_camera(cam: Tensor, centre: Tensor, half_side: Tensor) -> Tensor:
    """Camera of the view cropped to a square: s/h, tx - cx/s, ty - cy/s.

    ``cam`` [..., 3], ``centre`` [..., 2] and ``half_side`` h [...] in ndc of the old view
    -> [..., 3]. Then x_new = (x_old - centre)/h exactly at depth Z = 0 and to first order in Z/tz
    elsewhere: the new camera keeps focal length 5000 and looks straight ahead, as every
    weak-perspective network assumes.
    """
    _check_camera(cam)
    if centre.shape != (*cam.shape[:-1], 2) or half_side.shape != cam.shape[:-1]:
        shapes = [tuple(x.shape) for x in (cam, centre, half_side)]
        raise ValueError(f"need cam [..., 3], centre [..., 2], half_side [...], got {shapes}")
    s, shift = cam[..., :1], cam[..., 1:]
    return torch.cat([s / half_side.unsqueeze(-1), shift - centre / s], -1)


def _check_camera(cam: Tensor) -> None:
    if cam.ndim < 1 or cam.shape[-1] != 3:
        raise ValueError(f"expected a camera [..., 3] = (s, tx, ty), got {tuple(cam.shape)}")
