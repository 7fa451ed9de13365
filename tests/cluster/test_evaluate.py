"""Infer and score on Ray Data: the same files as without Ray, each made once, errors in one
line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from model_samples import save_dataset, save_prior, save_regressor
from multibodies.cluster.evaluate import infer, score
from multibodies.config import load_config
from multibodies.errors import UserError
from multibodies.evaluation import infer_tasks

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_local")]
SPLITS = ("wild-test", "awild-test")
CONFIG = load_config("embedded", {"evaluation.n": [1, 3]})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save_dataset(tmp_path / "data", {"wild-test": [3, 2], "awild-test": [4]})
    save_regressor(tmp_path / "model", 4)
    save_prior(tmp_path / "prior")
    return tmp_path


def run_infer(root: Path, **options: Any) -> int:
    return infer(
        CONFIG,
        root / "data",
        root / "model",
        SPLITS,
        root / "hypotheses",
        prior=root / "prior",
        progress=False,
        **options,
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files; in a sidecar the seconds that inference took are not the same twice."""
    files = (path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    return {name: re.sub(rb'"seconds": [0-9.e-]+', b"", content) for name, content in found.items()}


def test_ray_writes_what_one_process_writes_and_only_once(root: Path) -> None:
    assert run_infer(root) == 3
    tasks = infer_tasks(
        CONFIG, root / "data", root / "model", SPLITS, root / "alone", prior=root / "prior"
    )
    for task in tasks:
        task.run()
    assert contents(root / "hypotheses") == contents(root / "alone")
    assert run_infer(root) == 0
    (root / "hypotheses" / "wild-test" / "part-00001.parquet").unlink()
    assert run_infer(root) == 1
    assert contents(root / "hypotheses") == contents(root / "alone")


def test_scores_are_written_whole_and_again_without_work(root: Path) -> None:
    run_infer(root)
    options: dict[str, Any] = {"flow_weights": (0.0, 1.0), "progress": False}
    arguments = (CONFIG, root / "data", root / "hypotheses", SPLITS, root / "scores")
    scores = score(*arguments, **options)
    assert scores.records.num_rows == 9 * 2 * 2
    assert scores.diagnostics.num_rows == 9 * 2
    assert set(scores.records["dataset"].to_pylist()) == {"wild", "awild"}
    written = pq.ParquetFile(root / "scores" / "per_image.parquet").read()
    assert written.equals(scores.records)
    before = contents(root / "scores")
    assert score(*arguments, **options).records.equals(scores.records)
    assert contents(root / "scores") == before


def test_a_damaged_shard_is_one_clear_error_and_the_others_are_kept(root: Path) -> None:
    path = root / "data" / "awild-test" / "part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"^\S+awild-test/part-00000\.parquet: shard is damaged"):
        run_infer(root)
    assert not (root / "hypotheses" / "awild-test").exists()


def test_more_outputs_than_hypotheses_are_refused_before_any_work(root: Path) -> None:
    save_regressor(root / "model", 2)
    with pytest.raises(UserError, match="asks for 3 of M = 2 hypotheses"):
        run_infer(root)
    assert not (root / "hypotheses").exists()
