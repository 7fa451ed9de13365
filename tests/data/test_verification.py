"""A finished dataset checked again: what is wrong is named by shard and row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from multibodies.cli import main
from multibodies.data.folder import assemble, claim
from multibodies.data.manifest import write_manifest
from multibodies.data.schema import table_from_rows
from multibodies.data.tasks import Made, RowMaker, ShardTask, make_shard
from multibodies.data.verification import verify_dataset
from multibodies.errors import UserError
from row_samples import SIDE, sample_plan, sample_rows


def changed(**changes: Any) -> RowMaker:
    def make(task: ShardTask) -> Made:
        rows = sample_rows(task.count, task.start, task.split)
        for name, (index, value) in changes.items():
            if task.name == "3dpw-test/part-00000.parquet":
                rows[name][index] = value
        return rows, []

    return make


def write(folder: Path, make: RowMaker) -> Path:
    plan = sample_plan({"3dpw-test": 5, "lsp-train": 3}, 4, make)
    recipe = claim(folder, plan.recipe)
    done = [make_shard(t, make, folder, plan.recipe_of(t), plan.pictures) for t in plan.tasks]
    write_manifest(folder, assemble(folder, recipe, done, {}))
    return folder


def test_counts_stand_beside_published_ones(tmp_path: Path) -> None:
    seen: list[int] = []
    reports = verify_dataset(write(tmp_path, changed()), seen.append)
    assert [(r.split, r.rows, r.quarantined) for r in reports] == [
        ("3dpw-test", 5, 0),
        ("lsp-train", 3, 0),
    ]
    assert reports[0].published is not None
    assert reports[0].published[0] == 35515
    assert reports[0].known == {"has_2d": 5, "has_3d": 3, "has_h36m17": 3, "has_smpl": 5}
    assert sum(seen) == 8


def test_the_command_prints_a_line_a_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", "verify", str(write(tmp_path, changed()))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "5 rows, 0 refused (2d 5, 3d 3, h36m17 3, smpl 5); published 35515, SPIN's" in lines[0]
    assert main(["prepare", "verfy", str(tmp_path)]) == 2
    assert "expected verify DATASET" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta": ((1, 0), 99.0)}, "beta: 99, expected at most 20"),
        ({"theta": ((1, 2, 0), 50.0)}, "theta: 50, expected at most 12.57"),
        ({"joints_3d": ((1, 2, 0), 900.0)}, "joints_3d: 900, expected at most 4"),
        ({"h36m17": ((1, 2, 0), -900.0)}, "h36m17: 900, expected at most 4"),
        ({"keypoints_2d": ((1, 0), (1.5, 0, 1))}, "keypoints_2d: 1.5, expected at most"),
    ],
)
def test_values_out_of_range_are_named_by_row(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = write(tmp_path, changed(**changes))
    with pytest.raises(UserError, match=rf"part-00000.*row '3dpw-test-00000001': {message}"):
        verify_dataset(folder)


def test_a_row_that_appears_twice_is_named(tmp_path: Path) -> None:
    def make(task: ShardTask) -> Made:
        rows = sample_rows(task.count, task.start, task.split)
        rows["image_id"][0] = f"{task.split}-00000000"
        return rows, []

    with pytest.raises(UserError, match="row '3dpw-test-00000000': appears twice"):
        verify_dataset(write(tmp_path, make))


def test_damaged_shards_and_other_columns_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path, changed())
    path = folder / "lsp-train/part-00000.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"lsp-train/part-00000\.parquet: shard is damaged"):
        verify_dataset(folder)
    path.unlink()
    with pytest.raises(UserError, match=r"lsp-train/part-00000\.parquet: shard is missing"):
        verify_dataset(folder)


def test_another_image_size_is_another_column(tmp_path: Path) -> None:
    table = table_from_rows(sample_rows(2, side=8), 8)
    pq.write_table(table, tmp_path / "x.parquet")
    assert SIDE != 8
    from multibodies.data.schema import check_schema

    with pytest.raises(UserError, match="column 'image' is"):
        check_schema(pq.read_schema(tmp_path / "x.parquet"), SIDE, "x")
