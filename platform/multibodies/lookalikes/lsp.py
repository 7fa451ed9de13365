"""Look-alikes of Leeds Sports Pose and of its extended training set, in both resolutions.

Legend: K = 14 joints, the first 14 of j24; N picture. MATLAB's first pixel is 1, its centre .5.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.io import savemat

from multibodies.core.body import BodyArrays
from multibodies.lookalikes.marked import Truth, sample_points, save_picture

LSP_PICTURES, LSP_TRAIN = 2000, 1000
HIDDEN_SHARE = 0.2


def write_lsp(root: Path, body: BodyArrays, pictures: int = 3, seed: int = 0) -> list[Truth]:
    """Write `joints.mat` (3, 14, 2000) and the first `pictures` of each half. Return their truths:
    of pictures 1 and on, then of 1001 and on. The others are labelled, and their pictures missing.
    """
    rng = np.random.default_rng(seed)
    points = np.stack([sample_points(body, rng) for _ in range(2 * pictures)])
    drawn = np.concatenate([np.arange(pictures), LSP_TRAIN + np.arange(pictures)])
    everyone = points[rng.integers(0, len(points), LSP_PICTURES)]
    everyone += rng.uniform(-9, 9, (LSP_PICTURES, 1, 2))
    everyone[drawn] = points
    seen = _seen(rng, LSP_PICTURES)
    truths = []
    for column, joints in zip(drawn, points, strict=True):
        path = root / "images" / f"im{column + 1:04d}.jpg"
        save_picture(path, joints, rng)
        truths.append(Truth(path, joints, tuple(np.flatnonzero(seen[column]))))
    values = np.dstack([everyone[:, :14] + 0.5, ~seen])
    savemat(root / "joints.mat", {"joints": values.transpose(2, 1, 0)}, do_compression=True)
    return truths


def write_lspet(
    root: Path, body: BodyArrays, people: int = 4, seed: int = 1, high_resolution: bool = True
) -> list[Truth]:
    """Write `joints.mat` (14, 3, N) and its pictures: HR-LSPET's PNGs, whose numbers have gaps, or
    the first release's `images/im00001.jpg` and on. Unseen joints have positions of no meaning."""
    rng = np.random.default_rng(seed)
    seen = _seen(rng, people)
    truths, values = [], np.zeros((people, 14, 3))
    for column in range(people):
        points = sample_points(body, rng)
        number = 2 * column + 1 if high_resolution else column + 1
        name = f"im{number:05d}.png" if high_resolution else f"images/im{number:05d}.jpg"
        save_picture(root / name, points, rng)
        values[column] = np.column_stack([points[:14] + 0.5, seen[column]])
        values[column, ~seen[column], :2] = rng.uniform(-2000, 2000, 2)
        truths.append(Truth(root / name, points, tuple(np.flatnonzero(seen[column]))))
    savemat(root / "joints.mat", {"joints": values.transpose(1, 2, 0)}, do_compression=True)
    return truths


def _seen(rng: np.random.Generator, count: int) -> npt.NDArray[np.bool_]:
    seen = rng.random((count, 14)) >= HIDDEN_SHARE
    seen[:, 12] = True
    return seen
