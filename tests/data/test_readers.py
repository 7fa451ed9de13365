"""Other readers see the shards as they are described: pandas, polars and DuckDB, with shapes."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from multibodies.data.schema import COLUMNS, shape_of, table_from_rows
from multibodies.data.shards import write_shard
from row_samples import SIDE, sample_rows

TENSORS = [name for name, column in COLUMNS.items() if column.shape]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    write_shard(tmp_path, "part.parquet", table_from_rows(sample_rows(5), SIDE))
    return tmp_path / "part.parquet"


def expected(name: str) -> np.ndarray:
    return np.asarray(sample_rows(5)[name], COLUMNS[name].dtype)


def test_pandas_reads_numbers_and_the_schema_tells_shapes(shard: Path) -> None:
    frame = pd.read_parquet(shard)
    schema = pq.read_schema(shard)
    for name in TENSORS:
        shape = tuple(map(int, schema.field(name).metadata[b"shape"].split(b"x")))
        assert shape == shape_of(name, SIDE)
        found = np.stack([np.asarray(value) for value in frame[name]]).reshape(-1, *shape)
        np.testing.assert_array_equal(found, expected(name))
    assert frame["image_id"].tolist() == sample_rows(5)["image_id"]


@pytest.mark.filterwarnings("ignore:Extension type")
def test_polars_reads_numbers_with_their_sizes(shard: Path) -> None:
    frame = pl.read_parquet(shard)
    for name in TENSORS:
        found = frame[name].to_numpy()
        np.testing.assert_array_equal(found.reshape(5, *shape_of(name, SIDE)), expected(name))


def test_duckdb_reads_numbers_with_their_sizes(shard: Path) -> None:
    names = ", ".join(TENSORS)
    found = duckdb.sql(f"SELECT {names} FROM read_parquet('{shard}')").fetchnumpy()
    for name in TENSORS:
        values = np.stack([np.asarray(value) for value in found[name]])
        np.testing.assert_array_equal(values.reshape(5, *shape_of(name, SIDE)), expected(name))
