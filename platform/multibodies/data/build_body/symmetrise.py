"""Points and pose correctives made equal to their mirror images, exactly."""

from __future__ import annotations

import numpy as np

from multibodies.data.build_body.common import ACROSS, FLIP, Array, Index


def symmetric_points(x: Array, mirror: Index) -> Array:
    """Mean of points [..., V, 3] and their mirror image."""
    return np.asarray(0.5 * (x + x[..., mirror, :] * ACROSS))


def symmetric_correctives(posedirs: Array, mirror: Index) -> Array:
    """Mean of posedirs [V, 3, 207] and its mirror image.

    The mirror of a rotation R is D R D with D = diag(-1, 1, 1), of the joint on the other side.
    """
    split = posedirs.reshape(-1, 3, 23, 3, 3)
    signs = np.einsum("a,b,c->abc", ACROSS, ACROSS, ACROSS)[None, :, None]
    mirrored = split[mirror][:, :, FLIP[1:] - 1] * signs
    return np.asarray(0.5 * (split + mirrored)).reshape(posedirs.shape)
