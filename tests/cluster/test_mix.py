"""A mix of sets under Ray: JPEGs in memory and streamed, at their shares, on two workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from collection_samples import STORED, save_collection, save_set
from multibodies import fitting, runs
from multibodies.cluster import batches
from multibodies.cluster.groups import Execution
from multibodies.cluster.trainer import fit
from multibodies.config import MixConfig, StageConfig
from multibodies.data.training_rows import Source, open_source, read_paths
from multibodies.local import fit_local
from training_samples import largest_difference, save_stage1, tiny_config

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_local")]

AUGMENT = {"augment.flip": 0.5, "augment.rotation_deg": 30, "augment.scale": 0.25}
ROUNDING = 2e-5  # gradients of a batch in two halves, through Adam


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_collection(tmp_path_factory.mktemp("sets") / "data")


def _source(collection: Path, **changes: float) -> Source:
    return open_source(collection, "mix-train", MixConfig(**changes), whole=True)


def test_rays_rows_are_those_of_pyarrow(collection: Path) -> None:
    source = _source(collection)
    datasets = batches.read_parts(source)
    for part in source.parts:
        ours = batches.collect(datasets[part.name].iterator(), source)
        theirs = read_paths(source, part.paths)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert ours["image"].shape == (part.rows, STORED, STORED, 3)


def test_a_small_set_is_streamed_at_its_share(tmp_path: Path) -> None:
    """6 rows in 2 files are to be half of every batch, beside 80 rows."""
    save_set(tmp_path / "lsp", {"lsp-train": [4, 2]})
    save_set(tmp_path / "h36m", {"h36m-train": [40, 40]})
    source = _source(tmp_path, h36m=0.5, wild=0.5)
    settings = StageConfig(batch_size=24)
    shards: Any = {k: d.iterator() for k, d in batches.stream_parts(source, 0, 0.5).items()}
    steps, seen = batches.for_worker(shards, source, settings, False, 0, 1)(0), []
    for _ in range(7):
        batch = next(steps)
        assert batch["image"].shape == (24, STORED, STORED, 3)
        assert batch["image"].dtype == torch.uint8
        seen.append(batch["beta"][:, :2].int())
    rows = torch.cat(seen)
    small = rows[rows[:, 1] == len("lsp-train"), 0]
    assert len(small) / len(rows) == pytest.approx(0.5, abs=0.12)
    counts = small.bincount(minlength=6)
    assert int(counts.max() - counts.min()) <= 1  # each pass whole before the next
    large = rows[rows[:, 1] == len("h36m-train"), 0]
    assert len(large.unique()) == min(80, len(large))
    assert large[:24].diff().abs().float().mean() > 8  # neighbours in a file are not in a batch


@pytest.mark.drill
@pytest.mark.usefixtures("soon")
def test_an_augmented_mix_in_memory_on_two_workers_ends_as_on_one_device(
    collection: Path, tmp_path: Path
) -> None:
    config = tiny_config({**AUGMENT, "stage2.steps": 3})
    start = save_stage1(tmp_path / "stage1", config)
    how: dict[str, Any] = {"start_from": start, "split": "mix-train", "progress": False}
    alone = fit_local(config, "stage2", collection, tmp_path / "alone", **how)
    both = fit(config, "stage2", collection, tmp_path / "both", workers=2, **how)
    assert largest_difference(alone, both) < ROUNDING


@pytest.mark.drill
@pytest.mark.usefixtures("soon")
def test_an_augmented_mix_is_streamed_to_two_workers(tmp_path: Path) -> None:
    """Passes of the small set end several times, at the same step for both workers."""
    collection = tmp_path / "data"
    save_set(collection / "lsp", {"lsp-train": [4, 2]})
    save_set(collection / "h36m", {"h36m-train": [40]})
    config = tiny_config(AUGMENT)
    execution = Execution(workers=2, in_memory=0)
    weights = fit(
        config,
        "stage1",
        collection,
        tmp_path / "run",
        split="mix-train",
        progress=False,
        execution=execution,
    )
    assert weights == tmp_path / "run" / fitting.WEIGHTS
    lines = runs.read_journal(tmp_path / "run" / runs.JOURNAL)
    assert [line["step"] for line in lines] == [2, 4]
    assert all(torch.isfinite(torch.tensor(line["total"])) for line in lines)
