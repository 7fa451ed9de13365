"""An endless stream of fresh embedded images for a long stage 1: never one fixed set.

A helper process renders chunks of new rows ahead of the training; a pool holds the newest SLOTS
chunks and every batch is drawn from it. Which rows a step sees is a function of the seed, the step
and the worker alone, so that a resumed training goes on as an undisturbed one would. Each of
several workers renders and sees images of its own.
"""

from __future__ import annotations

import multiprocessing as mp
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np
import torch
from torch import Tensor

from multibodies.bodies.loading import load_body
from multibodies.config import Config, DataConfig, fingerprint
from multibodies.data.embedded import GENERATOR, embedded_rows
from multibodies.data.training_rows import LABELS, Part, Source

Batch = dict[str, Tensor]

SLOTS = 8  # chunks held in the pool
REUSE = 4  # how often a row is seen on average before it is replaced
COLUMNS = ("image", *LABELS)
SIZES = {"train_rows", "val_rows", "test_rows", "rows_per_shard", "source"}  # of shards alone


def fresh_source(config: Config) -> Source:
    """Describe the stream as a dataset is described: its fingerprint is that of its recipe."""
    data = config.data.model_dump(mode="json", exclude=SIZES)
    body, rows = load_body(config.body.path).sha256, config.stage1.fresh_rows
    recipe = {"fresh": [rows, SLOTS, REUSE], "data": data, "generator": GENERATOR, "body": body}
    parts = (Part("fresh", (), rows),)
    return Source(parts, "image", 0, fingerprint(recipe), image_size=config.data.image_size)


def fresh_batches(
    config: Config, rank: int = 0, world: int = 1
) -> Callable[[int], Iterator[Batch]]:
    """Return `batches(step)` of worker `rank` of `world`: endless, on the CPU."""
    stage, seed = config.stage1, config.stage1.seed
    data = config.data.model_copy(update={"seed": config.data.seed + 1 + seed})
    size = stage.batch_size // world
    steps_per_chunk = max(1, stage.fresh_rows * REUSE // size)

    def batches(start: int) -> Iterator[Batch]:
        context = mp.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context, initializer=_calm) as executor:

            def ask(turn: int) -> Future[dict[str, np.ndarray]]:
                index = turn * world + rank
                return executor.submit(
                    render_chunk, index, stage.fresh_rows, data, config.body.path
                )

            turn = start // steps_per_chunk
            oldest = max(0, turn - SLOTS + 1)
            pool = [_tensors(f.result()) for f in [ask(i) for i in range(oldest, turn + 1)]]
            ahead = ask(turn + 1)
            for step in range(start, 1 << 62):
                if step // steps_per_chunk > turn:
                    turn += 1
                    pool = [*pool, _tensors(ahead.result())][-SLOTS:]
                    ahead = ask(turn + 1)
                yield _draw(pool, size, seed * 1_000_003 + step + (rank << 48))

    return batches


def render_chunk(
    index: int, rows: int, data: DataConfig, body_path: str | None
) -> dict[str, np.ndarray]:
    """Render rows [index * rows, (index + 1) * rows) of `lab-train` under the data's seed."""
    made = embedded_rows("lab-train", index * rows, rows, data, load_body(body_path))
    return {name: np.asarray(made[name]) for name in COLUMNS}


def _calm() -> None:
    """Let the renderer have one thread, and the training the right of way."""
    os.nice(5)
    torch.set_num_threads(1)


def _tensors(rows: dict[str, np.ndarray]) -> Batch:
    return {name: torch.from_numpy(column) for name, column in rows.items()}


def _draw(pool: list[Batch], batch_size: int, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    per = len(pool[0]["image"])
    chosen = torch.randint(per * len(pool), (batch_size,), generator=generator)
    slot, row = (chosen // per).tolist(), (chosen % per).tolist()
    return {
        k: torch.stack([pool[s][k][r] for s, r in zip(slot, row, strict=True)]) for k in COLUMNS
    }
