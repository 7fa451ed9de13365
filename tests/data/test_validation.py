"""Bad rows are refused one by one with their reason; good rows beside them stay untouched."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multibodies.data.schema import table_from_rows
from multibodies.data.validation import Rejection, quarantine_table, validate_rows
from multibodies.errors import UserError
from row_samples import SIDE, sample_rows


def spoiled(name: str, value: Any, row: int = 2, count: int = 4) -> dict[str, Any]:
    rows = sample_rows(count)
    return {**rows, name: [value if i == row else rows[name][i] for i in range(count)]}


HIDDEN = np.zeros((24, 3), np.float32)
HALF = np.full((24, 3), 0.5, np.float32)
NAN = np.full((24, 3), np.nan, np.float32)
FAULTS = [
    ("keypoints_2d", NAN, "keypoints_2d: NaN"),
    ("keypoints_2d", HIDDEN, "keypoints_2d: no visible joint"),
    ("keypoints_2d", HALF, "keypoints_2d: visibility must be 0 or 1"),
    ("keypoints_2d", np.ones((17, 3), np.float32), r"keypoints_2d: shape \(17, 3\), expected \(24"),
    ("theta", np.full((24, 3), np.inf, np.float32), "theta: NaN or infinite"),
    ("image", np.zeros((SIDE, SIDE + 1, 3), np.uint8), "image: shape"),
    ("image", np.zeros((SIDE, SIDE, 3), np.float32), "image: dtype float32, expected uint8"),
    ("crop", np.array([5, 5, 5, 9], np.float32), r"crop: zero-area box \(5, 5, 5, 9\)"),
    ("crop", np.array([5, 9, 8, 7], np.float32), "crop: zero-area box"),
    ("occlusion", "feet", "occlusion: unknown strategy 'feet'"),
    ("image_id", "", "image_id: empty"),
]


@pytest.mark.parametrize(("name", "value", "reason"), FAULTS)
def test_a_bad_row_is_refused_with_its_reason(name: str, value: Any, reason: str) -> None:
    good, bad = validate_rows(spoiled(name, value), SIDE)
    assert [rejection.row for rejection in bad] == [2]
    assert re.match(reason, bad[0].reason)
    table, expected = table_from_rows(good, SIDE), sample_rows(4)
    assert table["image_id"].to_pylist() == [expected["image_id"][i] for i in (0, 1, 3)]


@given(st.lists(st.sampled_from(range(len(FAULTS) + 3)), min_size=1, max_size=6))
def test_good_and_bad_rows_share_all_rows_between_them(faults: list[int]) -> None:
    clean = sample_rows(len(faults))
    rows = {name: list(values) for name, values in clean.items()}
    for index, fault in enumerate(faults):
        if fault < len(FAULTS):
            rows[FAULTS[fault][0]][index] = FAULTS[fault][1]
    good, bad = validate_rows(rows, SIDE)
    assert [r.row for r in bad] == [i for i, fault in enumerate(faults) if fault < len(FAULTS)]
    kept = [i for i, fault in enumerate(faults) if fault >= len(FAULTS)]
    for name, values in good.items():
        np.testing.assert_array_equal(values, [clean[name][i] for i in kept])


def test_missing_columns_are_an_error_and_not_a_bad_row() -> None:
    rows = sample_rows(2)
    del rows["beta"]
    with pytest.raises(UserError, match="lack the column 'beta'"):
        validate_rows(rows, SIDE)


def test_the_quarantine_table_tells_which_row_and_why() -> None:
    table = quarantine_table([Rejection(7, "a", "crop: zero-area box")], "lab-val")
    assert table.to_pylist() == [
        {"image_id": "a", "split": "lab-val", "row": 7, "reason": "crop: zero-area box"}
    ]
