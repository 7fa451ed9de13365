"""Subjects: each split has its own people, with a body shape, a skin, hair and a wardrobe."""

from __future__ import annotations

import colorsys
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multibodies.data.draws import SUBJECT_STREAM, generator

Floats = NDArray[np.float64]

POOL_SIZES = {"lab-train": 256, "lab-val": 32, "lab-test": 32, "wild-val": 32, "wild-test": 32}
BETA_LIMIT = 2.5
WARDROBE = 6  # colours per subject
UNLIKE_SKIN = 0.25  # least difference of a cloth from the skin, in one channel


class Subjects(NamedTuple):
    """P people."""

    beta: Floats  # [P, 10]
    skin: Floats  # [P, 3]
    hair: Floats  # [P, 3]
    style: NDArray[np.int64]  # [P] hair: 0 bald, 1 short, 2 long
    wardrobe: Floats  # [P, 6, 3]


@lru_cache(maxsize=64)
def subject_pool(seed: int, split: str, split_id: int) -> Subjects:
    """Draw the people of a split; person k depends only on (seed, split, k)."""
    streams = (generator(seed, split_id, SUBJECT_STREAM, k) for k in range(POOL_SIZES[split]))
    return Subjects(*map(np.stack, zip(*map(_person, streams), strict=True)))


def _person(rng: np.random.Generator) -> tuple[NDArray[np.generic], ...]:
    beta = np.clip(rng.standard_normal(10), -BETA_LIMIT, BETA_LIMIT)
    tone = np.array([0.98, 0.80, 0.68]) * rng.uniform(0.28, 1.0) ** 0.8
    skin = tone * np.array([1.0, rng.uniform(0.9, 1.0), rng.uniform(0.85, 1.0)])
    hair = np.array([0.35, 0.22, 0.12]) * rng.uniform(0.15, 2.2) * rng.uniform(0.8, 1.2, 3)
    style = np.array(rng.choice(3, p=[0.07, 0.56, 0.37]))
    return beta, skin, hair, style, np.stack([_cloth(rng, skin) for _ in range(WARDROBE)])


def _cloth(rng: np.random.Generator, skin: Floats) -> Floats:
    """Draw a colour that is not the skin's, so that nobody looks undressed."""
    hue, saturation, value = rng.random(), 0.95 * rng.random() ** 1.3, rng.uniform(0.12, 1)
    colour = np.array(colorsys.hsv_to_rgb(hue, saturation, value))
    return 1 - colour if np.abs(colour - skin).max() < UNLIKE_SKIN else colour
