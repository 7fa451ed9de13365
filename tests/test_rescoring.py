"""`multibodies score`: a run's stored hypotheses, other settings, no network and no Ray."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from model_samples import save_dataset, save_prior, save_regressor
from multibodies import cli
from multibodies.config import load_config
from multibodies.evaluation import infer_tasks, score_tasks
from multibodies.report.bootstrap import paired_bootstrap
from multibodies.report.page import Table
from multibodies.report.score_table import score_page, score_rows
from multibodies.runs import write_record
from multibodies.sweep import check_recipe, expand, load_sweep, smoke_variant

pytestmark = pytest.mark.slow

TABLE2 = Path(__file__).resolve().parents[1] / "sweeps" / "table2.toml"
M, CELLS = 4, {"seed0-ri0": (0, 0.0), "seed1-ri0": (1, 0.0)}
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep's folder as far as `score` reads it: two trainings, a val and a test split."""
    folder = tmp_path_factory.mktemp("run")
    check_recipe(folder, expand(smoke_variant(load_sweep(TABLE2))))
    save_dataset(folder / "data", {"wild-val": [3, 2], "wild-test": [2]})
    save_prior(folder / "prior" / "weights")
    for name, (seed, level) in CELLS.items():
        save_regressor(folder / "model", M, seed=seed)
        config = load_config("smoke", {"evaluation.n": [1]})
        for task in infer_tasks(
            config,
            folder / "data",
            folder / "model",
            ["wild-val", "wild-test"],
            folder / "hypotheses" / name,
            prior=folder / "prior" / "weights",
        ):
            task.run()
        write_record(
            folder / "cells" / name / "recipe.json",
            {"stage2": {"seed": seed}, "loss": {"ri": level}},
        )
    shutil.rmtree(folder / "model")  # scoring needs no network
    return folder


def score(folder: Path, out: Path, *more: str) -> pd.DataFrame:
    arguments = ["score", str(folder), "--out", str(out), *more]
    assert cli.main(arguments) == 0
    return pd.read_parquet(out / "per_image.parquet")


def test_a_sweeps_folder_brings_all_it_needs(run: Path, tmp_path: Path, capsys: Capture) -> None:
    frame = score(run, tmp_path, "--n", "1,2,4", "--flow-weights", "0,0.5")
    keys = ["split", "seed", "flow_weight", "n"]
    assert len(frame) == 7 * len(CELLS) * 2 * 3
    assert set(frame.groupby(keys).size()) == {5, 2}
    assert list(frame.columns)[-3:] == ["protocol", "split", "training"]
    config = load_config(
        "smoke",
        {"evaluation.n": [1, 2, 4], "evaluation.restarts": 4, "stage2.seed": 1, "loss.ri": 0.0},
    )
    tasks = score_tasks(
        config,
        run / "data",
        run / "hypotheses" / "seed1-ri0",
        "wild-test",
        tmp_path / "other",
        flow_weights=(0.0, 0.5),
    )
    tasks[0].run()
    expected = pq.ParquetFile(tasks[0].part("records")).read().to_pandas()
    mine = frame[(frame["split"] == "wild-test") & (frame["seed"] == 1)].drop(
        columns=["split", "training"]
    )
    pd.testing.assert_frame_equal(mine.reset_index(drop=True), expected)
    text = capsys.readouterr().out
    assert "wild-val (val: settings may be chosen here): 5 images, 2 seed(s)" in text
    assert "wild-test (choose nothing here)" in text
    assert "embedded@1: 14 of H36M's 17 joints" in text


def test_what_it_writes_says_where_the_numbers_come_from(run: Path, tmp_path: Path) -> None:
    frame = score(run, tmp_path, "--splits", "wild-val", "--n", "2")
    content = json.loads((tmp_path / "score.json").read_text())
    assert content["protocols"]["wild-val"].startswith("embedded@1: ")
    assert content["provenance"]["seeds"] == [0, 1]
    assert content["provenance"]["evaluation"]["n"] == [2]
    assert content["provenance"]["data_fingerprint"]
    (row,) = content["rows"]
    assert (row["split"], row["n"], row["images"], row["seeds"]) == ("wild-val", 2, 5, 2)
    assert row["mpjpe_mm"] == pytest.approx(float(frame["mpjpe_mm"].mean()))
    assert "MPJPE-2" in (tmp_path / "score.md").read_text()


