"""Stage 2: every sampled body into the same T-pose, by its own bone directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from multibodies.data.build_body.common import (
    Array,
    Samples,
    apply,
    frame,
    shortest_rotation,
    turn,
)

SIDES: Final = (("L", 1.0), ("R", -1.0))


def tpose(samples: Samples) -> tuple[Array, Array]:
    """Vertices [S, N, 3] and bone heads [S, B, 3] in the T-pose, float64, not yet aligned."""
    heads = samples.heads.astype(np.float64)
    rotations = np.broadcast_to(np.eye(3), (*heads.shape[:2], 3, 3)).copy()
    for side, sign in SIDES:
        _turn_arm(samples, heads, rotations, side, sign)
        _turn_leg(samples, heads, rotations, side, sign)
    posed = np.empty_like(heads)
    for bone, parent in enumerate(samples.parents):
        if parent < 0:
            posed[:, bone] = heads[:, bone]
            continue
        offset = heads[:, bone] - heads[:, parent]
        posed[:, bone] = posed[:, parent] + apply(rotations[:, parent], offset)
    return _skinned(samples, heads, rotations, posed), posed


def _turn_arm(samples: Samples, heads: Array, rotations: Array, side: str, sign: float) -> None:
    """Upper arm along x, elbow straight, hand along x with the palm down; ``rotations`` in place.

    The elbow's hinge is brought to the vertical first, so that the forearm bends forwards. The
    forearm takes up the hand's twist by degrees.
    """

    def head(name: str) -> Array:
        return heads[:, samples.bone(f"{name}.{side}")]

    outward = np.broadcast_to([sign, 0.0, 0.0], (len(heads), 3))
    down = np.broadcast_to([0.0, -1.0, 0.0], (len(heads), 3))
    upper = head("lowerarm01") - head("upperarm01")
    fore = head("wrist") - head("lowerarm01")
    hinge = sign * np.cross(upper, fore)
    upper_turn = frame(outward, down) @ frame(upper, hinge).transpose(0, 2, 1)
    bent = apply(upper_turn, fore)
    assert (bent[:, 2] > 0).mean() > 0.95, "forearms must bend forwards"
    fore_turn = shortest_rotation(bent, outward) @ upper_turn
    hand = apply(fore_turn, head("finger3-1") - head("wrist"))
    hand_turn = shortest_rotation(hand, outward) @ fore_turn
    palm = apply(hand_turn, head("finger2-1") - head("finger5-1"))  # to point forwards
    twist = np.arctan2(palm[:, 1], palm[:, 2])
    hand_turn = turn(0, twist) @ hand_turn
    turns = {
        "upperarm01": upper_turn,
        "upperarm02": upper_turn,
        "lowerarm01": turn(0, 0.35 * twist) @ fore_turn,
        "lowerarm02": turn(0, 0.75 * twist) @ fore_turn,
        "wrist": hand_turn,
        "finger": hand_turn,
        "metacarpal": hand_turn,
    }
    _assign(samples, rotations, side, turns)


def _turn_leg(samples: Samples, heads: Array, rotations: Array, side: str, sign: float) -> None:
    """Thigh and shank to one slightly spread direction, less toe-out; ``rotations`` in place."""

    def head(name: str) -> Array:
        return heads[:, samples.bone(f"{name}.{side}")]

    def towards(x: float, y: float, z: float) -> Array:
        return np.broadcast_to([x, y, z], (len(heads), 3))

    knee = head("lowerleg01")
    thigh = shortest_rotation(knee - head("upperleg01"), towards(0.06 * sign, -1.0, 0.0))
    shank = shortest_rotation(head("foot") - knee, towards(0.036 * sign, -1.0, -0.03))
    toes = head("toe3-1") - head("foot")
    foot = turn(1, -0.6 * np.arctan2(toes[:, 0], toes[:, 2]))
    turns = {"upperleg": thigh, "lowerleg": shank, "foot": foot, "toe": foot}
    _assign(samples, rotations, side, turns)


def _assign(samples: Samples, rotations: Array, side: str, turns: Mapping[str, Array]) -> None:
    """Give each bone of a side the rotation of the prefix that its name starts with."""
    for bone, label in enumerate(samples.labels):
        for prefix, rotation in turns.items():
            if label.startswith(prefix) and label.endswith(f".{side}"):
                rotations[:, bone] = rotation


def _skinned(samples: Samples, heads: Array, rotations: Array, posed: Array) -> Array:
    """Linear blend skinning of each sample: [S, N, 3], one at a time to keep the memory small."""
    out = np.empty(samples.vertices.shape)
    for s, vertices in enumerate(samples.vertices.astype(np.float64, copy=False)):
        shift = posed[s] - np.einsum("bij,bj->bi", rotations[s], heads[s])
        blend = samples.skin @ np.concatenate([rotations[s].reshape(-1, 9), shift], 1)
        out[s] = np.einsum("vij,vj->vi", blend[:, :9].reshape(-1, 3, 3), vertices) + blend[:, 9:]
    return out
