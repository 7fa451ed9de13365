"""A tiny configuration of HMR, shared by its tests."""

from __future__ import annotations

from typing import Any

from multibodies.config import Config
from training_samples import tiny_config

ONE: dict[str, Any] = {
    "system.name": "hmr",
    "stage2.num_hypotheses": 1,
    "evaluation.n": [1],
    "hmr.critic_hidden": 16,
    "hmr.bodies": 32,
}


def hmr_config(changes: dict[str, Any] | None = None) -> Config:
    """Return the tiny configuration with one hypothesis and a small critic."""
    return tiny_config({**ONE, **(changes or {})})
