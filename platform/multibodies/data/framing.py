"""Cameras and crops of the generator: where the body stands, and the paper's re-cropping.

Shapes: B row, K joint. Cameras are SPIN's (s, tx, ty); ndc is [-1, 1] over the crop.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from multibodies.core.camera import crop_camera, project
from multibodies.core.occlusion import draw_strategy, hidden_mask, visible_box
from multibodies.data.draws import Draws
from multibodies.data.jit import jit
from multibodies.data.posing import Bodies
from multibodies.data.scene import Look

Floats = NDArray[np.float32]

MIN_KEPT = 4  # fewer joints left inside the frame: nothing is hidden from this row


class Crop(NamedTuple):
    """How images are hidden and cropped: the shares of `visible_box`, what "head" hides."""

    share: float  # of the rows
    padding: float
    extra: float
    head: str


class Frames(NamedTuple):
    """Views of B rows."""

    camera: Floats  # [B, 3]
    keypoints: Floats  # [B, 24, 2] in ndc of the view
    hidden: NDArray[np.bool_]  # [B, 24] by the strategy
    view: Floats  # [B, 3] centre and half side in ndc of the uncropped frame
    strategy: list[str]  # "none" where nothing was hidden


def frame_bodies(bodies: Bodies, draws: Draws, look: Look, clutter: float) -> Floats:
    """Return cameras [B, 3] in which the body fills a share of the crop.

    Above clutter 0.5, up to a quarter of the rows are enlarged by 1.15 to 2 and shifted, so that
    the frame cuts the body.
    """
    low, high = (bound.astype(np.float64) for bound in _bounds(bodies.vertices))
    extent = (high - low).max(1)
    u = draws.u("frame")
    cut = u[:, 1] < 0.25 * max(0.0, 2 * clutter - 1)
    fill = look.fill[0] + (look.fill[1] - look.fill[0]) * u[:, 0]
    scale = 2 * fill / extent * np.where(cut, 1.15 + 0.85 * u[:, 2], 1.0)
    shift = 0.04 * draws.n("shift") / scale[:, None]
    shift += np.where(cut, extent, 0.0)[:, None] * (0.5 * draws.u("shift") - 0.25)
    return np.concatenate([scale[:, None], shift - (low + high) / 2], axis=1).astype(np.float32)


def whole_frames(bodies: Bodies, camera: Floats) -> Frames:
    """The pictures as framed: nothing hidden."""
    count = len(camera)
    view = np.tile(np.array([0, 0, 1], np.float32), (count, 1))
    return Frames(
        camera,
        project_joints(bodies.j24, camera),
        np.zeros((count, 24), bool),
        view,
        ["none"] * count,
    )


def occlude(frames: Frames, bodies: Bodies, draws: Draws, crop: Crop) -> Frames:
    """Hide joints by the paper's strategies in a share of the rows, and crop these to the rest.

    The crop goes around the joints inside the frame that are not hidden. The body is drawn anew in
    the crop's own camera, so that the labels stay exact.
    """
    uniform = draws.u("occlusion")
    inside = np.all(np.abs(frames.keypoints) < 1, axis=-1)
    chosen = (uniform[:, 0] < crop.share) & np.any(inside, axis=1)
    strategy = draw_strategy(torch.from_numpy(uniform[:, 1].copy()))
    hidden: NDArray[np.bool_] = hidden_mask(strategy, crop.head).numpy()
    hidden &= chosen[:, None]
    hidden &= ((inside & ~hidden).sum(1) >= MIN_KEPT)[:, None]
    names = [
        name if some else "none"
        for name, some in zip(strategy, np.any(hidden, axis=1).tolist(), strict=True)
    ]
    seen = np.where(chosen[:, None], inside & ~hidden, True)
    flagged = np.concatenate([frames.keypoints, seen[..., None]], axis=-1).astype(np.float32)
    centre, half = visible_box(torch.from_numpy(flagged), crop.padding, crop.extra)
    cropped = crop_camera(torch.from_numpy(frames.camera), centre, half).numpy()
    camera = np.where(chosen[:, None], cropped, frames.camera)
    box = np.concatenate([centre.numpy(), half.numpy()[:, None]], axis=1)
    view = np.where(chosen[:, None], box, frames.view).astype(np.float32)
    return Frames(camera, project_joints(bodies.j24, camera), hidden, view, names)


def project_joints(joints: Floats, camera: Floats) -> Floats:
    """Project joints [B, K, 3] into ndc [B, K, 2], in double precision."""
    points, cameras = (torch.from_numpy(a.astype(np.float64)) for a in (joints, camera))
    return project(points, cameras).numpy().astype(np.float32)


def crop_corners(view: Floats) -> Floats:
    """Turn views [B, 3] into x0, y0, x1, y1 [B, 4] in ndc of the uncropped frame."""
    return np.concatenate([view[:, :2] - view[:, 2:], view[:, :2] + view[:, 2:]], axis=1)


@jit
def _bounds(vertices: Floats) -> tuple[Floats, Floats]:
    """Least and greatest x, y of bodies [B, V, 3]: two arrays [B, 2]."""
    low, high = np.empty((len(vertices), 2), np.float32), np.empty((len(vertices), 2), np.float32)
    for row in range(len(vertices)):
        for c in range(2):
            least, most = vertices[row, 0, c], vertices[row, 0, c]
            for v in range(vertices.shape[1]):
                least, most = min(least, vertices[row, v, c]), max(most, vertices[row, v, c])
            low[row, c], high[row, c] = least, most
    return low, high
