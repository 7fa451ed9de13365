"""Corruptions move what they should; the AUC is scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from multibodies.core.calibration import (
    LEFT_ARM,
    auc,
    calibration,
    jitter,
    random_turns,
    swap_limb,
)
from multibodies.core.joints import J24_NAMES, centre_on_mid_hips


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("values", [3, 20, 10**6])
def test_auc_is_scikit_learns_ties_included(values: int) -> None:
    rng = np.random.default_rng(values)
    higher = torch.from_numpy(rng.integers(0, values, 57).astype(float) + 0.3 * (values > 100))
    lower = torch.from_numpy(rng.integers(0, values, 91).astype(float))
    labels = [1] * 57 + [0] * 91
    expected = roc_auc_score(labels, torch.cat([higher, lower]).numpy())
    assert auc(higher, lower) == pytest.approx(expected, abs=1e-12)
    assert auc(lower, higher) == pytest.approx(1 - expected, abs=1e-12)


def test_auc_counts_pairs() -> None:
    higher, lower = torch.tensor([2.0, 1.0, torch.inf]), torch.tensor([1.0, -torch.inf, 2.0, 0.0])
    wins = sum((a > b) + 0.5 * (a == b) for a in higher.tolist() for b in lower.tolist())
    assert auc(higher, lower) == wins / 12
    assert auc(torch.ones(4), torch.ones(5)) == 0.5


@pytest.mark.parametrize(
    ("higher", "message"),
    [
        (torch.zeros(0), "at least one"),
        (torch.zeros(2, 2), "need two lists"),
        (torch.tensor([0.0, torch.nan]), "NaN"),
    ],
)
def test_auc_refuses_what_has_no_order(higher: Tensor, message: str) -> None:
    for pair in ((higher, torch.zeros(3)), (torch.zeros(3), higher)):
        with pytest.raises(ValueError, match=message):
            auc(*pair)


def test_jitter_has_its_size_and_stays_centred() -> None:
    true = centre_on_mid_hips(torch.randn(4000, 24, 3, dtype=torch.float64))
    moved = jitter(true, 0.05, seeded())
    torch.testing.assert_close(moved[:, 2], -moved[:, 3])
    ankle = (moved - true)[:, 0]  # its own noise less the mean of two hips' noise
    assert float(ankle.std()) == pytest.approx(0.05 * math.sqrt(1.5), rel=0.03)
    hip = (moved - true)[:, 2]
    assert float(hip.std()) == pytest.approx(0.05 * math.sqrt(0.5), rel=0.03)


def test_an_arm_is_another_bodys_and_nothing_else_moves() -> None:
    assert all(J24_NAMES[k].startswith("Left") for k in LEFT_ARM)
    true = torch.arange(50.0)[:, None, None] + torch.zeros(50, 24, 3)
    before = true.clone()
    swapped = swap_limb(true, LEFT_ARM, seeded())
    assert torch.equal(true, before)
    rest = [k for k in range(24) if k not in LEFT_ARM]
    assert torch.equal(swapped[:, rest], true[:, rest])
    givers = swapped[:, list(LEFT_ARM), 0]
    assert torch.equal(givers, givers[:, :1].expand(-1, 3))  # one giver a body
    assert sorted(givers[:, 0].tolist()) == list(range(50))
    assert (givers[:, 0] != torch.arange(50.0)).all()
    with pytest.raises(ValueError, match="expected 2 skeletons, got 1"):
        swap_limb(true[:1], LEFT_ARM, seeded())


def test_turns_have_normal_angles_about_uniform_axes() -> None:
    turns = random_turns((20000, 2), 0.3, seeded())
    assert turns.shape == (20000, 2, 3)
    assert float(turns.square().sum(-1).mean()) == pytest.approx(0.09, rel=0.03)
    scatter = turns.flatten(0, 1).T.cov()
    torch.testing.assert_close(scatter, 0.03 * torch.eye(3), rtol=0, atol=1e-3)
    assert float(turns.norm(dim=-1).pow(4).mean()) == pytest.approx(3 * 0.3**4, rel=0.05)


def test_calibration_reports_densities_and_their_order() -> None:
    true, corrupt = torch.randn(30, 24, 3), 1.1 * torch.randn(40, 24, 3)

    def log_prob(x: Tensor) -> Tensor:
        return -0.5 * x.square().sum((-1, -2))

    found = calibration(log_prob, true, corrupt)
    scores = torch.cat([log_prob(true), log_prob(corrupt)]).double()
    assert found["auc"] == pytest.approx(roc_auc_score([1] * 30 + [0] * 40, scores), abs=1e-12)
    assert found["mean_true"] == pytest.approx(float(scores[:30].mean()))
    assert found["mean_corrupt"] == pytest.approx(float(scores[30:].mean()))
    with pytest.raises(FloatingPointError, match="not finite"):
        calibration(log_prob, true, torch.full((2, 24, 3), torch.inf))
