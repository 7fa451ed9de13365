"""The winner of a sweep: by val alone, and nobody where nothing was scored on val."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from multibodies.errors import UserError
from multibodies.sweep import Plan, expand, load_sweep, smoke_variant, stage_path
from multibodies.winners import Choice, cell_of, choose_winner, read_models, write_models

SWEEPS = Path(__file__).resolve().parents[1] / "sweeps"
DATASETS, NS = ("wild", "awild"), (1, 5, 10, 25)


def _plan(name: str) -> Plan:
    return expand(smoke_variant(load_sweep(SWEEPS / f"{name}.toml")))


def _records(flow_weight: float, errors: dict[int, float], *, images: int = 3) -> pd.DataFrame:
    """Records whose error at n is `errors[n]`, an image and a dataset apart."""
    rows = [
        {"dataset": d, "flow_weight": flow_weight, "n": n, "mpjpe_mm": error + i + 10 * k}
        for k, d in enumerate(DATASETS)
        for n, error in errors.items()
        for i in range(images)
    ]
    return pd.DataFrame(rows).assign(seed=0, re_mm=1.0)


def _write(path: Path, *frames: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(frames).to_parquet(path)


def _score_on_test(plan: Plan, run_dir: Path, best: str) -> None:
    """Give every cell test numbers, by which `best` would win by far."""
    for cell in plan.cells:
        error = 1.0 if cell.id == best else 100.0
        weight = cell.config.evaluation.flow_weight
        table = _records(weight, dict.fromkeys(NS, error))
        _write(stage_path(run_dir, cell.stage) / "per_image.parquet", table)


def test_table2_is_won_on_val_whatever_test_says(tmp_path: Path) -> None:
    plan = _plan("table2")
    _score_on_test(plan, tmp_path, best="seed0-ri0-flow_weight1")
    for scoring, error in (("seed0-ri0", 80.0), ("seed0-ri0.1", 78.0)):
        parts = [
            # n = 1 alone would choose the other; a candidate that is no cell cannot win.
            _records(alpha, {1: 200.0 - error, **{n: error + add for n in NS[1:]}})
            for alpha, add in ((0.0, 0.0), (1.0, -0.5 if scoring == "seed0-ri0" else 3.0))
        ]
        parts.append(_records(0.05, dict.fromkeys(NS, 1.0)))
        _write(tmp_path / "val" / scoring / "per_image.parquet", *parts)
    choice = choose_winner(plan, tmp_path)
    assert choice.cell == "seed0-ri0.1-flow_weight0"
    # 78, plus the means of the images 0, 1, 2 and of the datasets 0, 10.
    assert choice.errors[choice.cell] == pytest.approx(78 + 1 + 5)
    assert set(choice.errors) == {cell.id for cell in plan.cells}
    assert "wild-val, awild-val, mean over n = 5, 10, 25: 84.00 mm of 4 cells" in choice.reason


def test_a_sweep_over_val_splits_is_won_by_its_own_scores(tmp_path: Path) -> None:
    plan = _plan("lambda_ri")
    best = plan.cells[3].id
    _score_on_test(plan, tmp_path, best)  # whose splits are val here
    assert choose_winner(plan, tmp_path).cell == best


def test_a_search_is_won_by_its_metric(tmp_path: Path) -> None:
    plan = _plan("loss_search")
    n = int(plan.sweep.search.metric.rpartition("_n")[2]) if plan.sweep.search else 0
    assert n > 1
    for index, cell in enumerate(plan.cells):
        errors = dict.fromkeys(NS, 10.0 + index) | {n: 90.0 - index}
        table = _records(cell.config.evaluation.flow_weight, errors)
        _write(stage_path(tmp_path, cell.stage) / "per_image.parquet", table)
    assert choose_winner(plan, tmp_path).cell == plan.cells[-1].id


def test_without_val_scores_nobody_wins(tmp_path: Path) -> None:
    """Also where a sweep would choose on val and was not scored there, as after a failure."""
    plan = _plan("num_hypotheses")
    _score_on_test(plan, tmp_path, best=plan.cells[0].id)
    missing = _plan("table2")
    for one in (plan, missing, replace(missing, sweep=replace(missing.sweep, choose_on=()))):
        choice = choose_winner(one, tmp_path)
        assert choice.cell is None
        assert "not chosen by test numbers" in choice.reason


def test_cells_are_told_and_found_by_name(tmp_path: Path) -> None:
    plan = _plan("table2")
    with pytest.raises(UserError, match=r"models\.json: no such file; give the sweep's command"):
        read_models(tmp_path)
    write_models(plan, tmp_path, Choice(None, "nothing on val", {}))
    told = read_models(tmp_path)
    assert cell_of(told, "seed0-ri0-flow_weight1") == "seed0-ri0-flow_weight1"
    entry = told["cells"]["seed0-ri0-flow_weight1"]
    assert (entry["network"], entry["prior"]) == ("cells/seed0-ri0/weights", "prior/weights")
    with pytest.raises(UserError, match="did you mean 'seed0-ri0-flow_weight1'"):
        cell_of(told, "seed0-ri0-flow_weight2")
    with pytest.raises(UserError, match="table2-smoke: nothing on val"):
        cell_of(told, None)
