"""Rows of a sweep file: named settings, a training each; and the settings of a system."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibodies.config import load_config
from multibodies.errors import UserError
from multibodies.report.cells.planned import axes_of_plan, cell_facts
from multibodies.report.results import drawn_training
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
    assert plan.recipe()["rows"]["plain"] == {"loss.ri": 0.1}
    assert "  plain: loss.ri = 0.1\n" in describe_plan(plan, tmp_path / "run")


def test_rows_are_the_one_axis_of_their_report_under_their_titles(tmp_path: Path) -> None:
    """Both rows are of one system, and neither has its name: each is told by its own besides."""
    plan = planned(tmp_path, f'{TWO}"evaluation.flow_weight" = 0.0\n')
    (axis,) = axes_of_plan(plan)
    assert (axis.values, axis.base) == (("Ours (plain)", "Ours (one)"), "Ours (plain)")
    told = [cell_facts(plan, cell, [axis.key]) for cell in plan.cells]
    assert [cell.settings[axis.key] for cell in told] == ["Ours (plain)", "Ours (one)"] * 2
    assert [cell.records["flow_weight"] for cell in told] == [1.0, 0.0] * 2


def test_a_row_of_its_systems_name_has_its_title_and_is_what_others_are_compared_with(
    tmp_path: Path,
) -> None:
    two = TWO.replace("n = [1, 5, 10, 25]", "n = [1]").replace("rows.one", "rows.ours")
    weights = "[score]\n'evaluation.flow_weight' = [0.0, 1.0]"
    row, flow = axes_of_plan(planned(tmp_path, f"{two}\n{weights}\n"))
    assert (row.values, row.base) == (("Ours (plain)", "Ours"), "Ours")
    assert (flow.label, flow.values) == ("flow_weight", (0.0, 1.0))


def test_a_gallery_shows_ours(tmp_path: Path) -> None:
    assert drawn_training(planned(tmp_path, TWO)).id == "seed1-one", "the last, of rows without"
    ours = TWO.replace("rows.plain", "rows.ours")
    assert drawn_training(planned(tmp_path, ours)).id == "seed1-ours"


def test_notes_are_for_the_report_and_bear_no_identity(tmp_path: Path) -> None:
    plan = planned(tmp_path, f'{TWO}\n[notes]\ntuning = "4 trials each"')
    assert plan.sweep.notes == {"tuning": "4 trials each"}
    assert plan.recipe() == planned(tmp_path, TWO).recipe()
    with pytest.raises(UserError, match=r"unknown \[notes\] key 'tunin'.*tuning"):
        planned(tmp_path, f'{TWO}\n[notes]\ntunin = "4"')
    with pytest.raises(UserError, match="tuning: expected a string"):
        planned(tmp_path, f"{TWO}\n[notes]\ntuning = 4")


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
