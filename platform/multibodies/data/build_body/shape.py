"""Stage 6: the shape space, principal components with betas ~ N(0, 1)."""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.linalg

from multibodies.data.build_body.common import Array, Index
from multibodies.data.build_body.symmetrise import symmetric_points

COMPONENTS: Final = 10


def shape_space(vertices: Array, mirror: Index) -> tuple[Array, Array, Array]:
    """Template [V, 3], shapedirs [V, 3, 10] and their variances [10] of samples [S, V, 3].

    Of the samples' symmetric parts, so that every shape is its own mirror image. A component has
    the length of its standard deviation; positive is taller.
    """
    symmetric = symmetric_points(vertices, mirror)
    template = symmetric.mean(0)
    centred = (symmetric - template).reshape(len(symmetric), -1)
    size = len(centred)
    top = (size - COMPONENTS, size - 1)
    variance, along = scipy.linalg.eigh(centred @ centred.T / size, subset_by_index=top)
    variance, along = variance[::-1], along[:, ::-1]
    directions = (centred.T @ along / np.sqrt(size)).reshape(*template.shape, COMPONENTS)
    return template, directions * _taller(template, directions), variance


def _taller(template: Array, directions: Array) -> Array:
    """Sign of each component that makes the body taller: [10]."""
    bodies = template[:, 1, None] + np.stack([directions[:, 1], -directions[:, 1]])
    plus, minus = np.ptp(bodies, axis=1)
    return np.where(plus >= minus, 1.0, -1.0)
