"""Scoring against a naive loop: every partition is tried, every mean and rotation is found another
way.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation

from multibodies.config import EvaluationConfig
from multibodies.core.joints import H36M_TO_J14
from multibodies.errors import UserError
from multibodies.hypotheses import StoredHypotheses
from multibodies.scoring import Cell, Scores, score_hypotheses
from multibodies.truth import truth_from_rows
from stored_samples import random_rows, random_stored

IMAGES, M, SIZE = 4, 5, 32
ALPHAS, NS = (0.0, 0.1, 1.0), (1, 2, 3, 5)
Array = npt.NDArray[Any]


def partitions(m: int, n: int) -> Iterator[list[list[int]]]:
    """Every way to split m hypotheses into n clusters, none of them empty."""
    for labels in itertools.product(range(n), repeat=m):
        first = [labels.index(k) for k in range(n) if k in labels]
        if len(first) == n and first == sorted(
            first
        ):  # each way once, whatever the clusters' order
            yield [[i for i in range(m) if labels[i] == k] for k in range(n)]


def mean(points: Array, weights: Array, members: list[int]) -> Array:
    result: Array = sum(weights[i] * points[i] for i in members) / sum(weights[i] for i in members)
    return result


def energy(points: Array, weights: Array, clusters: list[list[int]]) -> float:
    return sum(
        float(weights[i] * ((points[i] - mean(points, weights, c)) ** 2).sum())
        for c in clusters
        for i in c
    )


def distance(a: Array, b: Array) -> float:
    return 1000 * float(np.mean([np.linalg.norm(x - y) for x, y in zip(a, b, strict=True)]))


def aligned(pred: Array, truth: Array) -> Array:
    """Similarity alignment through SciPy's rotation fit."""
    x, y = pred - pred.mean(0), truth - truth.mean(0)
    turned = Rotation.align_vectors(y, x)[0].apply(x)
    result: Array = (y * turned).sum() / (turned**2).sum() * turned + truth.mean(0)
    return result


class Naive:
    """One image, one flow weight."""

    def __init__(
        self, stored: StoredHypotheses, rows: dict[str, Array], image: int, alpha: float
    ) -> None:
        powers = [np.exp(alpha * float(d)) for d in stored.log_density[image]]
        self.weights = np.array(powers) / sum(powers)
        self.j24 = stored.joints_j24[image].astype(np.float64)
        self.j24 -= (self.j24[:, 2:3] + self.j24[:, 3:4]) / 2
        self.j14 = stored.joints_h36m14[image].astype(np.float64)
        h36m = rows["h36m17"][image].astype(np.float64)
        self.truth14 = np.array([h36m[k] - h36m[0] for k in H36M_TO_J14])
        self.truth24 = rows["joints_3d"][image].astype(np.float64)

    def best_clusters(self, n: int) -> tuple[list[list[int]], float]:
        points = self.j24.reshape(M, -1)
        tried = [(energy(points, self.weights, c), c) for c in partitions(M, n)]
        least = min(tried, key=lambda pair: pair[0])
        return least[1], least[0]

    def outputs(self, n: int, representative: str) -> list[tuple[Array, Array]]:
        """Return (j14, j24) of every representative; of two equally near medoids the heavier, then
        that with the smaller sum of its coordinates times the roots of 1, 2, 3, ...
        """
        out = []
        for members in self.best_clusters(n)[0]:
            if representative == "centroid":
                out.append(
                    (mean(self.j14, self.weights, members), mean(self.j24, self.weights, members))
                )
                continue
            centre = mean(self.j24, self.weights, members)
            far = {i: round(float(((self.j24[i] - centre) ** 2).sum()), 9) for i in members}
            roots = np.arange(1, self.j24[0].size + 1) ** 0.5
            key = {i: float((self.j24[i].ravel() * roots).sum()) for i in members}
            nearest = min(members, key=lambda i: (far[i], -round(self.weights[i], 12), key[i]))
            out.append((self.j14[nearest], self.j24[nearest]))
        return out

    def errors(self, n: int, representative: str, selection: str) -> tuple[float, float]:
        outputs = self.outputs(n, representative)
        mpjpe = [distance(j14, self.truth14) for j14, _ in outputs]
        re = [distance(aligned(j14, self.truth14), self.truth14) for j14, _ in outputs]
        if selection == "strict":
            return min(mpjpe), min(re)
        truth = self.truth24[:, :3] - self.truth24[2:4, :3].mean(0)
        cost = [
            float((self.truth24[:, 3] * ((j24 - truth) ** 2).sum(1)).sum()) for _, j24 in outputs
        ]
        best = cost.index(min(cost))
        return mpjpe[best], re[best]


