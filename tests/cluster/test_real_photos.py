"""Real photographs with 2D labels only: prepared, then trained on with the 3D terms masked."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from multibodies.config import load_config
from multibodies.runs import JOURNAL, read_journal
from training_samples import TINY

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "real" / "coco"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("ray_local"),
    pytest.mark.skipif(not REAL.is_dir(), reason="the shared photographs are not here"),
]


def test_coco_rows_train_by_their_2d_labels_alone(tmp_path: Path) -> None:
    from multibodies.cluster.prepare import prepare
    from multibodies.data.sources.importer import SourceOptions
    from multibodies.local import fit_local

    config = load_config("smoke", {**TINY, "data.source": "coco", "stage1.batch_size": 2})
    manifest = prepare(
        config,
        tmp_path / "coco",
        source=SourceOptions(str(REAL), min_visible=6),
        progress=False,
    )
    (split,) = manifest.splits
    assert manifest.counts[split].rows >= 2
    fit_local(config, "stage1", tmp_path / "coco", tmp_path / "run", split=split, progress=False)
    lines = read_journal(tmp_path / "run" / JOURNAL)
    assert lines
    for line in lines:
        assert all(math.isfinite(value) for value in line.values())
        assert line["best"] == line["theta"] == line["vertices"] == line["beta"] == 0
        assert line["rb"] > 0
