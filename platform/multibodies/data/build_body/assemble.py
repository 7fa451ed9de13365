"""All stages after the sampling: from sampled bodies to SMPL's arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from multibodies.data.build_body.common import (
    ACROSS,
    NUM_VERTICES,
    PARENTS,
    Array,
    Index,
    Report,
    Samples,
)
from multibodies.data.build_body.correctives import pose_correctives
from multibodies.data.build_body.decimation import decimate, importance
from multibodies.data.build_body.ordering import Order, Places, order_vertices, skin24
from multibodies.data.build_body.regressors import (
    extra_regressor,
    h36m_regressor,
    joint_regressor,
)
from multibodies.data.build_body.shape import shape_space
from multibodies.data.build_body.skeleton import joints24, owners, shift_to_smpl
from multibodies.data.build_body.symmetrise import symmetric_correctives, symmetric_points
from multibodies.data.build_body.tpose import tpose


def assemble(samples: Samples, *, report: Report) -> dict[str, npt.NDArray[Any]]:
    """The arrays of the embedded body by their names in the file."""
    vertices, heads = tpose(samples)
    joints = joints24(samples, heads)
    shift = shift_to_smpl(joints)
    vertices, heads, joints = vertices - shift, heads - shift, joints - shift
    report("bodies stand in the T-pose")
    weights = samples.skin @ owners(samples.labels)
    order = _renumber(samples, vertices, weights, heads, joints)
    skin = skin24(weights, order)
    report(f"template thinned to {len(order.old)} vertices, {len(order.faces)} faces")
    vertices = vertices[:, order.old]
    template, shapedirs, variance = shape_space(vertices, order.mirror)
    report("shape space fitted")
    regressor = joint_regressor(vertices, joints, template, skin, order.mirror)
    h36m = h36m_regressor(regressor, template, order.mirror)
    report("joint regressors fitted")
    posedirs = pose_correctives(template, regressor @ template, skin, report)
    return {
        "v_template": _single(template),
        "shapedirs": _single(shapedirs),
        "posedirs": _single(symmetric_correctives(posedirs, order.mirror)),
        "J_regressor": _single(regressor),
        "weights": _single(skin),
        "kintree_table": np.stack(
            [np.where(PARENTS < 0, 2**32 - 1, PARENTS), np.arange(24)]
        ).astype(np.uint32),
        "f": order.faces.astype(np.uint32),
        "J_regressor_h36m": _single(h36m),
        "J_regressor_extra": _single(extra_regressor(regressor, h36m)),
        "mirror": order.mirror.astype(np.int32),
        "shape_var": variance,
    }


def _renumber(
    samples: Samples, vertices: Array, weights: Array, heads: Array, joints: Array
) -> Order:
    """Thin the mean body and order what is left."""
    mirror = _mirror_map(samples.template)
    mean = symmetric_points(vertices.mean(0), mirror)
    thinned = decimate(
        mean, samples.faces, samples.template[:, 0], mirror, importance(weights), NUM_VERTICES
    )
    places = Places(heads[:, samples.bone("eye.L")].mean(0), joints[:, 20].mean(0))
    return order_vertices(thinned, samples, mirror, weights, mean, places)


def _mirror_map(template: Array) -> Index:
    """The vertex on the other side of each vertex: MakeHuman's mesh is symmetric. [N]."""
    distance, mirror = cKDTree(template * ACROSS).query(template)
    assert distance.max() < 1e-4, "the template must be symmetric"
    assert (mirror[mirror] == np.arange(len(template))).all(), "mirroring twice is the identity"
    return np.asarray(mirror)


def _single(x: Array) -> npt.NDArray[np.float32]:
    return x.astype(np.float32)