@pytest.fixture(scope="module")
def stored() -> StoredHypotheses:
    return random_stored(IMAGES, M, seed=1)


@pytest.fixture(scope="module")
def rows() -> dict[str, Array]:
    return random_rows(IMAGES, seed=2)


def scores_of(stored: StoredHypotheses, rows: dict[str, Array], **settings: Any) -> Scores:
    truth = truth_from_rows(rows, "wild", SIZE, "shard")
    evaluation = EvaluationConfig(**{"n": NS, "restarts": 8, **settings})
    return score_hypotheses(stored, truth, evaluation, ALPHAS, Cell(7, 0.5))


@pytest.mark.parametrize("representative", ["centroid", "medoid"])
@pytest.mark.parametrize("selection", ["strict", "official"])
def test_records_equal_a_naive_loop(
    stored: StoredHypotheses, rows: dict[str, Array], representative: str, selection: str
) -> None:
    table = scores_of(stored, rows, representative=representative, selection=selection).records
    records = {(r["image_id"], r["flow_weight"], r["n"]): r for r in table.to_pylist()}
    assert len(records) == table.num_rows == IMAGES * len(ALPHAS) * len(NS)
    for image, alpha, n in itertools.product(range(IMAGES), ALPHAS, NS):
        expected = Naive(stored, rows, image, alpha).errors(n, representative, selection)
        record = records[stored.image_id[image], alpha, n]
        np.testing.assert_allclose((record["mpjpe_mm"], record["re_mm"]), expected, rtol=1e-6)
        assert (record["dataset"], record["seed"], record["lambda_ri"]) == ("wild", 7, 0.5)


def test_records_have_exactly_the_columns_of_per_image_parquet(
    stored: StoredHypotheses, rows: dict[str, Array]
) -> None:
    names = ["dataset", "image_id", "seed", "lambda_ri", "flow_weight", "n", "mpjpe_mm", "re_mm"]
    table = scores_of(stored, rows).records
    assert table.column_names == [*names, "protocol"]
    assert set(table["protocol"].to_pylist()) == {"embedded@1"}


def test_diagnostics_equal_a_naive_loop(stored: StoredHypotheses, rows: dict[str, Array]) -> None:
    table = scores_of(stored, rows).diagnostics
    records = {(r["image_id"], r["flow_weight"]): r for r in table.to_pylist()}
    assert len(records) == table.num_rows == IMAGES * len(ALPHAS)
    for image, alpha in itertools.product(range(IMAGES), ALPHAS):
        naive = Naive(stored, rows, image, alpha)
        record = records[stored.image_id[image], alpha]
        mpjpe = [distance(j14, naive.truth14) for j14 in naive.j14]
        re = [distance(aligned(j14, naive.truth14), naive.truth14) for j14 in naive.j14]
        assert record["best_hypothesis"] == int(np.argmin(mpjpe))
        np.testing.assert_allclose(record["oracle_mpjpe_mm"], min(mpjpe), rtol=1e-9)
        np.testing.assert_allclose(record["oracle_re_mm"], min(re), rtol=1e-6)
        np.testing.assert_allclose(
            record["effective_number"], 1 / sum(w * w for w in naive.weights), rtol=1e-9
        )
        for n in NS:
            np.testing.assert_allclose(
                record[f"energy_n{n}_m2"], naive.best_clusters(n)[1], rtol=1e-6, atol=1e-12
            )
        assert record["occlusion"] == rows["occlusion"][image]


def test_spread_of_hypotheses_equals_a_naive_loop(
    stored: StoredHypotheses, rows: dict[str, Array]
) -> None:
    for record in scores_of(stored, rows).diagnostics.to_pylist():
        image = stored.image_id.index(record["image_id"])
        truth, points = rows["keypoints_2d"][image], stored.keypoints_2d_pred[image]
        joints = stored.joints_j24[image].astype(np.float64)
        visible = [k for k in range(24) if truth[k, 2] > 0]
        error = np.mean(
            [np.linalg.norm(points[m, k] - truth[k, :2]) for m in range(M) for k in visible]
        )
        spread = [
            1000 * np.mean([np.linalg.norm(joints[m, k] - joints[:, k].mean(0)) for m in range(M)])
            for k in range(24)
        ]
        np.testing.assert_allclose(record["consistency_ndc"], error, rtol=1e-5)
        np.testing.assert_allclose(record["consistency_px"], error * SIZE / 2, rtol=1e-5)
        np.testing.assert_allclose(record["diversity_all_mm"], np.mean(spread), rtol=1e-5)
        np.testing.assert_allclose(
            record["diversity_visible_mm"], np.mean([spread[k] for k in visible]), rtol=1e-5
        )
        hidden = [spread[k] for k in range(24) if k not in visible]
        if hidden:
            np.testing.assert_allclose(record["diversity_hidden_mm"], np.mean(hidden), rtol=1e-5)
        else:
            assert record["diversity_hidden_mm"] is None


