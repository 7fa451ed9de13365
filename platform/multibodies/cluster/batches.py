"""Batches for Train workers from Ray Data: a small dataset whole in memory, a large one streamed.

In memory, any number of workers sees the same global batches and a resumed run goes on with the
very next one. Streamed, a worker sees its share in an order shuffled by seed, and a resumed run
starts another pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray.data

from multibodies.cluster import prepare_data
from multibodies.config import StageConfig
from multibodies.data.training_rows import batch_of
from multibodies.errors import UserError
from multibodies.training import Batch, Batches, epoch_batches

BLOCK_ROWS = 1024  # rows of one piece on its way into memory
SHUFFLED_BATCHES = 16  # batches among which a streaming worker shuffles


def read_shards(paths: Sequence[Path], columns: Sequence[str], in_memory: bool) -> ray.data.Dataset:
    """Return columns of shards as a Ray dataset, read at once if they are to be held in memory.

    Read before the workers start, since workers on every CPU would starve the reads they wait for.
    """
    prepare_data()
    files = [str(path) for path in paths]
    dataset = ray.data.read_parquet(files, partitioning=None).select_columns(list(columns))
    return dataset.materialize() if in_memory else dataset


def collect(shard: ray.data.DataIterator) -> Batch:
    """Read a whole iterator into memory, sorted by image_id."""
    parts: list[dict[str, Any]] = list(
        shard.iter_batches(batch_size=BLOCK_ROWS, batch_format="numpy")
    )
    return batch_of({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def for_worker(
    shard: ray.data.DataIterator,
    settings: StageConfig,
    in_memory: bool,
    rank: int,
    world: int,
) -> Batches:
    """Return `batches(step)` of worker `rank` of `world`."""
    if in_memory:
        return epoch_batches(collect(shard), settings.batch_size, settings.seed, rank, world)
    return streamed(shard, settings.batch_size // world, settings.seed)


def streamed(shard: ray.data.DataIterator, batch_size: int, seed: int) -> Batches:
    """Return `batches(step)` over an iterator too large for memory: endless passes, shuffled by
    seed.

    Raises UserError if the worker's share is smaller than one of its batches.
    """

    def batches(step: int) -> Iterator[Batch]:
        for epoch in range(1 << 62):
            count = 0
            for batch in shard.iter_torch_batches(
                batch_size=batch_size,
                drop_last=True,
                local_shuffle_buffer_size=SHUFFLED_BATCHES * batch_size,
                local_shuffle_seed=seed * 1_000_003 + step + epoch,
            ):
                count += 1
                yield batch
            if count == 0:
                raise UserError(
                    f"a worker's share has fewer rows than its batch of {batch_size}; "
                    "use fewer workers"
                )

    return batches
