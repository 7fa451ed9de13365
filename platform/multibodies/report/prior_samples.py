"""Samples of the prior as the paper's fig. 4 shows them: skeletons, each from three sides.

Shapes: N sample, K = 24 joints. Metres.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from multibodies import checkpoints
from multibodies.core.joints import J24_EDGES, J24_NAMES
from multibodies.report import figures, page

if TYPE_CHECKING:
    from multibodies.core.prior import SkeletonPrior

F32 = npt.NDArray[np.float32]
NAME, COUNT = "prior_samples.png", 8
VIEWS = {"front": (0, 1), "side": (2, 1), "above": (0, 2)}  # of x, y, z: to the right, upwards
COLOURS = {"Left": figures.COLOURS[1], "Right": figures.COLOURS[2]}


def write_samples(weights: str | Path, folder: str | Path) -> page.Figure:
    """Draw samples of a fitted prior into folder/NAME. Raises UserError as `load_prior`."""
    drawn = draw_samples(sample(checkpoints.load_prior(weights), COUNT))
    path = figures.save(drawn, Path(folder) / NAME)
    text = "Samples of the prior, joint noise included, each from three sides (the paper's fig. 4)"
    return page.Figure(path, text)


@torch.inference_mode()
def sample(prior: SkeletonPrior, count: int) -> F32:
    """Draw skeletons [N, 24, 3], always the same, with y up and the body towards +z."""
    drawn = prior.sample(count, torch.Generator().manual_seed(0)).float().numpy()
    down = prior.spec.frame == "camera"  # y down, z away
    turned: F32 = drawn * np.array([1, -1, -1] if down else [1, 1, 1], np.float32)
    return turned


def draw_samples(skeletons: F32) -> Figure:
    """Draw skeletons [N, 24, 3], a column each, a row for each of VIEWS; left blue, right orange.

    Raises ValueError on another shape.
    """
    if skeletons.ndim != 3 or skeletons.shape[1:] != (len(J24_NAMES), 3) or not len(skeletons):
        raise ValueError(f"expected skeletons [N, 24, 3], at least one, got {skeletons.shape}")
    size = (1.4 * len(skeletons), 1.6 * len(VIEWS))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(VIEWS), len(skeletons), squeeze=False)
    low, high = skeletons.min(1, keepdims=True), skeletons.max(1, keepdims=True)
    centred, reach = skeletons - (low + high) / 2, 0.55 * float((high - low).max())
    for row, (view, (right, up)) in zip(panels, VIEWS.items(), strict=True):
        for axes, joints in zip(row, centred, strict=True):
            flipped = joints * (np.array([1, 1, -1]) if view == "above" else 1)
            draw_bones(axes, flipped[:, [right, up]])
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            axes.set_xticks([])
            axes.set_yticks([])
        row[0].set_ylabel(view)
    return figure


def draw_bones(axes: Axes, points: F32) -> None:
    """Draw the bones between j24 points [24, 2] in the colour of their side."""
    bones = [points[[a, b]] for a, b in J24_EDGES]
    axes.add_collection(LineCollection(bones, colors=[_colour(*e) for e in J24_EDGES], lw=1.4))


def _colour(*joints: int) -> str:
    sides = {name.split()[0] for name in (J24_NAMES[k] for k in joints)} & {"Left", "Right"}
    return COLOURS[sides.pop()] if len(sides) == 1 else figures.COLOURS[0]
