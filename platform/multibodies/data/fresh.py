"""An endless stream of fresh embedded images for a long stage 1: never one fixed set.

A helper process renders chunks of new rows ahead of the training; a pool holds the newest `slots`
chunks and every
batch is drawn from it. Which rows a step sees is a function of the seed and the step alone, so that
a resumed
training goes on as an undisturbed one would.
"""

from __future__ import annotations

import multiprocessing as mp
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from multibodies.config import DataConfig
from multibodies.core.body import load_body
from multibodies.data.embedded import embedded_rows

Batch = dict[str, Tensor]
COLUMNS = ("image", "keypoints_2d", "joints_3d", "theta", "beta", "has_3d", "has_smpl")


@dataclass(frozen=True)
class Pace:
    """rows of a chunk; chunks held in the pool; how often a row is seen on average before it is
    replaced."""

    chunk: int = 4096
    slots: int = 8
    reuse: int = 4


def render_chunk(
    index: int, rows: int, data: DataConfig, body_path: str | None
) -> dict[str, np.ndarray]:
    """Render rows [index * rows, (index + 1) * rows) of `lab-train` under the data's seed."""
    torch.set_num_threads(1)
    made = embedded_rows("lab-train", index * rows, rows, data, load_body(body_path))
    return {name: np.asarray(made[name]) for name in COLUMNS}


def fresh_batches(
    data: DataConfig,
    batch_size: int,
    seed: int,
    start: int = 0,
    pace: Pace | None = None,
    body_path: str | None = None,
) -> Iterator[Batch]:
    """Yield the batch of step `start` and the following ones, of `batch_size` rows each."""
    pace = pace or Pace()
    steps_per_chunk = max(1, pace.chunk * pace.reuse // batch_size)
    context = mp.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=os.nice, initargs=(5,)) as executor:

        def ask(index: int) -> Future[dict[str, np.ndarray]]:
            return executor.submit(render_chunk, index, pace.chunk, data, body_path)

        first = start // steps_per_chunk
        oldest = max(0, first - pace.slots + 1)
        pool = [_tensors(f.result()) for f in [ask(i) for i in range(oldest, first + 1)]]
        ahead = ask(first + 1)
        for step in range(start, 1 << 62):
            if step // steps_per_chunk > first:
                first += 1
                pool = [*pool, _tensors(ahead.result())][-pace.slots :]
                ahead = ask(first + 1)
            yield _draw(pool, batch_size, seed * 1_000_003 + step)


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
