"""Batches on their way to the network: augmented by draws of seed, step and row alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from multibodies.config import AugmentConfig
from multibodies.core.augment import Draws, Ranges, augment, draw
from multibodies.training import TURNED, Batch, Batches, seed_of


def ranges_of(config: AugmentConfig) -> Ranges:
    """Return the settings in the core's terms."""
    rotation = math.radians(config.rotation_deg)
    return Ranges(config.flip, rotation, config.upright, config.scale, config.noise)


def augmented(
    make: Batches, ranges: Ranges, size: int, seed: int, rank: int = 0, world: int = 1
) -> Batches:
    """Return batches of images [B, L, L, 3] augmented to crops of side `size`, labels with them.

    Draws are made for the global batch, of which worker `rank` of `world` has every world-th row,
    so that any number of workers sees the same. Nothing to draw leaves the batches as they are.
    """
    if not ranges.active:
        return make

    def batches(step: int) -> Iterator[Batch]:
        for at, batch in enumerate(make(step), step):
            count = len(batch["image"]) * world
            generator = torch.Generator().manual_seed(seed_of("augment", seed, at))
            own = (field[rank::world] for field in draw(ranges, count, generator))
            device = batch["image"].device
            draws = Draws(*(field.to(device) for field in own))
            told = dict(zip(TURNED, draws, strict=False)) if "key" in batch else {}
            yield augment(batch, draws, size) | told

    return batches
