"""The bootstrap against a naive loop and against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from multibodies.errors import UserError
from multibodies.report.bootstrap import CHUNK, bootstrap_means, paired_bootstrap


def naive(values: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Draw rows with the same generator, one resample at a time, and average them."""
    rng = np.random.default_rng(seed)
    means = []
    for start in range(0, samples, CHUNK):
        drawn = rng.integers(len(values), size=(min(CHUNK, samples - start), len(values)))
        means += [values[rows].mean(axis=0) for rows in drawn]
    return np.array(means)


@pytest.mark.parametrize("samples", [7, CHUNK, CHUNK + 3])
def test_means_are_those_of_a_loop(samples: int) -> None:
    values = np.random.default_rng(1).normal(size=(23, 3))
    np.testing.assert_allclose(bootstrap_means(values, samples, 5), naive(values, samples, 5))


def test_intervals_are_scipys() -> None:
    rng = np.random.default_rng(2)
    values = np.stack([rng.normal(-2, 9, 400), rng.exponential(30, 400)], axis=1)
    ours = paired_bootstrap(values, 9000)
    for column in range(2):
        theirs = stats.bootstrap(
            (values[:, column],), np.mean, n_resamples=9000, method="percentile", rng=rng
        ).confidence_interval
        width = theirs.high - theirs.low
        assert abs(ours.low[column] - theirs.low) < 0.05 * width
        assert abs(ours.high[column] - theirs.high) < 0.05 * width
    np.testing.assert_array_equal(ours.mean, values.mean(axis=0))


def test_a_difference_is_that_of_its_columns_pair_by_pair() -> None:
    rng = np.random.default_rng(3)
    shared = rng.normal(100, 40, 300)
    pair = np.stack([shared + rng.normal(0, 1, 300), shared + rng.normal(-2, 1, 300)], axis=1)
    means = bootstrap_means(pair, 500, 0)
    difference = bootstrap_means(pair[:, :1] - pair[:, 1:], 500, 0)
    np.testing.assert_allclose(means[:, :1] - means[:, 1:], difference)
    together = paired_bootstrap(pair[:, :1] - pair[:, 1:], 500)
    assert 1.5 < together.low[0] < together.high[0] < 2.5
    apart = paired_bootstrap(pair, 500)
    assert (apart.high - apart.low).min() > 20 * (together.high - together.low)[0]


def test_a_constant_difference_has_no_width() -> None:
    found = paired_bootstrap(np.full((5, 1), -3.0), 100)
    assert found.mean == found.low == found.high == -3.0


def test_intervals_cover_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(4)
    columns = rng.normal(1.0, 5.0, size=(80, 1000))
    found = paired_bootstrap(columns, 400)
    covered = ((found.low <= 1.0) & (found.high >= 1.0)).mean()
    assert 0.92 < covered < 0.97


@pytest.mark.parametrize(
    "values", [np.zeros((1, 2)), np.zeros(5), np.array([[0.0], [np.nan]]), np.zeros((0, 3))]
)
def test_bad_values_are_refused(values: np.ndarray) -> None:
    with pytest.raises(UserError, match="a bootstrap needs"):
        paired_bootstrap(values, 100)
