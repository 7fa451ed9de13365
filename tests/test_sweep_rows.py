"""Rows of a sweep file: named settings, a training each; and the settings of a system."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibodies.config import load_config
from multibodies.errors import UserError
from multibodies.report.comparison import axes_of
from multibodies.sweep import Plan, describe_plan, expand, load_sweep, smoke_variant

TWO = """
name = "two"
seeds = [0, 1]
stage1 = "shipped"
[evaluation]
splits = ["wild-val"]
n = [1, 5, 10, 25]
[rows.plain]
"loss.ri" = 0.1
[rows.one]
"stage2.num_hypotheses" = 1
"evaluation.n" = [1]
"""


def planned(tmp_path: Path, text: str) -> Plan:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return expand(load_sweep(path))


def test_each_row_is_a_training_per_seed_under_its_name(tmp_path: Path) -> None:
    plan = planned(tmp_path, TWO)
    names = ["seed0-plain", "seed0-one", "seed1-plain", "seed1-one"]
    assert [t.id for t in plan.trainings] == [c.id for c in plan.cells] == names
    found = [(t.config.loss.ri, t.config.stage2.num_hypotheses) for t in plan.trainings[:2]]
    assert found == [(0.1, 50), (1.0, 1)]
    assert [c.config.evaluation.n for c in plan.cells[:2]] == [(1, 5, 10, 25), (1,)]
    assert not plan.is_table2
    assert axes_of(plan) == dict(zip(names, ["plain", "one"] * 2, strict=True))
    assert plan.recipe()["rows"]["plain"] == {"loss.ri": 0.1}
    assert "  plain: loss.ri = 0.1\n" in describe_plan(plan, tmp_path / "run")


def test_at_smoke_size_all_rows_stay(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TWO)
    plan = expand(smoke_variant(load_sweep(path)))
    assert [t.id for t in plan.trainings] == ["seed0-plain", "seed0-one"]
    assert [t.config.stage2.num_hypotheses for t in plan.trainings] == [25, 1]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[rows.plain2]\n"loss.ri" = 0.1', r"\[rows\.plain2\]: the settings of \[rows\.plain\]"),
        ('[rows.bad]\n"loss.rj" = 0.1', r"unknown setting 'loss\.rj'.*loss\.ri"),
        ('[rows.bad]\n"prior.steps" = 3', r"prior\.steps: only loss\.\*"),
        ('[rows.bad]\n"stage2.seed" = 3', "seeds"),
        ('[rows.bad]\n"evaluation.splits" = ["lab-val"]', r"\[rows\.bad\] evaluation\.splits"),
        ('[rows.bad]\n"loss.ri" = -1', r"\[rows\.bad\] loss\.ri: "),
        ('[rows."a-b"]\n"loss.ri" = 2.0', r"\[rows\.a-b\]: expected letters"),
        ('[train]\n"loss.ri" = [1.0, 2.0]', r"leave out \[train\]"),
    ],
)
def test_bad_rows_are_refused_by_name(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        planned(tmp_path, f"{TWO}\n{more}\n")


def test_an_unknown_system_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"system\.name: unknown system 'our'.*ours"):
        load_config("embedded", {"system.name": "our"})
    assert load_config("embedded").of_system == {}
