"""What the tests of picture sets share: labels held against the pixels of the marks.

Legend: K = 24 joints (j24). Continuous pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from multibodies.data.photo import load_photo
from multibodies.data.sources.record import Record
from multibodies.lookalikes.people import COLOURS

CLEAR = 10  # px to the next mark, whose radius is 4


def keypoints(record: Record) -> npt.NDArray[np.float64]:
    assert record.keypoints is not None
    return record.keypoints


def confident(record: Record) -> tuple[int, ...]:
    """Return the j24 joints that a record knows."""
    assert set(np.unique(keypoints(record)[:, 2])) <= {0.0, 1.0}
    return tuple(np.flatnonzero(keypoints(record)[:, 2]))


def mark_errors(path: Path, record: Record, points: npt.NDArray[np.float64]) -> list[list[float]]:
    """Return label minus the middle of its mark in the picture, for each known joint whose mark no
    other touches. `points` [24, 2] say which those are, no more."""
    image = load_photo(path).astype(int)
    labels = keypoints(record)
    errors = []
    for k in confident(record):
        apart = np.linalg.norm(np.delete(points, k, axis=0) - points[k], axis=1).min() > CLEAR
        inside = (points[k] > CLEAR).all() and (points[k] < np.array(image.shape[1::-1]) - 9).all()
        if apart and inside:
            left, top = (int(v) - 7 for v in points[k])
            patch = image[top : top + 15, left : left + 15]
            rows, columns = np.nonzero(np.abs(patch - COLOURS[k]).max(axis=2) < 40)
            assert len(rows) > 20, f"joint {k} is not where its mark is"
            middle = np.array([left + columns.mean() + 0.5, top + rows.mean() + 0.5])
            errors.append((labels[k, :2] - middle).tolist())
    return errors
