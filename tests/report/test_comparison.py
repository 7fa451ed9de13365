"""The table of a sweep over settings of the training that are not Table 2's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from multibodies.errors import UserError
from multibodies.report.cells.facts import Facts, write_facts
from multibodies.report.cells.planned import axes_of_plan, cell_facts
from multibodies.report.comparison import axes_of, comparison_rows, write_comparison
from multibodies.report.rewriting import rewrite_report
from multibodies.sweep import Plan, expand, load_sweep
from report_samples import per_image

pytestmark = pytest.mark.slow

ORDER = ["wild", "awild", "MPJPE-n with intervals", "Effect of model.rank", "Provenance"]
SWEEPS = Path(__file__).parents[2] / "sweeps"
WORSE = {0: 0.0, 8: 2.0, 32: 1.0}  # mm


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    sweep = load_sweep(SWEEPS / "head.toml")
    plan = expand(replace(sweep, train={"model.rank": tuple(WORSE)}))
    parts = []
    for training in plan.trainings:
        frame = per_image(6, (training.seed,), (0.0,), (0.1,), noise=1.0)
        frame["mpjpe_mm"] += WORSE[training.overrides["model.rank"]]
        parts.append(frame.assign(training=training.id))
    pd.concat(parts).to_parquet(tmp_path / "per_image.parquet")
    return plan


def told(plan: Plan) -> Facts:
    """Return the facts of a plan that nothing was trained for."""
    axes = axes_of_plan(plan)
    keys = [axis.key for axis in axes]
    return Facts(axes, tuple(cell_facts(plan, cell, keys) for cell in plan.cells), ())


def test_only_eq_5s_weight_makes_a_table_2(plan: Plan) -> None:
    assert not plan.is_table2
    assert expand(load_sweep(SWEEPS / "table2.toml")).is_table2
    assert expand(replace(plan.sweep, train={})).is_table2


def test_rows_are_means_over_images_and_seeds(plan: Plan, tmp_path: Path) -> None:
    rows = comparison_rows(tmp_path, axes_of(plan))
    assert len(rows) == 2 * 3 * 4
    frames = [per_image(6, (seed,), (0.0,), (0.1,), noise=1.0) for seed in (0, 1)]
    for row in rows:
        values = []
        for frame in frames:
            mine = frame[(frame["dataset"] == row["dataset"]) & (frame["n"] == row["n"])]
            worse = WORSE[int(row["axes"].removeprefix("model.rank = "))]
            values.append(sum(mine["mpjpe_mm"]) / len(mine) + worse)
        assert row["mpjpe_mm_by_seed"] == pytest.approx(values)
        assert row["mpjpe_mm"] == pytest.approx(sum(values) / 2)


def test_the_page_has_a_line_per_cell_and_dataset(plan: Plan, tmp_path: Path) -> None:
    provenance = {"command": "a", "profile": "embedded"}
    write_facts(tmp_path, told(plan))
    page = write_comparison(tmp_path, axes_of(plan), provenance, [], 150)
    assert [section.title for section in page.sections] == ORDER
    text = (tmp_path / "table2.md").read_text()
    for rank in WORSE:
        assert text.count(f"| model.rank = {rank} ") == 2
    assert len(json.loads((tmp_path / "table2.json").read_text())["rows"]) == 24
    assert (tmp_path / "table2.html").exists()
    with Image.open(tmp_path / "figures" / "mpjpe_n.png") as picture:
        assert picture.width > 1.5 * picture.height  # two panels side by side
    names = ["comparison.json", "figures/axis-model.rank.png", "figures/mpjpe_n.png"]
    names += [path.name for path in tmp_path.glob("table2.*")]
    written = {name: (tmp_path / name).read_bytes() for name in names}
    for name in names[:3]:
        (tmp_path / name).unlink()
    rewrite_report(tmp_path, "unknown", 7)
    assert {name: (tmp_path / name).read_bytes() for name in names} == written


def test_a_training_without_records_is_named(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "per_image.parquet"
    frame = pd.read_parquet(path)
    frame[frame["training"] != "seed1-rank8"].to_parquet(path)
    with pytest.raises(UserError, match=r"per_image\.parquet, seed1-rank8: no records"):
        comparison_rows(tmp_path, axes_of(plan))


def test_an_n_above_a_swept_m_is_left_blank(tmp_path: Path) -> None:
    plan = expand(load_sweep(SWEEPS / "num_hypotheses.toml"))
    parts = []
    for training in plan.trainings:
        ns = training.config.evaluation.n
        frame = per_image(6, (training.seed,), (0.0,), (0.1,), ns=ns)
        parts.append(frame.assign(training=training.id))
    pd.concat(parts).to_parquet(tmp_path / "per_image.parquet")
    write_comparison(tmp_path, axes_of(plan), {"command": "a", "profile": "embedded"}, [])
    text = (tmp_path / "table2.md").read_text()
    lines = [line for line in text.splitlines() if "num_hypotheses = 5 " in line]
    assert [line.count("–") for line in lines] == [4, 4]  # MPJPE and RE of n = 10 and 25
