"""Paired bootstrap over images, or over images and seeds.

Shapes: B image, S seed, C column (a contrast per image, in mm), R resample.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from multibodies.errors import UserError

Floats = npt.NDArray[np.float64]
CHUNK = 250  # resamples drawn at once; bounds the memory at CHUNK * B * 8 bytes
TAIL = 0.025  # 95 % intervals


class Intervals(NamedTuple):
    """Means [C] and the ends of their 95 % percentile intervals [C]."""

    mean: Floats
    low: Floats
    high: Floats


def bootstrap_means(values: Floats, samples: int, seed: int) -> Floats:
    """Return the means [R, C] of R resamples of the B rows of `values` [B, C], with replacement.

    All columns share the resampled rows, so differences of columns stay paired.
    """
    rng = np.random.default_rng(seed)
    parts = [counts @ values for counts in _counts(rng, len(values), samples)]
    means: Floats = np.concatenate(parts) / len(values)
    return means


def paired_bootstrap(values: Floats, samples: int, seed: int = 0) -> Intervals:
    """Return mean and 95 % percentile interval of every column of `values` [B, C].

    A column holds one difference per image (its seeds averaged before), so that resampling images
    keeps the pairing. Raises UserError on fewer than two images, a wrong shape or numbers that are
    not finite.
    """
    if values.ndim != 2 or len(values) < 2:
        raise UserError(f"a bootstrap needs [images, columns] with 2 images, got {values.shape}")
    if not np.isfinite(values).all():
        raise UserError("a bootstrap needs finite numbers; look for NaN in the per-image records")
    means = bootstrap_means(values, samples, seed)
    low, high = np.quantile(means, (TAIL, 1 - TAIL), axis=0)
    return Intervals(values.mean(axis=0), low, high)


def seeds_bootstrap(values: Floats, samples: int, seed: int = 0) -> Intervals:
    """Return mean and 95 % percentile interval of `values` [B, S, C], with images and seeds both
    resampled, each on its own.

    Few seeds make it too narrow: two are the same one in half of the resamples. Raises UserError as
    `paired_bootstrap`.
    """
    images, seeds, columns = values.shape
    flat = values.reshape(images, seeds * columns)
    mean = paired_bootstrap(flat, 1).mean.reshape(seeds, columns).mean(axis=0)
    means = bootstrap_means(flat, samples, seed).reshape(samples, seeds, columns)
    drawn = np.random.default_rng(seed + 1).multinomial(seeds, [1 / seeds] * seeds, size=samples)
    both = np.einsum("rs,rsc->rc", drawn / seeds, means)
    low, high = np.quantile(both, (TAIL, 1 - TAIL), axis=0)
    return Intervals(mean, low, high)


def _counts(rng: np.random.Generator, rows: int, samples: int) -> Iterator[Floats]:
    """Yield how often each row is drawn, [<= CHUNK, B] at a time, `samples` resamples in all."""
    for start in range(0, samples, CHUNK):
        size = min(CHUNK, samples - start)
        drawn = rng.integers(rows, size=(size, rows))
        flat = drawn + rows * np.arange(size)[:, None]
        yield np.bincount(flat.ravel(), minlength=size * rows).reshape(size, rows).astype(float)
