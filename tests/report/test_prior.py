"""The prior on the page: gate, calibration, samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from PIL import Image

from model_samples import save_prior
from multibodies import cli
from multibodies.checkpoints import read_meta, save_module
from multibodies.core.joints import J24_EDGES, J24_NAMES
from multibodies.errors import UserError
from multibodies.report.page import Table
from multibodies.report.prior import CORRUPTIONS, describe, prior_section
from multibodies.report.prior_samples import NAME, VIEWS, draw_samples, sample, write_samples
from multibodies.report.summary import write_report
from report_samples import per_image

pytestmark = pytest.mark.slow

META: dict[str, Any] = {
    "train_nll": -141.14,
    "val_nll": -138.26,
    "gaussian_val_nll": -132.44,
    "gain_nats": 5.82,
    "passed": True,
    "calibration": {
        name: {"auc": 0.9 - k / 10, "mean_true": 161.0, "mean_corrupt": 118.0 + k}
        for k, name in enumerate(CORRUPTIONS)
    },
}


def tables(meta: dict[str, Any]) -> list[Table]:
    return [item for item in prior_section(meta).items if isinstance(item, Table)]


def test_gate_and_calibration_are_tables() -> None:
    gate, found = tables(META)
    assert [row[1] for row in gate.rows] == ["-138.3", "-141.1", "-132.4"]
    assert "Gate passed" in gate.caption
    assert [row[1:] for row in found.rows] == [
        ("0.900", "161.0", "118.0"),
        ("0.800", "161.0", "119.0"),
        ("0.700", "161.0", "120.0"),
    ]
    assert "Gate NOT passed" in tables({**META, "passed": False})[0].caption


def test_priors_of_before_calibration_show_their_gate() -> None:
    old = {name: value for name, value in META.items() if name != "calibration"}
    assert len(tables(old)) == 1


def test_the_page_has_the_prior_where_it_is_known(tmp_path: Path) -> None:
    small = per_image(images=2, seeds=(0,), weights=(0.0, 1.0), levels=(1.0,), ns=(1, 5))
    small.to_parquet(tmp_path / "per_image.parquet")
    write_report(tmp_path, {"profile": "smoke", "prior_meta": META}, samples=100)
    for suffix in ("md", "html"):
        text = (tmp_path / f"table2.{suffix}").read_text()
        assert "Prior: gate and calibration" in text and "another body" in text
    write_report(tmp_path, {"profile": "smoke"}, samples=100)
    assert "Prior: gate" not in (tmp_path / "table2.md").read_text()


@pytest.mark.parametrize("frame", ["body", "camera"])
def test_samples_stand_upright_in_both_frames(tmp_path: Path, frame: str) -> None:
    prior = save_prior(tmp_path, frame=frame)
    drawn = sample(prior, 5)
    expected = prior.sample(5, torch.Generator().manual_seed(0)).detach().numpy()
    signs = [1, 1, 1] if frame == "body" else [1, -1, -1]
    np.testing.assert_allclose(drawn, expected * signs)


def test_every_bone_is_drawn_from_every_side() -> None:
    skeletons = np.random.default_rng(0).normal(size=(3, 24, 3)).astype(np.float32)
    figure = draw_samples(skeletons)
    assert len(figure.axes) == 3 * len(VIEWS)
    a, b = J24_EDGES[4]
    length = {"front": [0, 1], "side": [2, 1], "above": [0, 2]}
    for index, axes in enumerate(figure.axes):
        (bones,) = [c for c in axes.collections if isinstance(c, LineCollection)]
        segments = [np.asarray(segment) for segment in bones.get_segments()]
        assert len(segments) == len(J24_EDGES)
        view, joints = list(VIEWS)[index // 3], skeletons[index % 3]
        expected = np.linalg.norm((joints[a] - joints[b])[length[view]])
        assert np.linalg.norm(segments[4][1] - segments[4][0]) == pytest.approx(expected, rel=1e-5)
        assert np.abs(np.concatenate(segments)).max() <= axes.get_xlim()[1]
    colours = np.asarray(figure.axes[0].collections[0].get_edgecolor())
    of = {J24_NAMES[b].split()[0]: tuple(c) for (_, b), c in zip(J24_EDGES, colours, strict=True)}
    assert len({of["Left"], of["Right"], of["Thorax"]}) == 3
    with pytest.raises(ValueError, match=r"expected skeletons \[N, 24, 3\]"):
        draw_samples(skeletons[:, :5])


def test_fit_prior_prints_gate_and_auc_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights"
    prior = save_prior(weights)
    save_module(weights, prior.state_dict(), {**read_meta(weights), **META})
    monkeypatch.setattr("multibodies.cluster.prior.fit_prior", lambda *_, **__: weights)
    assert cli.main(["fit-prior", "--data", "x", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert describe(weights) in text and "-138.3" in text and "0.900" in text
    assert text.splitlines()[-1] == str(weights)
    with Image.open(tmp_path / NAME) as image:
        assert image.size[0] > 600
    assert json.loads((weights / "meta.json").read_text())["calibration"] == META["calibration"]


def test_samples_of_a_missing_prior_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such checkpoint"):
        write_samples(tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []
