"""Batches for Train workers from Ray Data: small sets whole in memory, large ones streamed.

In memory, any number of workers sees the same global batches and a resumed run goes on with the
very next one. Streamed, a worker sees its share of each set in an order shuffled by seed, and a
resumed run starts another pass. How far that mixes: files come in a new order in every pass, and
rows are drawn from a buffer of SHUFFLED_BATCHES batches, of which each set has its share. So rows
of one file are in nearby batches, spread over about as many as the buffer holds; rows that were
side by side in a file are side by side in a batch only by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data
from ray.data import FileShuffleConfig

from multibodies.cluster import prepare_data
from multibodies.config import StageConfig
from multibodies.data.row_keys import with_keys
from multibodies.data.training_rows import Part, Source, batch_of, decoded
from multibodies.errors import UserError
from multibodies.mixing import held_batches, streamed_batches
from multibodies.training import Batch, Batches, seed_of

BLOCK_ROWS = 1024  # rows of one piece on its way into memory
DECODED_ROWS = 64  # JPEGs decoded at once
SHUFFLED_BATCHES = 16  # batches among which a streaming worker shuffles


def read_shards(paths: Sequence[Path], columns: Sequence[str]) -> ray.data.Dataset:
    """Return columns of shards as a Ray dataset that is read at once.

    Read before the workers start, since workers on every CPU would starve the reads they wait for.
    """
    prepare_data()
    files = [str(path) for path in paths]
    dataset = ray.data.read_parquet(files, partitioning=None).select_columns(list(columns))
    return dataset.materialize()


def read_parts(source: Source) -> dict[str, ray.data.Dataset]:
    """Return a dataset for each part, to be held in memory; JPEGs stay what they are until then."""
    return {part.name: read_shards(part.paths, source.columns) for part in source.parts}


def stream_parts(source: Source, seed: int, held: float) -> dict[str, ray.data.Dataset]:
    """Return a dataset for each part, to be streamed, files in an order of each pass's own.

    Torch refuses bytes: JPEGs are decoded on the way. The CPUs that the workers, who hold `held` of
    them, leave are shared out: a set that waits for its reader to be read on must not keep another
    from reading at all.
    """
    prepare_data()
    free = max(0.1, ray.cluster_resources().get("CPU", 1) - held) / len(source.parts)
    cpus, tasks = min(1.0, free), max(1, int(free))
    datasets = {}
    for part in source.parts:
        dataset = ray.data.read_parquet(
            [str(path) for path in part.paths],
            partitioning=None,
            columns=source.columns if source.keyed else source.columns[1:],
            shuffle=FileShuffleConfig(seed_of("files", seed, part.name)),
            num_cpus=cpus,
            concurrency=tasks,
        )
        datasets[part.name] = dataset.map_batches(
            partial(streamable, source=source),
            batch_size=DECODED_ROWS,
            num_cpus=cpus,
            concurrency=tasks,
        )
    return datasets


def streamable(rows: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Return a block of a stream as tensors can hold it: JPEGs decoded, names as keys."""
    return with_keys(decoded(rows, source), keyed=source.keyed)


def collect(shard: ray.data.DataIterator, source: Source) -> Batch:
    """Read a whole iterator into memory, JPEGs decoded, sorted by image_id."""
    parts: list[dict[str, Any]] = [
        decoded(rows, source)
        for rows in shard.iter_batches(batch_size=BLOCK_ROWS, batch_format="numpy")
    ]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return batch_of(columns, keyed=source.keyed)


def for_worker(
    shards: Mapping[str, ray.data.DataIterator],
    source: Source,
    settings: StageConfig,
    in_memory: bool,
    rank: int,
    world: int,
) -> Batches:
    """Return `batches(step)` of worker `rank` of `world` from the iterators of a source's parts."""
    shares, size, seed = [part.share for part in source.parts], settings.batch_size, settings.seed
    if in_memory:
        held = [collect(shards[part.name], source) for part in source.parts]
        return held_batches(held, shares, size, seed, rank, world)

    def open_streams(step: int) -> list[Iterator[Batch]]:
        return [
            streamed(shards[part.name], part, size // world, seed_of(seed, part.name, step))
            for part in source.parts
        ]

    return streamed_batches(open_streams, shares, size // world, seed)


def streamed(
    shard: ray.data.DataIterator, part: Part, batch_size: int, seed: int
) -> Iterator[Batch]:
    """Yield batches of a part that is too large for memory: endless passes, shuffled by seed.

    Raises UserError if the worker's share has no rows.
    """
    buffer = max(batch_size, round(SHUFFLED_BATCHES * batch_size * part.share))
    for epoch in range(1 << 62):
        count = 0
        for batch in shard.iter_torch_batches(
            batch_size=batch_size,
            local_shuffle_buffer_size=buffer,
            local_shuffle_seed=seed_of(seed, epoch),
        ):
            count += 1
            yield batch
        if count == 0:
            raise UserError(f"{part.name}: a worker's share has no rows; use fewer workers")
