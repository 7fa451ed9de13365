"""A figure like the paper's fig. 6: input, n hypotheses over it and from the side, the truth.

The hypothesis closest to the truth (MPJPE) wears blue, the truth green, the others grey. Images are
the first of the split that the rule of `first_rows` allows: none is picked by its result.
Shapes: B image, M hypothesis, N output, V vertex, S image side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multibodies.bodies.loading import load_body
from multibodies.core import metrics
from multibodies.core.joints import J24_FROM_54
from multibodies.core.quantizer import hypothesis_weights, quantise
from multibodies.core.rotations import axis_angle_to_matrix, rotation_6d_to_matrix
from multibodies.data.shards import read_first, shard_paths
from multibodies.hypotheses import StoredHypotheses, read_hypotheses
from multibodies.inference import j14
from multibodies.overlay import F32, Colour, Painter, Picture, common_extent
from multibodies.report import figures, page

CLOSEST: Colour = (0.16, 0.40, 0.85)
TRUTH: Colour = (0.20, 0.62, 0.30)
OTHER: Colour = (0.62, 0.62, 0.65)
COLUMNS = (
    *("image_id", "image", "occlusion", "theta", "beta", "camera", "h36m17"),
    *("keypoints_2d", "has_2d", "has_smpl"),
)
SHOWN = 192  # side of a drawn picture, pixels


@dataclass(frozen=True)
class Case:
    """One image, its N hypotheses (bodies [N, V, 3], cameras [N, 3], MPJPE [N] mm), its truth."""

    title: str
    image: Picture
    bodies: F32
    cameras: F32
    errors_mm: tuple[float, ...]
    truth: F32
    truth_camera: F32

    @property
    def closest(self) -> int:
        """The hypothesis of least MPJPE."""
        return int(np.argmin(self.errors_mm))


def write_gallery(
    run_dir: Path,
    training: str,
    split: str,
    *,
    flow_weight: float,
    n: int = 5,
    count: int = 3,
    body: str | None = None,
) -> page.Figure | None:
    """Draw a split of a run with one training's stored hypotheses into figures/gallery-<split>.png.

    None where no true body is known. Raises UserError where the data or the hypotheses are missing
    or damaged.
    """
    rows = read_first(run_dir / "data", split, COLUMNS)
    first = shard_paths(run_dir / "data", split)[0].relative_to(run_dir / "data")
    stored = read_hypotheses(run_dir / "hypotheses" / training / first)
    painter = Painter(load_body(body))
    known = np.flatnonzero(rows["has_smpl"][: len(stored)]).tolist()
    if not known:
        return None
    index = [known[k] for k in first_rows([str(rows["occlusion"][i]) for i in known], count)]
    cases = [make_case(rows, i, stored, n, flow_weight, painter) for i in index]
    path = run_dir / figures.FOLDER / f"gallery-{split}.png"
    figures.save(draw_gallery(cases, painter), path)
    caption = (
        f"{split}, {training}, flow weight {flow_weight:g}: input, {n} hypotheses over it and from "
        "the side (closest to the truth in blue, MPJPE over H36M's 14 joints about the pelvis), "
        "truth in green. First images of the split"
    )
    return page.Figure(path, caption)


def first_rows(occlusion: Sequence[str], count: int) -> list[int]:
    """Return the first rows with hidden joints, or, where no row has any, the first rows."""
    hidden = [row for row, name in enumerate(occlusion) if name != "none"]
    return (hidden or list(range(len(occlusion))))[:count]


@torch.inference_mode()
def make_case(
    rows: Mapping[str, npt.NDArray[Any]],
    row: int,
    stored: StoredHypotheses,
    n: int,
    flow_weight: float,
    painter: Painter,
) -> Case:
    """Quantise one image's hypotheses to n medoids, which have meshes, and pose them."""
    mine = stored.rows([stored.image_id.index(str(rows["image_id"][row]))])
    joints = torch.from_numpy(mine.joints_j24).double()
    weights = hypothesis_weights(torch.from_numpy(mine.log_density).double(), flow_weight)
    chosen = quantise(joints, joints, weights, n, representative="medoid").medoids[0].tolist()
    outputs = torch.from_numpy(mine.joints_h36m14[0, chosen]).double()
    wanted = j14(torch.from_numpy(rows["h36m17"][row]).double())
    errors = 1000 * metrics.mpjpe(outputs, wanted.expand_as(outputs))
    rotations = rotation_6d_to_matrix(torch.from_numpy(mine.rotation_6d[0, chosen]))
    truth = axis_angle_to_matrix(torch.from_numpy(rows["theta"][row]))[None]
    return Case(
        str(rows["image_id"][row]),
        rows["image"][row],
        painter.pose(rotations, torch.from_numpy(mine.beta[0, chosen])),
        mine.camera[0, chosen],
        tuple(errors.tolist()),
        painter.pose(truth, torch.from_numpy(rows["beta"][row])[None])[0],
        camera_of(rows, row, painter),
    )


def camera_of(rows: Mapping[str, npt.NDArray[Any]], row: int, painter: Painter) -> F32:
    """Return a row's camera [3]; where it has none, that which best projects the true body's j24 to
    its keypoints: x = s (X + tx), least squares."""
    seen = rows["keypoints_2d"][row][:, 2] > 0
    if rows["camera"][row][0] > 0 or not rows["has_2d"][row] or seen.sum() < 2:
        return np.asarray(rows["camera"][row])
    rotations = axis_angle_to_matrix(torch.from_numpy(rows["theta"][row]))[None]
    posed = painter.mesh.joints54(rotations, torch.from_numpy(rows["beta"][row])[None])[0]
    points = posed[list(J24_FROM_54)].numpy()[seen, :2].astype(np.float64)
    wanted = rows["keypoints_2d"][row][seen, :2].astype(np.float64)
    spread = points - points.mean(0)
    scale = float((spread * (wanted - wanted.mean(0))).sum() / (spread**2).sum())
    return np.array([scale, *(wanted.mean(0) / scale - points.mean(0))], np.float32)


def draw_gallery(cases: Sequence[Case], painter: Painter) -> Figure:
    """Lay cases out in two lines each: over the image, from the side. Raises ValueError if none."""
    if not cases:
        raise ValueError("a gallery needs at least one case")
    columns = len(cases[0].bodies) + 2
    figure = Figure(figsize=(1.7 * columns, 3.7 * len(cases)), layout="constrained")
    lines = figure.subplots(2 * len(cases), columns, squeeze=False)
    for axes in lines.flat:
        axes.set_axis_off()
    for index, case in enumerate(cases):
        _draw_case(case, painter, lines[2 * index], lines[2 * index + 1])
    return figure


def _draw_case(case: Case, painter: Painter, over: Sequence[Axes], beside: Sequence[Axes]) -> None:
    image = cv2.resize(case.image, (SHOWN, SHOWN), interpolation=cv2.INTER_CUBIC)
    extent = common_extent([*case.bodies, case.truth])
    shirts = [CLOSEST if i == case.closest else OTHER for i in range(len(case.bodies))]
    titles = [f"{error:.0f} mm" for error in case.errors_mm]
    bodies = [*zip(case.bodies, case.cameras, shirts, titles, strict=True)]
    bodies.append((case.truth, case.truth_camera, TRUTH, "truth"))
    over[0].imshow(image)
    over[0].set_title(case.title, fontsize=7)
    for column, (body, camera, shirt, title) in enumerate(bodies, start=1):
        over[column].imshow(painter.over(image, body, camera, shirt))
        over[column].set_title(title, fontsize=8)
        beside[column].imshow(painter.beside(body, extent, SHOWN, shirt))
