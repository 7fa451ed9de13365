"""Stage 5: the order of the vertices. The landmarks that smplx names get SMPL's own ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from multibodies.core.joints import FACE_VERTICES
from multibodies.data.build_body.common import FLIP, NUM_VERTICES, Array, Index, Samples
from multibodies.data.build_body.decimation import Thinned

NOSE, RIGHT_EYE, LEFT_EYE, RIGHT_EAR, LEFT_EAR = FACE_VERTICES
# smplx.vertex_ids, left and right: finger tips by MakeHuman's finger number, toes, heels.
FINGERS: Final = {
    1: (2746, 6191),
    2: (2319, 5782),
    3: (2445, 5905),
    4: (2556, 6016),
    5: (2673, 6133),
}
TOES: Final = {"toe1-2": (3216, 6617), "toe5-3": (3226, 6624)}
HEELS: Final = (3387, 6787)
EYE_DEPTH: Final = 0.012  # from the eye bone's head to the eyelid, metres


@dataclass(frozen=True)
class Order:
    """New numbering: ``old`` [V] template vertices, ``faces`` and ``mirror`` in new numbers."""

    old: Index
    faces: Index
    mirror: Index


def order_vertices(
    thinned: Thinned, samples: Samples, mirror: Index, weights: Array, mean: Array, places: Places
) -> Order:
    """Put landmarks at SMPL's ids and all other vertices in the free slots, left, middle, right."""
    slots = _landmarks(thinned, samples, mirror, weights, mean, places)
    assert len(set(slots.values())) == len(slots), "landmarks must be distinct"
    old = np.full(NUM_VERTICES, -1)
    old[list(slots)] = list(slots.values())
    taken = set(slots.values())
    everything = np.concatenate([thinned.left, thinned.middle, thinned.right])
    old[old < 0] = [v for v in everything.tolist() if v not in taken]
    new = np.full(len(mirror), -1)
    new[old] = np.arange(NUM_VERTICES)
    return Order(old, new[thinned.faces], new[mirror[old]])


@dataclass(frozen=True)
class Places:
    """Mean places that landmarks are sought by, aligned as the mean body: [3] each."""

    left_eye: Array
    left_wrist: Array


def _landmarks(
    thinned: Thinned, samples: Samples, mirror: Index, weights: Array, mean: Array, places: Places
) -> dict[int, int]:
    """SMPL's vertex id -> template vertex, right ones by the mirror map."""
    left = thinned.left

    def nearest(candidates: Index, cost: Array) -> int:
        return int(candidates[np.argmin(cost)])

    def of_bone(name: str, least: float) -> Index:
        return np.asarray(left[samples.skin[left, samples.bone(name)] > least])

    head, foot = left[weights[left, 15] > 0.5], left[weights[left][:, [7, 10]].sum(1) > 0.5]
    middle = thinned.middle[weights[thinned.middle, 15] > 0.5]
    eye = places.left_eye + np.array([0, 0, EYE_DEPTH])
    found = {
        (LEFT_EYE, RIGHT_EYE): nearest(head, np.linalg.norm(mean[head] - eye, axis=1)),
        (LEFT_EAR, RIGHT_EAR): nearest(head, -mean[head, 0]),
        HEELS: nearest(foot, mean[foot, 2] + 0.5 * mean[foot, 1]),
    }
    for finger, pair in FINGERS.items():
        tip = of_bone(f"finger{finger}-3.L", 0.5)
        along = np.array([1.0, 0.0, 0.9 if finger == 1 else 0.0])
        found[pair] = nearest(tip, -(mean[tip] - places.left_wrist) @ along)
    for bone, pair in TOES.items():
        tip = of_bone(f"{bone}.L", 0.4)
        found[pair] = nearest(tip, -mean[tip, 2])
    slots = {NOSE: nearest(middle, -mean[middle, 2])}
    for (left_id, right_id), vertex in found.items():
        slots[left_id], slots[right_id] = vertex, int(mirror[vertex])
    return slots


def skin24(weights: Array, order: Order) -> Array:
    """SMPL's skinning weights of the ordered vertices: mirror-equal, at most 4 joints: [V, 24]."""
    out = weights[order.old]
    out = 0.5 * (out + out[order.mirror][:, FLIP])
    out[out < 1e-3] = 0
    fourth = np.sort(out, 1)[:, -4][:, None]
    out[out < fourth] = 0
    return np.asarray(out / out.sum(1, keepdims=True))
