"""Small random stored hypotheses and truths for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from multibodies.hypotheses import SHAPES, StoredHypotheses


def random_stored(images: int, hypotheses: int, seed: int = 0) -> StoredHypotheses:
    """Return finite random numbers in every column; the joints are centred as the schema says."""
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.normal(scale=0.3, size=(images, hypotheses, *shape)).astype(np.float32)
        for name, shape in SHAPES.items()
    }
    arrays["joints_j24"] -= arrays["joints_j24"][:, :, 2:4].mean(2, keepdims=True)
    arrays["log_density"] *= 4
    return StoredHypotheses(tuple(f"wild-{i:03d}" for i in range(images)), **arrays)


def random_rows(images: int, seed: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Return random labels in the columns of TRUTH_COLUMNS; all joints of image 0 are visible."""
    rng = np.random.default_rng(seed)
    joints = rng.normal(scale=0.3, size=(images, 24, 4)).astype(np.float32)
    joints[..., 3] = rng.integers(0, 2, (images, 24))
    keypoints = rng.uniform(-1, 1, (images, 24, 3)).astype(np.float32)
    keypoints[..., 2] = rng.integers(0, 2, (images, 24))
    keypoints[0, :, 2] = 1
    return {
        "image_id": np.array([f"wild-{i:03d}" for i in range(images)]),
        "h36m17": rng.normal(scale=0.3, size=(images, 17, 3)).astype(np.float32),
        "joints_3d": joints,
        "keypoints_2d": keypoints,
        "has_3d": np.ones(images, bool),
        "has_h36m17": np.ones(images, bool),
        "occlusion": np.array(["none", "legs", "head", "arms_head"])[np.arange(images) % 4],
    }
