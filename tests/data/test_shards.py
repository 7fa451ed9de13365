"""Shards: the same rows give the same bytes, a failed write leaves nothing, a bad one is named."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from multibodies.config import DataConfig
from multibodies.data.manifest import Counts, Shard, build_manifest, write_manifest
from multibodies.data.schema import SCHEMA_VERSION, table_from_rows
from multibodies.data.shards import read_split, read_table, shard_name, shard_paths, write_shard
from multibodies.errors import UserError
from multibodies.files import sha256
from row_samples import SIDE, sample_rows

RECIPE: dict[str, Any] = {
    "schema_version": SCHEMA_VERSION,
    "data": DataConfig(image_size=SIDE).model_dump(mode="json"),
}


def write_dataset(folder: Path, sizes: list[int], split: str = "wild-val") -> list[Shard]:
    starts = np.cumsum([0, *sizes]).tolist()
    shards = [
        write_shard(
            folder,
            shard_name(split, i),
            table_from_rows(sample_rows(size, starts[i], split), SIDE),
        )
        for i, size in enumerate(sizes)
    ]
    counts = {split: Counts(rows=sum(sizes), strategies={})}
    write_manifest(folder, build_manifest(RECIPE, {split: shards}, counts))
    return shards


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    table = table_from_rows(sample_rows(5), SIDE)
    first, second = (write_shard(tmp_path, f"lab-val/{name}.parquet", table) for name in "ab")
    assert (first.sha256, first.rows) == (second.sha256, 5)
    assert sha256(tmp_path / first.path) == first.sha256


def test_a_split_is_read_in_order_over_its_shards(tmp_path: Path) -> None:
    write_dataset(tmp_path, [3, 0, 4])
    rows, expected = read_split(tmp_path, "wild-val"), sample_rows(7, split="wild-val")
    for name, values in rows.items():
        np.testing.assert_array_equal(values, np.array(expected[name], values.dtype))
    assert torch.from_numpy(rows["image"]).shape == (7, SIDE, SIDE, 3)


def test_paths_are_those_of_the_manifest_without_empty_shards(tmp_path: Path) -> None:
    write_dataset(tmp_path, [3, 0, 4])
    (tmp_path / "wild-val/part-00009.parquet").write_bytes(b"a stray file")
    assert [path.name for path in shard_paths(tmp_path, "wild-val")] == [
        "part-00000.parquet",
        "part-00002.parquet",
    ]


def test_only_the_asked_columns_are_read(tmp_path: Path) -> None:
    write_dataset(tmp_path, [2])
    assert read_table(tmp_path, "wild-val", ["beta", "image_id"]).column_names == [
        "beta",
        "image_id",
    ]
    assert list(read_split(tmp_path, "wild-val", ["beta"])) == ["beta"]
    with pytest.raises(UserError, match="unknown column 'bta'; did you mean 'beta'"):
        read_table(tmp_path, "wild-val", ["bta"])


@pytest.mark.parametrize("sizes", [[], [0]])
def test_a_split_without_rows_has_its_columns_all_the_same(
    tmp_path: Path, sizes: list[int]
) -> None:
    write_dataset(tmp_path, sizes)
    assert read_split(tmp_path, "wild-val")["image"].shape == (0, SIDE, SIDE, 3)


def test_a_folder_whose_name_looks_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    write_dataset(tmp_path / "seed=3", [2])
    assert "seed" not in read_table(tmp_path / "seed=3", "wild-val").column_names


def test_a_damaged_shard_is_refused_by_name(tmp_path: Path) -> None:
    write_dataset(tmp_path, [2, 2])
    path = tmp_path / "wild-val/part-00001.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"part-00001\.parquet: shard is damaged"):
        read_split(tmp_path, "wild-val")


def list_as_shard(folder: Path, path: Path) -> None:
    shard = Shard(path=path.relative_to(folder).as_posix(), rows=1, sha256=sha256(path))
    counts = {"wild-val": Counts(rows=1, strategies={})}
    write_manifest(folder, build_manifest(RECIPE, {"wild-val": [shard]}, counts))


def test_a_shard_of_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    pq.write_table(pa.table({"image_id": ["a"]}), path)
    list_as_shard(tmp_path, path)
    with pytest.raises(UserError, match=r"part\.parquet: column .* is missing, expected"):
        read_split(tmp_path, "wild-val")


def test_a_listed_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(b"PAR1 not really")
    list_as_shard(tmp_path, path)
    with pytest.raises(UserError, match=r"part\.parquet: not a readable Parquet file"):
        read_split(tmp_path, "wild-val")


def test_a_full_disk_keeps_the_old_shard_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write_shard(tmp_path, "lab-val/part.parquet", table_from_rows(sample_rows(2), SIDE))

    def full(table: pa.Table, where: Path, **options: Any) -> None:
        where.write_bytes(b"PAR1 half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(UserError, match=r"part\.parquet: cannot be written \(No space left"):
        write_shard(tmp_path, "lab-val/part.parquet", table_from_rows(sample_rows(3), SIDE))
    assert [path.name for path in (tmp_path / "lab-val").iterdir()] == ["part.parquet"]
    assert sha256(tmp_path / old.path) == old.sha256
