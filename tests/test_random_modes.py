"""`evaluation.quantizer = "random"`: which hypotheses are scored, and that nothing else moves."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch

from multibodies.config import Config, EvaluationConfig, fingerprint, load_config
from multibodies.core.joints import H36M_TO_J14
from multibodies.errors import UserError
from multibodies.hypotheses import StoredHypotheses
from multibodies.outputs import FEATURES, REPRESENTATIVES, make_outputs
from multibodies.scoring import Cell, Scores, score_hypotheses
from multibodies.truth import truth_from_rows
from stored_samples import random_rows, random_stored

IMAGES, M, N = 4, 12, (1, 5, 10)
ALPHAS = (0.0, 1.0)


def score(stored: StoredHypotheses, index: list[int], **settings: Any) -> list[dict[str, Any]]:
    evaluation = EvaluationConfig(**{"n": N, "quantizer": "random", **settings})
    rows = {name: column[index] for name, column in random_rows(IMAGES, seed=2).items()}
    truth = truth_from_rows(rows, "wild", 32, "shard")
    scores: Scores = score_hypotheses(stored.rows(index), truth, evaluation, ALPHAS, Cell(0, 0.0))
    return [
        {key: line[key] for key in ("image_id", "flow_weight", "n", "mpjpe_mm", "re_mm")}
        for line in scores.records.to_pylist()
    ]


def naive_draw(stored: StoredHypotheses, image: int, alpha: float) -> list[int]:
    """Exponential waiting times of rate p^alpha, sorted."""
    seed = hashlib.sha256(stored.image_id[image].encode()).hexdigest()[:8]
    generator = torch.Generator().manual_seed(int(seed, 16))
    waits = torch.empty(M, dtype=torch.float64).exponential_(generator=generator).numpy()
    rates = np.exp(alpha * stored.log_density[image].astype(np.float64))
    return [int(m) for m in np.argsort(waits / rates)]


def test_each_metric_takes_the_best_of_the_drawn_hypotheses() -> None:
    stored, labels = random_stored(IMAGES, M, seed=1), random_rows(IMAGES, seed=2)
    lines = score(stored, list(range(IMAGES)))
    assert len(lines) == IMAGES * len(ALPHAS) * len(N)
    for line in lines:
        image = stored.image_id.index(line["image_id"])
        h36m = labels["h36m17"][image].astype(np.float64)
        wanted = (h36m - h36m[0])[list(H36M_TO_J14)]
        drawn = naive_draw(stored, image, line["flow_weight"])[: line["n"]]
        errors = [
            1000 * np.linalg.norm(stored.joints_h36m14[image, m] - wanted, axis=1).mean()
            for m in drawn
        ]
        assert line["mpjpe_mm"] == pytest.approx(min(errors), rel=1e-6)


@pytest.mark.parametrize("n", N)
def test_centroid_and_medoid_are_the_drawn_hypotheses_themselves_in_their_order(n: int) -> None:
    stored = random_stored(IMAGES, M, seed=1)
    points, evaluation = FEATURES["j24"](stored).flatten(2), EvaluationConfig(quantizer="random")
    density = torch.from_numpy(stored.log_density).double()
    outputs = make_outputs(points, density, 1.0, n, evaluation, stored.image_id)
    values = torch.from_numpy(stored.camera)
    drawn = [naive_draw(stored, image, 1.0)[:n] for image in range(IMAGES)]
    assert outputs.medoids.tolist() == drawn
    expected = torch.stack([values[image, index] for image, index in enumerate(drawn)])
    for represent in REPRESENTATIVES.values():
        torch.testing.assert_close(represent(values, outputs), expected, rtol=1e-6, atol=0)


def test_fewer_outputs_are_among_more_and_batches_do_not_matter() -> None:
    stored = random_stored(IMAGES, M, seed=1)
    together = score(stored, list(range(IMAGES)))
    apart = [line for image in (2, 0, 3, 1) for line in score(stored, [image])]
    key = ("image_id", "flow_weight", "n")
    assert sorted(together, key=lambda x: [x[k] for k in key]) == sorted(
        apart, key=lambda x: [x[k] for k in key]
    )
    errors = {tuple(line[k] for k in key): line["mpjpe_mm"] for line in together}
    for name in stored.image_id:
        for alpha in ALPHAS:
            curve = [errors[name, alpha, n] for n in N]
            assert curve == sorted(curve, reverse=True)


def test_settings_of_k_means_do_not_bear_on_a_draw() -> None:
    stored, everything = random_stored(IMAGES, M, seed=1), list(range(IMAGES))
    usual = score(stored, everything)
    assert usual == score(stored, everything, single="first", keep_first=True, restarts=1)
    for one, other in zip(usual, score(stored, everything, representative="medoid"), strict=True):
        assert one["mpjpe_mm"] == pytest.approx(other["mpjpe_mm"], rel=1e-9)
    assert usual != score(stored, everything, quantizer="kmeans")


def test_recipes_of_k_means_stay_what_they_were_before_there_was_a_choice() -> None:
    usual = EvaluationConfig()
    assert "quantizer" not in usual.model_dump()
    assert "quantizer" not in Config(profile="").model_dump(mode="json")["evaluation"]
    asked = load_config("embedded", {"evaluation.quantizer": "random"})
    assert asked.model_dump(mode="json")["evaluation"]["quantizer"] == "random"
    assert fingerprint(asked.evaluation) != fingerprint(usual)
    assert EvaluationConfig(**asked.evaluation.model_dump()) == asked.evaluation
    assert EvaluationConfig(**usual.model_dump()) == usual


def test_another_quantizer_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"evaluation\.quantizer.*'kmeans' or 'random'"):
        load_config("embedded", {"evaluation.quantizer": "dice"})
