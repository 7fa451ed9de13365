"""Each subcommand hands on what it was given, and says in one line what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from multibodies import cli
from multibodies.sweep import check_recipe, expand, load_sweep, smoke_variant
from report_samples import per_image

ROOT = Path(__file__).resolve().parents[1]
TABLE2 = ROOT / "sweeps" / "table2.toml"
Capture = pytest.CaptureFixture[str]
Calls = list[tuple[tuple[Any, ...], dict[str, Any]]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Calls]:
    """Replace a function by one that notes its arguments and returns `result`."""

    def replace(name: str, result: object = None) -> Calls:
        noted: Calls = []

        def fake(*args: object, **kwargs: object) -> object:
            noted.append((args, kwargs))
            return result

        monkeypatch.setattr(name, fake)
        return noted

    return replace


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Make a folder that a smoke sweep claimed and scored."""
    folder = tmp_path / "table2-smoke"
    check_recipe(folder, expand(smoke_variant(load_sweep(TABLE2))))
    per_image().to_parquet(folder / "per_image.parquet")
    return folder


def test_sweep_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "run"
    assert cli.main(["sweep", str(TABLE2), "--out", str(out), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "seed1-ri0.1-flow_weight1" in text
    assert "estimated time left" in text
    assert not out.exists()


def test_sweep_options_change_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)  # a clone's own runs/ must not bear on the plan
    assert cli.main(["sweep", str(TABLE2), "--smoke", "--stage1", "train", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "profile smoke" in text
    assert "runs/table2-smoke" in text
    assert "stage 1: train" in text


def test_sweep_hands_the_plan_on(tmp_path: Path, calls: Callable[..., Calls]) -> None:
    run_sweep = calls("multibodies.cluster.sweeps.run_sweep", "the table")
    arguments = ["sweep", str(TABLE2), "--out", str(tmp_path), "--workers", "2", "--port", "5050"]
    assert cli.main(arguments) == 0
    plan, out, how = run_sweep[0][0]
    assert (plan.name, out, how.workers, how.gpus, how.port) == ("table2", tmp_path, 2, 0, 5050)


@pytest.mark.slow
def test_report_is_written_again_and_keeps_its_provenance(run_dir: Path, capsys: Capture) -> None:
    assert cli.main(["report", str(run_dir)]) == 0
    assert "awild" in capsys.readouterr().out
    table = run_dir / "table2.json"
    first = json.loads(table.read_text())
    assert first["profile"] == "smoke"
    table.write_text(json.dumps({**first, "provenance": {"profile": "smoke", "git_commit": "abc"}}))
    assert cli.main(["report", str(run_dir)]) == 0
    assert json.loads(table.read_text())["provenance"]["git_commit"] == "abc"


def test_report_needs_a_run(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["report", str(tmp_path)]) == 2
    assert "run `multibodies sweep` first" in capsys.readouterr().err


def test_ui_needs_a_store(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["ui", str(tmp_path)]) == 2
    assert "mlflow.db: no such MLflow store" in capsys.readouterr().err


def test_predict_takes_the_runs_last_training(
    run_dir: Path, calls: Callable[..., Calls], capsys: Capture
) -> None:
    predict = calls("multibodies.predict.predict", ("a.png", "a.json"))
    for name in ("seed0-ri0", "seed0-ri1"):
        (run_dir / "cells" / name / "weights").mkdir(parents=True)
    assert cli.main(["predict", "a.jpg", "--box", "1,2,3,4.5", "--run", str(run_dir)]) == 0
    (image, box, n, checkpoint, prior, _), settings = predict[0]
    assert (image, box, n) == (Path("a.jpg"), (1.0, 2.0, 3.0, 4.5), 5)
    assert checkpoint == run_dir / "cells" / "seed0-ri1" / "weights"
    assert prior == run_dir / "prior" / "weights"
    assert settings["image_size"] == 64
    assert "synthetic" in capsys.readouterr().out


def test_predict_needs_a_network(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["predict", "a.jpg", "--run", str(tmp_path)]) == 2
    assert "no trained network" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("local", "name"),
    [(["--local"], "multibodies.local.fit_local"), ([], "multibodies.cluster.trainer.fit")],
)
def test_train_hands_the_task_on(
    local: list[str], name: str, calls: Callable[..., Calls], capsys: Capture
) -> None:
    fit = calls(name, Path("o/weights"))
    arguments = ["train", "--data", "d", "--out", "o", "--stage", "2", "--from", "s", *local]
    assert cli.main([*arguments, "--set", "loss.ri=0.5"]) == 0
    (config, stage, data, out), settings = fit[0]
    assert config.loss.ri == 0.5
    assert (stage, data, out) == ("stage2", Path("d"), Path("o"))
    assert settings["start_from"] == Path("s")
    assert capsys.readouterr().out == "o/weights\n"


def test_evaluate_infers_then_scores(calls: Callable[..., Calls]) -> None:
    infer = calls("multibodies.cluster.evaluate.infer", 1)
    score = calls("multibodies.cluster.evaluate.score")
    arguments = ["evaluate", "--data", "d", "--checkpoint", "c", "--prior", "p", "--out", "o"]
    assert cli.main([*arguments, "--flow-weights", "0", "0.25", "--splits", "lab-test"]) == 0
    (_, data, checkpoint, splits, hypotheses), settings = infer[0]
    assert (data, checkpoint, splits) == (Path("d"), Path("c"), ("lab-test",))
    assert settings["prior"] == Path("p")
    (_, _, read, scored, out), settings = score[0]
    assert (read, scored, out) == (hypotheses, ("lab-test",), Path("o/scores"))
    assert settings["flow_weights"] == [0.0, 0.25]


def test_prepare_dry_run_counts_rows(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "data"
    arguments = ["prepare", "--out", str(out), "--profile", "smoke", "--splits", "lab-val"]
    assert cli.main([*arguments, "--dry-run"]) == 0
    assert "32 rows" in capsys.readouterr().out
    assert not out.exists()
