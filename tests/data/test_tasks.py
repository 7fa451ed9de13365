"""A shard as a unit of work: planned without gaps, made whole, kept only when it is the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multibodies.config import DataConfig
from multibodies.data.pixels import PictureFormat
from multibodies.data.schema import rows_from_table
from multibodies.data.sources.importer import SourceOptions
from multibodies.data.sources.registry import open_importer
from multibodies.data.tasks import (
    Made,
    Piece,
    ShardTask,
    embedded_maker,
    kept_shard,
    make_shard,
    plan_pieces,
    plan_split,
    source_maker,
    split_rows,
)
from multibodies.data.validation import Rejection
from multibodies.errors import UserError
from row_samples import SIDE, annotation, sample_maker, sample_rows, write_coco

TASK = ShardTask("lab-val", 1, 4, 4)


def spoiling_maker(task: ShardTask) -> Made:
    """Refuse the first row, and return one more that is bad: number 3 of those asked for."""
    rows = sample_rows(task.count - 1, task.start + 1, task.split)
    rows["keypoints_2d"][2] = np.nan
    return rows, [Rejection(0, "gone", "no such image file")]


@given(st.integers(0, 200), st.integers(1, 60))
def test_a_plan_holds_every_row_once_and_in_order(rows: int, per_shard: int) -> None:
    tasks = plan_split("lab-val", rows, per_shard)
    assert [r for t in tasks for r in range(t.start, t.start + t.count)] == list(range(rows))
    assert [t.index for t in tasks] == list(range(len(tasks)))
    assert all(0 < t.count <= per_shard for t in tasks)


def test_rows_of_a_split_go_by_its_ending() -> None:
    data = DataConfig(train_rows=30, val_rows=20, test_rows=10)
    found = [split_rows(s, data) for s in ("lab-train", "alab-val", "wild-test")]
    assert found == [30, 20, 10]


def test_a_task_survives_its_journey() -> None:
    task = ShardTask("coco-train", 2, 8, 2, (Piece("S1/Walking 1", 4, 1), Piece("S1/b", 0, 1)))
    assert ShardTask.from_json(task.to_json()) == task


@given(st.lists(st.integers(0, 30), max_size=6), st.integers(1, 20), st.integers(1, 80))
def test_pieces_give_every_record_once_and_in_order(
    sizes: list[int], per_shard: int, limit: int
) -> None:
    units = [(f"u{k}", size) for k, size in enumerate(sizes)]
    tasks = plan_pieces("3dpw-test", units, per_shard, limit)
    found = [(p.unit, k) for t in tasks for p in t.pieces for k in range(p.start, p.start + p.rows)]
    assert found == [(name, k) for name, size in units for k in range(size)][:limit]
    assert all(sum(p.rows for p in t.pieces) == t.count <= per_shard for t in tasks)


def test_a_made_shard_holds_its_rows_and_is_kept(tmp_path: Path) -> None:
    done = make_shard(TASK, sample_maker, tmp_path, "recipe", PictureFormat(SIDE))
    found = rows_from_table(pq.ParquetFile(tmp_path / done.shard.path).read())
    expected = sample_rows(4, 4, "lab-val")
    for name, values in found.items():
        np.testing.assert_array_equal(values, np.array(expected[name], values.dtype))
    assert done.strategies == {"none": 1, "arms_head": 1, "legs": 1, "head": 1}
    assert kept_shard(TASK, tmp_path, "recipe") == done
    assert make_shard(TASK, sample_maker, tmp_path, "recipe", PictureFormat(SIDE)) == done


def test_refused_rows_go_to_a_table_by_their_place_in_the_split(tmp_path: Path) -> None:
    done = make_shard(TASK, spoiling_maker, tmp_path, "recipe", PictureFormat(SIDE))
    assert (done.shard.rows, done.quarantined, done.example) == (2, 2, "no such image file")
    assert done.quarantine is not None
    table = pq.read_table(tmp_path / done.quarantine.path).to_pylist()
    assert [(row["row"], row["reason"]) for row in table] == [
        (4, "no such image file"),
        (7, "keypoints_2d: NaN or infinite value"),
    ]
    assert [row["image_id"] for row in table] == ["gone", "lab-val-00000007"]


def test_a_quarantine_table_goes_when_its_cause_is_mended(tmp_path: Path) -> None:
    done = make_shard(TASK, spoiling_maker, tmp_path, "recipe", PictureFormat(SIDE))
    assert done.quarantine is not None
    assert (
        make_shard(TASK, sample_maker, tmp_path, "recipe", PictureFormat(SIDE)).quarantine is None
    )
    assert not (tmp_path / done.quarantine.path).exists()


def test_a_generated_shard_with_refused_rows_is_kept_with_its_table(tmp_path: Path) -> None:
    done = make_shard(TASK, spoiling_maker, tmp_path, "recipe", PictureFormat(SIDE))
    assert kept_shard(TASK, tmp_path, "recipe") == done
    assert done.quarantine is not None
    (tmp_path / done.quarantine.path).unlink()
    assert kept_shard(TASK, tmp_path, "recipe") is None


def test_an_imported_shard_with_refused_rows_is_made_again(tmp_path: Path) -> None:
    path = write_coco(tmp_path / "coco", [annotation(1), annotation(2, image_id=2)], images=2)
    (tmp_path / "coco/000000000002.png").rename(tmp_path / "away.png")
    data, source = DataConfig(image_size=SIDE, occlusion_share=0), SourceOptions(str(path))
    ((unit, count),) = open_importer("coco", source).listing("coco-train").units
    task = ShardTask("coco-train", 0, 0, 2, (Piece(unit, 0, count),))
    make = source_maker("coco", source, data)
    pictures = PictureFormat(SIDE)
    assert make_shard(task, make, tmp_path, "recipe", pictures).quarantined == 1
    assert kept_shard(task, tmp_path, "recipe") is None
    (tmp_path / "away.png").rename(tmp_path / "coco/000000000002.png")
    done = make_shard(task, make, tmp_path, "recipe", pictures)
    assert (done.shard.rows, done.quarantined) == (2, 0)
    assert kept_shard(task, tmp_path, "recipe") == done


def spoil(folder: Path, how: str) -> None:
    shard, sidecar = folder / "lab-val/part-00001.parquet", folder / "lab-val/part-00001.json"
    content = json.loads(sidecar.read_text())
    if how == "shard gone":
        shard.unlink()
    elif how == "shard torn":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif how == "sidecar gone":
        sidecar.unlink()
    elif how == "sidecar torn":
        sidecar.write_text(sidecar.read_text()[:-20])
    elif how == "sidecar of another program":
        sidecar.write_text(json.dumps(content | {"done": {"rows": 4}}))
    elif how == "other rows":
        content["done"]["task"][2] = 0
        sidecar.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "how",
    [
        "shard gone",
        "shard torn",
        "sidecar gone",
        "sidecar torn",
        "sidecar of another program",
        "other rows",
    ],
)
def test_a_spoiled_shard_is_made_again_to_the_same_bytes(tmp_path: Path, how: str) -> None:
    done = make_shard(TASK, sample_maker, tmp_path, "recipe", PictureFormat(SIDE))
    spoil(tmp_path, how)
    assert kept_shard(TASK, tmp_path, "recipe") is None
    assert make_shard(TASK, sample_maker, tmp_path, "recipe", PictureFormat(SIDE)) == done


def test_a_shard_of_another_recipe_or_place_is_not_kept(tmp_path: Path) -> None:
    make_shard(TASK, sample_maker, tmp_path, "recipe", PictureFormat(SIDE))
    assert kept_shard(TASK, tmp_path, "another") is None
    assert kept_shard(ShardTask("lab-val", 1, 4, 3), tmp_path, "recipe") is None


def test_a_maker_that_loses_rows_is_found_out(tmp_path: Path) -> None:
    def make(task: ShardTask) -> tuple[dict[str, Any], list[Rejection]]:
        return sample_rows(task.count - 1), []

    with pytest.raises(UserError, match=r"part-00001\.parquet: asked for 4 rows, got 3"):
        make_shard(TASK, make, tmp_path, "recipe", PictureFormat(SIDE))
    assert not (tmp_path / "lab-val").exists()


def test_rendered_rows_fit_the_schema_and_chunks_do_not_matter(tmp_path: Path) -> None:
    make = embedded_maker(DataConfig(image_size=SIDE), None)
    whole = make_shard(ShardTask("awild-val", 0, 0, 4), make, tmp_path, "r", PictureFormat(SIDE))
    part = make_shard(ShardTask("awild-val", 1, 2, 2), make, tmp_path, "r", PictureFormat(SIDE))
    assert (whole.quarantined, part.quarantined) == (0, 0)
    four, two = (
        rows_from_table(pq.ParquetFile(tmp_path / d.shard.path).read()) for d in (whole, part)
    )
    for name, values in two.items():
        np.testing.assert_array_equal(values, four[name][2:])
