"""The paper's occlusion: probabilities, joint sets, the box around what stays visible."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from multibodies.core.joints import J24_NAMES
from multibodies.core.occlusion import (
    HIDDEN_J24,
    STRATEGIES,
    draw_strategy,
    hidden_mask,
    hide,
    visible_box,
)
from multibodies.errors import UserError


def test_strategies_have_the_papers_probabilities() -> None:
    even = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000  # every quantile once
    counts = Counter(draw_strategy(even))
    assert counts == {name: round(1000 * share) for name, share in STRATEGIES.items()}
    assert counts == {"arms_head": 300, "legs": 300, "head": 300, "none": 100}
    assert draw_strategy(torch.tensor([0.0, 1.0 - 1e-12], dtype=torch.float64)) == [
        "arms_head",
        "none",
    ]


def test_hidden_joints_by_name() -> None:
    words = {
        "legs": ("Hip", "Knee", "Ankle"),
        "head": ("Neck", "Top of Head", "Jaw", "Head (H36M)", "Nose", "Eye", "Ear"),
        "arms_head": (
            "Wrist",
            "Elbow",
            "Shoulder",
            "Neck",
            "Top of Head",
            "Jaw",
            "Head (H36M)",
            "Nose",
            "Eye",
            "Ear",
        ),
        "none": (),
    }
    for strategy, parts in words.items():
        by_name = {k for k, name in enumerate(J24_NAMES) if any(part in name for part in parts)}
        assert set(HIDDEN_J24[strategy]) == by_name, strategy


def test_hide_changes_flags_only() -> None:
    points = torch.rand(
        3, 2, 24, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    points[..., 2] = (points[..., 2] > 0.3).double()
    before = points.clone()
    hidden = hide(points, "legs")
    assert torch.equal(points, before)
    assert torch.equal(hidden[..., :2], points[..., :2])
    for k in range(24):
        want = (
            torch.zeros(3, 2, dtype=torch.float64) if k in HIDDEN_J24["legs"] else points[..., k, 2]
        )
        assert torch.equal(hidden[..., k, 2], want)
    assert torch.equal(hide(points, "none"), points)


def test_hidden_mask_is_one_row_per_name() -> None:
    mask = hidden_mask(["none", "head"])
    assert mask.shape == (2, 24)
    assert mask[0].sum() == 0
    assert mask[1].nonzero()[:, 0].tolist() == sorted(HIDDEN_J24["head"])
    with pytest.raises(UserError, match="did you mean 'legs'"):
        hidden_mask(["leg"])


def test_visible_box_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(5, 24, 3))
    points[..., 2] = rng.random((5, 24)) > 0.5
    centre, half = visible_box(torch.from_numpy(points), 0.1)
    for row in range(5):
        seen = [p[:2] for p in points[row] if p[2] > 0]
        xs, ys = [p[0] for p in seen], [p[1] for p in seen]
        side = max(max(xs) - min(xs), max(ys) - min(ys))
        assert centre[row].tolist() == pytest.approx(
            [(max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2]
        )
        assert float(half[row]) == pytest.approx(side / 2 + 0.1 * side)


def test_visible_box_of_one_joint_has_a_side() -> None:
    points = torch.full((24, 3), torch.nan)
    points[:, 2] = 0
    points[7] = torch.tensor([0.25, -0.5, 1.0])
    centre, half = visible_box(points, 0.0)
    assert centre.tolist() == [0.25, -0.5]
    assert 0 < float(half) < 0.01


@pytest.mark.parametrize("bad", ["none visible", "nan"])
def test_nothing_to_crop_around_is_refused(bad: str) -> None:
    points = torch.rand(3, 24, 3) + 0.1
    if bad == "nan":
        points[2, 5, 1] = torch.nan
    else:
        points[2, :, 2] = 0
    with pytest.raises(UserError, match="row 2: no visible joint"):
        visible_box(points, 0.1)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(UserError, match=r"\[\.\.\., 24, 3\]"):
        hide(torch.zeros(2, 17, 3), "head")


def test_the_released_codes_head_hides_the_arms_and_nothing_else_changes() -> None:
    names = list(STRATEGIES)
    paper, released = hidden_mask(names), hidden_mask(names, "arms")
    hidden = {name: row.nonzero()[:, 0].tolist() for name, row in zip(names, released, strict=True)}
    assert hidden["head"] == [6, 7, 8, 9, 10, 11]  # joints 6-11: wrists, elbows, shoulders
    assert hidden["none"] == []
    same = [name != "head" for name in names]
    assert torch.equal(paper[same], released[same])
    with pytest.raises(UserError, match="did you mean 'arms'"):
        hidden_mask(["head"], "arm")


def test_the_box_is_longer_by_a_share_of_its_padded_side() -> None:
    points = torch.zeros(24, 3, dtype=torch.float64)
    points[0] = torch.tensor([-0.5, 0.0, 1.0])
    points[1] = torch.tensor([0.3, 0.2, 1.0])
    centre, half = visible_box(points, 0.25, extra=1 / 64)
    assert centre.tolist() == pytest.approx([-0.1, 0.1])
    padded = 0.8 + 2 * 0.25 * 0.8
    assert 2 * float(half) == pytest.approx(padded + padded / 64)  # one pixel of 64
