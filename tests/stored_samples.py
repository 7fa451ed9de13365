"""Small random stored hypotheses and truths for tests."""

from __future__ import annotations

import numpy as np

from multibodies.hypotheses import SHAPES, StoredHypotheses


def random_stored(images: int, hypotheses: int, seed: int = 0) -> StoredHypotheses:
    """Return finite random numbers in every column; the joints are centred as the schema says."""
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.normal(scale=0.3, size=(images, hypotheses, *shape)).astype(np.float32)
        for name, shape in SHAPES.items()
    }
    arrays["joints_j24"] -= arrays["joints_j24"][:, :, 2:4].mean(2, keepdims=True)
    arrays["log_density"] *= 10
    return StoredHypotheses(tuple(f"wild-{i:03d}" for i in range(images)), **arrays)