ROWS = """
name = "rows"
seeds = [0]
stage1 = "shipped"
[evaluation]
n = [1, 2, 4]
splits = ["wild-test"]
selection = "official"
[rows.many]
"loss.ri" = 0.0
"evaluation.flow_weight" = 0.25
"evaluation.quantizer" = "random"
[rows.one]
"stage2.num_hypotheses" = 1
"evaluation.n" = [1]
"""


def test_runs_and_rows_keep_how_they_were_scored_unless_asked_otherwise(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    path, folder = tmp_path / "rows.toml", tmp_path / "run"
    path.write_text(ROWS)
    check_recipe(folder, expand(load_sweep(path)))
    for part in ("data", "prior"):
        (folder / part).symlink_to(run / part)
    config = load_config("smoke", {"evaluation.n": [1]})
    for name, m in (("seed0-many", M), ("seed0-one", 1)):
        save_regressor(tmp_path / name, m)
        (task,) = infer_tasks(
            config,
            folder / "data",
            tmp_path / name,
            "wild-test",
            folder / "hypotheses" / name,
            prior=folder / "prior" / "weights",
        )
        task.run()
        told = {"stage2": {"seed": 0}, "loss": {"ri": 0.0}}
        write_record(folder / "cells" / name / "recipe.json", told)
    own = score(folder, tmp_path / "own")
    weights = own.groupby("training")["flow_weight"].unique().map(list).to_dict()
    assert weights == {"seed0-many": [0.25], "seed0-one": [1.0]}
    strict = score(folder, tmp_path / "strict", "--set", "evaluation.selection=strict")
    assert (own["re_mm"] >= strict["re_mm"] - 1e-9).all()  # MPJPE's hypothesis may not be RE's
    assert not np.allclose(own["re_mm"], strict["re_mm"])
    released = score(folder, tmp_path / "released", "--profile", "released", "--n", "1")
    assert set(released["flow_weight"]) == {load_config("released").evaluation.flow_weight}
    frame = score(folder, tmp_path / "out", "--flow-weights", "0")
    found = {name: sorted(set(part["n"])) for name, part in frame.groupby("training")}
    assert found == {"seed0-many": [1, 2, 4], "seed0-one": [1]}
    assert "–" in capsys.readouterr().out
    asked = ("--flow-weights", "0", "--n", "2,4")
    assert cli.main(["score", str(folder), "--out", str(tmp_path / "none"), *asked]) == 2
    other = ("--set", "evaluation.selection=strict", "--set", "evaluation.quantizer=kmeans")
    kmeans = score(folder, tmp_path / "k", *other)
    many = [x[(x["training"] == "seed0-many") & (x["n"] == 2)] for x in (strict, kmeans)]
    assert not np.allclose(many[0]["mpjpe_mm"], many[1]["mpjpe_mm"])


def test_only_what_changed_is_scored_again(run: Path, tmp_path: Path, capsys: Capture) -> None:
    arguments = ("--splits", "wild-val", "--n", "1")
    first = score(run, tmp_path, *arguments)
    assert "score: 10 rows" in capsys.readouterr().err
    again = score(run, tmp_path, *arguments)
    assert "score: 0 rows" in capsys.readouterr().err
    pd.testing.assert_frame_equal(first, again)
    other = score(run, tmp_path, *arguments, "--set", "evaluation.single=first")
    assert not np.allclose(other["mpjpe_mm"], first["mpjpe_mm"])


def test_a_prior_fitted_later_moves_the_weights_and_not_the_uniform_ones(
    run: Path, tmp_path: Path
) -> None:
    save_prior(tmp_path / "later", seed=3)
    arguments = ("--splits", "wild-val", "--n", "1", "--flow-weights", "0,1")
    own = score(run, tmp_path / "own", *arguments)
    later = score(run, tmp_path / "out", *arguments, "--prior", str(tmp_path / "later"))
    changed = own["mpjpe_mm"] != later["mpjpe_mm"]
    assert changed[own["flow_weight"] == 1].all()
    assert not changed[own["flow_weight"] == 0].any()


def test_a_folder_of_hypotheses_needs_its_dataset(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    bare = run / "hypotheses" / "seed0-ri0"
    arguments = ["score", str(bare), "--out", str(tmp_path), "--n", "4"]
    assert cli.main(arguments) == 2
    assert "name its dataset with --data" in capsys.readouterr().err
    frame = score(bare, tmp_path, "--n", "4", "--data", str(run / "data"))
    assert len(frame) == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--n", "5"], "asks for 5 hypotheses, stage2.num_hypotheses is 4"),
        (["--n", "1,x"], "expected a whole number of at least 1, got 'x'"),
        (["--n", "1", "--flow-weights", "0,-1"], "expected numbers >= 0 such as 0,0.25,1"),
        (["--n", "1", "--splits", "wild-vla"], "did you mean 'wild-val'"),
        (["--n", "1", "--set", "evaluation.protocol=h36m-p3"], "did you mean 'h36m-p"),
        (["--n", "1", "--prior", "nowhere"], "no such checkpoint"),
    ],
)
def test_bad_requests_are_one_line(
    run: Path, tmp_path: Path, capsys: Capture, arguments: list[str], message: str
) -> None:
    assert cli.main(["score", str(run), "--out", str(tmp_path / "o"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_an_empty_folder_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["score", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    assert "no hypotheses" in capsys.readouterr().err


def test_rows_are_bootstrapped_over_images_with_seeds_averaged() -> None:
    rng = np.random.default_rng(0)
    errors = rng.normal(90, 20, (2, 6))
    frame = pd.DataFrame(
        [
            {"split": "wild-val", "dataset": "wild", "protocol": "embedded@1", "seed": seed}
            | {"training": f"seed{seed}-ri0.1"}
            | {"lambda_ri": 0.1, "flow_weight": 0.5, "n": 5, "image_id": f"i{i}"}
            | {"mpjpe_mm": errors[seed, i], "re_mm": 2 * errors[seed, i]}
            for seed in range(2)
            for i in range(6)
        ]
    )
    (row,) = score_rows(frame, samples=200)
    assert row["variant"] == "ri0.1"
    expected = paired_bootstrap(errors.mean(0)[:, None], 200)
    assert row["mpjpe_mm"] == pytest.approx(errors.mean())
    assert row["mpjpe_mm_low"] == pytest.approx(expected.low[0])
    assert row["re_mm_high"] == pytest.approx(2 * expected.high[0])


def test_trainings_that_differ_in_other_settings_are_not_averaged() -> None:
    rows = [
        {"split": "wild-val", "dataset": "wild", "protocol": "embedded@1", "seed": 0, "n": 1}
        | {"training": f"seed0-head{head}", "lambda_ri": 1.0, "flow_weight": 0.0}
        | {"image_id": f"i{i}", "mpjpe_mm": error + i, "re_mm": error}
        for head, error in (("layer5", 50.0), ("stacked", 70.0))
        for i in range(3)
    ]
    found = score_rows(pd.DataFrame(rows), samples=100)
    assert {row["variant"]: row["mpjpe_mm"] for row in found} == {
        "headlayer5": pytest.approx(51.0),
        "headstacked": pytest.approx(71.0),
    }
    (section,) = score_page(found, {"wild-val": "label"}).sections
    table = section.items[0]
    assert isinstance(table, Table)
    assert [row[:3] for row in table.rows] == [("headlayer5", "1", "0"), ("headstacked", "1", "0")]


def test_scoring_stored_hypotheses_imports_no_ray(run: Path, tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys\nfrom multibodies.cli import main\n"
        f"code = main(['score', {str(run)!r}, '--out', {str(tmp_path)!r}, '--n', '1'])\n"
        "print(code, sorted({'ray', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(TABLE2.parents[1] / "platform"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 []"
