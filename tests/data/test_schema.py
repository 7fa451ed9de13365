"""The row schema: every column survives a Parquet file, and wrong columns are refused by name."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multibodies.core.occlusion import STRATEGIES
from multibodies.data.schema import (
    COLUMNS,
    OCCLUSIONS,
    arrow_schema,
    check_schema,
    described_columns,
    rows_from_table,
    table_from_rows,
)
from multibodies.errors import UserError
from row_samples import SIDE, sample_rows


def through_parquet(table: pa.Table) -> pa.Table:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return pq.read_table(io.BytesIO(buffer.getvalue()))


@pytest.mark.parametrize("count", [0, 1, 5])
def test_every_column_survives_parquet_with_its_bits_shape_and_dtype(count: int) -> None:
    rows = sample_rows(count)
    back = rows_from_table(through_parquet(table_from_rows(rows, SIDE)))
    assert list(back) == list(COLUMNS)
    for name, column in COLUMNS.items():
        expected = np.array(rows[name], None if column.dtype == "str" else column.dtype)
        assert back[name].shape == expected.shape
        assert count == 0 or back[name].dtype == expected.dtype
        np.testing.assert_array_equal(back[name], expected)


def test_columns_split_over_chunks_are_joined_in_order() -> None:
    table = pa.concat_tables([table_from_rows(sample_rows(2, s), SIDE) for s in (0, 2)])
    for name, values in rows_from_table(table).items():
        np.testing.assert_array_equal(values, np.array(sample_rows(4)[name], values.dtype))


def test_arrays_can_be_written_to_so_that_torch_takes_them() -> None:
    back = rows_from_table(through_parquet(table_from_rows(sample_rows(2), SIDE)))
    assert all(values.flags.writeable for values in back.values())


def test_tensor_shapes_and_units_are_in_the_file_itself() -> None:
    schema = through_parquet(table_from_rows(sample_rows(1), SIDE)).schema
    assert schema.metadata[b"multibodies.schema_version"] == b"2"
    assert tuple(schema.field("image").type.shape) == (SIDE, SIDE, 3)
    assert schema.field("joints_3d").metadata[b"unit"].startswith(b"metres")
    assert schema.field("joints_3d").metadata[b"frame"] == b"camera, mid-hip centred"
    assert described_columns(SIDE)["crop"]["shape"] == [4]


def test_occlusions_are_those_that_the_core_draws() -> None:
    assert set(OCCLUSIONS) == set(STRATEGIES)


def without(name: str) -> dict[str, Any]:
    return {key: values for key, values in sample_rows(3).items() if key != name}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (without("theta"), "lack the column 'theta'"),
        ({**sample_rows(3), "thta": [1, 2, 3]}, "unknown column 'thta'; did you mean 'theta'"),
        ({**sample_rows(3), "beta": np.zeros((2, 10))}, "different numbers of rows"),
        (
            {**sample_rows(3), "beta": np.zeros((3, 11))},
            r"beta: shape \(3, 11\), expected \(3, 10\)",
        ),
        ({**sample_rows(3), "has_3d": np.zeros((3, 1), bool)}, "has_3d: shape"),
    ],
)
def test_wrong_columns_are_refused_by_name(rows: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        table_from_rows(rows, SIDE)


def test_a_file_of_another_image_size_is_refused() -> None:
    with pytest.raises(UserError, match=r"part-7: column 'image' is .*\[16,16,3\].*expected"):
        check_schema(arrow_schema(SIDE), 2 * SIDE, "part-7")
    check_schema(arrow_schema(SIDE), SIDE, "part-7")


def test_a_file_that_lacks_a_column_is_refused() -> None:
    table = table_from_rows(sample_rows(1), SIDE).drop_columns(["camera"])
    with pytest.raises(UserError, match="'camera' is missing"):
        check_schema(table.schema, SIDE, "part-7")