def test_more_outputs_never_hurt_the_medoid_under_strict_selection_at_n_equal_m(
    stored: StoredHypotheses, rows: dict[str, Array]
) -> None:
    scores = scores_of(stored, rows, representative="medoid", n=(M,))
    oracle = {r["image_id"]: r["oracle_mpjpe_mm"] for r in scores.diagnostics.to_pylist()}
    for record in scores.records.to_pylist():
        np.testing.assert_allclose(record["mpjpe_mm"], oracle[record["image_id"]], rtol=1e-12)


def test_the_order_of_images_does_not_matter(
    stored: StoredHypotheses, rows: dict[str, Array]
) -> None:
    key = [("image_id", "ascending"), ("flow_weight", "ascending"), ("n", "ascending")]
    first = scores_of(stored, rows).records.sort_by(key)
    other = scores_of(stored.rows([2, 0, 3, 1]), rows).records.sort_by(key)
    assert first.equals(other)


def test_one_hypothesis_is_scored_whatever_its_weight(rows: dict[str, Array]) -> None:
    single = random_stored(IMAGES, 1, seed=3)
    scores = scores_of(single, rows, n=(1,))
    oracle = {r["image_id"]: r["oracle_mpjpe_mm"] for r in scores.diagnostics.to_pylist()}
    for record in scores.records.to_pylist():
        np.testing.assert_allclose(record["mpjpe_mm"], oracle[record["image_id"]], rtol=1e-12)


@pytest.mark.parametrize(
    ("m", "n", "message"),
    [
        (M, (1, 25), "asks for 25 of M = 5 hypotheses"),
        (1, (1, 5), "asks for 5 of M = 1 hypotheses"),
        (M, (0, 1), "whole numbers >= 1"),
        (M, (), "whole numbers >= 1"),
    ],
)
def test_impossible_n_are_refused_before_any_work(
    rows: dict[str, Array], m: int, n: tuple[int, ...], message: str
) -> None:
    broken = {**rows, "image_id": np.array([f"other-{i}" for i in range(IMAGES)])}
    with pytest.raises(UserError, match=message):
        scores_of(random_stored(IMAGES, m), broken, n=n)


def test_images_of_another_dataset_are_named(
    stored: StoredHypotheses, rows: dict[str, Array]
) -> None:
    with pytest.raises(UserError, match="no hypotheses for image 'wild-003'"):
        scores_of(stored.rows([0, 1, 2]), rows)
    fewer = {name: column[:3] for name, column in rows.items()}
    with pytest.raises(UserError, match="image 'wild-003' is not in the dataset"):
        scores_of(stored, fewer)


def test_truth_that_cannot_be_scored_is_named(
    stored: StoredHypotheses, rows: dict[str, Array]
) -> None:
    flat = {**rows, "has_3d": np.array([True, False, True, True])}
    with pytest.raises(UserError, match="shard: image 'wild-001' has no 3D truth"):
        scores_of(stored, flat)
    broken = {**rows, "h36m17": rows["h36m17"].copy()}
    broken["h36m17"][2, 3, 1] = np.inf
    with pytest.raises(UserError, match="labels of image 'wild-002' are not finite"):
        scores_of(stored, broken)
    twice = {**rows, "image_id": np.array(["wild-000"] * IMAGES)}
    with pytest.raises(UserError, match="image 'wild-000' appears twice"):
        scores_of(stored, twice)


def test_a_very_sharp_prior_still_gives_n_finite_outputs(
    stored: StoredHypotheses, rows: dict[str, Array]
) -> None:
    sharp = replace(stored, log_density=stored.log_density * 1000)
    table = scores_of(sharp, rows).records.to_pandas()
    assert np.isfinite(table[["mpjpe_mm", "re_mm"]].to_numpy()).all()
