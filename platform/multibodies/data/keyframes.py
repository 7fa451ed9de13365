"""The 48 keyframes and their split by name: no split's pose is made from another's keyframe.

Shapes: F keyframe. Rotations are axis-angle, body frame (y up, the body faces +z).
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from multibodies.config import SPLITS
from multibodies.core.joints import SMPL_FLIP
from multibodies.errors import UserError, nearest

Floats = NDArray[np.float64]

KEYFRAME_SPLITS: dict[str, tuple[str, ...]] = {
    "lab-train": (
        *("stand", "relaxed", "star", "crossed", "drink", "carry", "bow", "pickup", "squat", "sit"),
        *(
            "half_kneel",
            "tree",
            "arabesque",
            "high_kick",
            "side_kick",
            "serve",
            "twist",
            "stretch_side",
            "hands_head",
        ),
        *(
            "lie_back",
            "lie_prone",
            "lie_side",
            "bridge",
            "plank",
            "sit_floor",
            "indian",
            "heels_sit",
            "hug_knees",
        ),
    ),
    "lab-val": ("phone", "sit_lean", "point", "push", "kneel"),
    "lab-test": ("wave", "clap", "sit_cross_leg", "side_lunge", "situp"),
    "wild-val": ("photo", "arms_up", "ride", "climb", "all_fours"),
    "wild-test": ("throw", "akimbo", "lunge", "sit_back", "lie_arms_head"),
}
# lying, on the floor, or with a root that is not upright; drawn only with DataConfig.lying_share
LYING = frozenset(
    (
        *("lie_back", "lie_prone", "lie_side", "lie_arms_head", "bridge", "plank", "situp"),
        *("all_fours", "sit_floor", "indian", "heels_sit", "hug_knees", "kneel"),
    )
)


@cache
def load_keyframes() -> dict[str, Floats]:
    """Return name -> axis-angle rotations [24, 3] of the package's keyframes."""
    path = resources.files("multibodies") / "assets" / "poses" / "poses_key.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        poses = arrays["poses"].astype(np.float64).reshape(-1, 24, 3)
        return dict(zip(arrays["clip"].tolist(), poses, strict=True))


def mirror(rotations: Floats) -> Floats:
    """Mirror rotations [..., 24, 3] left to right: swap joints, negate components 1 and 2."""
    flipped: Floats = rotations[..., list(SMPL_FLIP), :] * np.array([1.0, -1.0, -1.0])
    return flipped


def keyframe_names(split: str) -> tuple[str, ...]:
    """Return the keyframes of a split. Raises UserError on an unknown split."""
    if split not in KEYFRAME_SPLITS:
        raise UserError(f"unknown split '{split}'{nearest(split, SPLITS)}")
    return KEYFRAME_SPLITS[split]


def rotation_limits() -> tuple[Floats, Floats]:
    """Return low, high [24, 3]: every component's range over all keyframes, 0.12 rad wider."""
    poses = np.stack(list(load_keyframes().values()))
    both = np.concatenate([poses, mirror(poses)])
    return both.min(0) - 0.12, both.max(0) + 0.12
