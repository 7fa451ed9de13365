"""Batches mixed from several sets: each row's set is drawn, and is that set's next row.

Shapes: P set, B row of a global batch. A set's rows come in an order of its own, a new permutation
in each epoch: however large its share, no row is seen twice before all are seen once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import count

import torch
from torch import Tensor

from multibodies.training import Batch, Batches, epoch_batches, seed_of

CHUNK = 1024  # steps drawn at once: a resumed run goes through half a million in a second


def held_batches(
    parts: Sequence[Batch],
    shares: Sequence[float],
    batch_size: int,
    seed: int,
    rank: int = 0,
    world: int = 1,
) -> Batches:
    """Return `batches(step)` over parts held in memory, a function of seed and step alone.

    One part is seen as `epoch_batches` says, several are mixed. Worker `rank` of `world` takes
    every world-th row, so that any number of workers sees the same global batches.
    """
    if len(parts) == 1:
        return epoch_batches(parts[0], batch_size, seed, rank, world)
    rows = [len(next(iter(part.values()))) for part in parts]
    size = min(batch_size, sum(rows))

    def batches(step: int) -> Iterator[Batch]:
        for sets, places in positions(shares, size, seed, step):
            own, at = sets[rank::world], places[rank::world]
            yield gathered(parts, own, row_order(rows, seed, own, at))

    return batches


def drawn_sets(shares: Sequence[float], size: int, seed: int, step: int) -> Iterator[Tensor]:
    """Yield the sets [B] of each step's rows, from a step on, endlessly."""
    for chunk in count(step // CHUNK):
        yield from draw_chunk(shares, size, seed, chunk)[max(0, step - chunk * CHUNK) :]


def draw_chunk(shares: Sequence[float], size: int, seed: int, chunk: int) -> Tensor:
    """Draw sets by their shares: [CHUNK, B], for steps chunk * CHUNK and following."""
    generator = torch.Generator().manual_seed(seed_of("sets", seed, chunk))
    weights = torch.tensor(shares, dtype=torch.float64)
    return torch.multinomial(weights, CHUNK * size, True, generator=generator).view(CHUNK, size)


def positions(
    shares: Sequence[float], size: int, seed: int, step: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each step's sets [B], and the places [B] of its rows in the endless orders of their
    sets, counted from step 0."""
    seen = counts_before(shares, size, seed, step)
    for sets in drawn_sets(shares, size, seed, step):
        mine = sets[:, None] == torch.arange(len(shares))
        yield sets, seen[sets] + (mine.cumsum(0) - 1)[torch.arange(size), sets]
        seen = seen + mine.sum(0)


def counts_before(shares: Sequence[float], size: int, seed: int, step: int) -> Tensor:
    """Return how many rows of each set [P] the steps before `step` took."""
    counts = torch.zeros(len(shares), dtype=torch.int64)
    for chunk in range(step // CHUNK + 1):
        drawn = draw_chunk(shares, size, seed, chunk)[: step - chunk * CHUNK]
        counts += drawn.flatten().bincount(minlength=len(shares))
    return counts


def row_order(rows: Sequence[int], seed: int, sets: Tensor, places: Tensor) -> Tensor:
    """Return which row of its set each place [B] of an endless order is."""
    total = torch.tensor(rows)[sets]
    epochs, within = places // total, places % total
    chosen = [
        int(permutation(rows[part], seed, part, epoch)[at])
        for part, epoch, at in zip(sets.tolist(), epochs.tolist(), within.tolist(), strict=True)
    ]
    return torch.tensor(chosen, dtype=torch.int64)


@lru_cache(maxsize=32)
def permutation(rows: int, seed: int, part: int, epoch: int) -> Tensor:
    """Return the order of a set's rows in one of its epochs."""
    generator = torch.Generator().manual_seed(seed_of("rows", seed, part, epoch))
    return torch.randperm(rows, generator=generator)


def gathered(parts: Sequence[Batch], sets: Tensor, rows: Tensor) -> Batch:
    """Return the batch [B] of row `rows[b]` of part `sets[b]`, in that order."""
    order = torch.cat([(sets == k).nonzero()[:, 0] for k in range(len(parts))]).argsort()
    chosen = [rows[sets == k] for k in range(len(parts))]
    return {
        name: torch.cat([p[name][i] for p, i in zip(parts, chosen, strict=True)])[order]
        for name in parts[0]
    }


class RowStream:
    """An endless stream of batches, of which any number of rows may be taken."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches, self._left = batches, list[Batch]()

    def take(self, rows: int) -> list[Batch]:
        """Return the next rows, in pieces."""
        taken = []
        while rows:
            batch = self._left.pop() if self._left else next(self._batches)
            size = len(next(iter(batch.values())))
            taken.append({name: column[:rows] for name, column in batch.items()})
            if size > rows:
                self._left.append({name: column[rows:] for name, column in batch.items()})
            rows -= min(rows, size)
        return taken


def streamed_batches(
    open_streams: Callable[[int], Sequence[Iterator[Batch]]],
    shares: Sequence[float],
    size: int,
    seed: int,
) -> Batches:
    """Return `batches(step)` of `size` rows, each step's sets drawn, from endless streams.

    The draws do not depend on the worker: all come to the end of a set's pass at the same step.
    `open_streams(step)` gives one stream a set.
    """

    def batches(step: int) -> Iterator[Batch]:
        streams = [RowStream(stream) for stream in open_streams(step)]
        for sets in drawn_sets(shares, size, seed, step):
            counts = sets.bincount(minlength=len(streams)).tolist()
            taken = [p for s, n in zip(streams, counts, strict=True) for p in s.take(n)]
            yield {name: torch.cat([piece[name] for piece in taken]) for name in taken[0]}

    return batches
