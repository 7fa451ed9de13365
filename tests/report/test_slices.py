"""Errors by what is hidden, against a plain loop."""

from __future__ import annotations

from statistics import fmean

import pandas as pd
import pytest

from multibodies.errors import UserError
from multibodies.report.page import Table
from multibodies.report.slices import slice_rows, slice_section
from report_samples import per_image

HIDDEN = ("none", "legs", "arms_head")


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    return per_image(images=10, noise=3.0)


@pytest.fixture(scope="module")
def details(records: pd.DataFrame) -> pd.DataFrame:
    """Diagnostics repeat an image for each cell, as scoring writes them."""
    cells = records.drop_duplicates(["dataset", "image_id", "seed", "lambda_ri", "flow_weight"])
    return cells.assign(occlusion=[hidden(name) for name in cells["image_id"]])


def hidden(image_id: str) -> str:
    return HIDDEN[int(image_id[-3:]) % 3] if image_id.startswith("awild") else "none"


def test_slices_are_means_over_the_images_of_a_strategy(
    records: pd.DataFrame, details: pd.DataFrame
) -> None:
    rows = slice_rows(records, details)
    assert list(dict.fromkeys((row["dataset"], row["occlusion"]) for row in rows)) == [
        ("wild", "none"),
        ("awild", "none"),
        ("awild", "arms_head"),
        ("awild", "legs"),
    ]
    assert len(rows) == 4 * 2 * 3 * 4
    lines, keys = records.to_dict("records"), ("dataset", "lambda_ri", "flow_weight", "n")
    for row in rows:
        same = [
            line
            for line in lines
            if all(line[key] == row[key] for key in keys)
            and hidden(str(line["image_id"])) == row["occlusion"]
        ]
        assert row["images"] == len({line["image_id"] for line in same})
        assert row["mpjpe_mm"] == pytest.approx(fmean(line["mpjpe_mm"] for line in same))
        assert row["re_mm"] == pytest.approx(fmean(line["re_mm"] for line in same))
        assert row["protocol"] == "embedded@1"


def test_the_table_has_a_line_per_strategy_and_cell(
    records: pd.DataFrame, details: pd.DataFrame
) -> None:
    rows = slice_rows(records, details)
    (table,) = slice_section(rows).items
    assert isinstance(table, Table)
    assert table.header[-4:] == ("MPJPE-1", "MPJPE-5", "MPJPE-10", "MPJPE-25")
    legs = {(r["lambda_ri"], r["flow_weight"], r["n"]): r for r in rows if r["occlusion"] == "legs"}
    line = next(row for row in table.rows if row[1:5] == ("legs", "3", "5", "0.1"))
    assert line[5:] == tuple(f"{legs[5.0, 0.1, n]['mpjpe_mm']:.1f}" for n in (1, 5, 10, 25))
    assert len(table.rows) == 4 * 2 * 3
    assert "awild embedded@1" in table.caption


def test_an_image_without_diagnostics_is_named(
    records: pd.DataFrame, details: pd.DataFrame
) -> None:
    with pytest.raises(UserError, match="no row of image 'awild-003'"):
        slice_rows(records, details[details["image_id"] != "awild-003"])
