"""The report of a sweep with rows: numbers, differences and slices by loops; page; the paper."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from multibodies.report import figures, paper
from multibodies.report.bootstrap import paired_bootstrap
from multibodies.report.cells.curves import curve_rows
from multibodies.report.cells.errors import Errors, read_errors
from multibodies.report.cells.facts import Facts, read_facts, write_facts
from multibodies.report.page import Table
from multibodies.report.rewriting import rewrite_report
from multibodies.report.summary import show
from multibodies.report.table1.fairness import UNSTATED, sameness
from multibodies.report.table1.lines import lines_of, of_lines, result_section, table_rows
from multibodies.report.table1.pairs import difference_rows, pairs_of, sentences, verdict
from multibodies.report.table1.published import published_section
from multibodies.report.table1.write import write_table1
from table1_samples import SYSTEMS, details_of, facts_of, hidden, records_of

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "paper_tables.json").read_text())
PROVENANCE = {"profile": "embedded", "command": "a", "notes": {"tuning": "4 trials each"}}


@pytest.fixture(scope="module")
def facts() -> Facts:
    return facts_of()


@pytest.fixture(scope="module")
def frame(facts: Facts) -> pd.DataFrame:
    return records_of(facts)


@pytest.fixture(scope="module")
def found(facts: Facts, frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("records") / "per_image.parquet"
    frame.to_parquet(path)
    return read_errors(path, facts)


def by_image(frame: pd.DataFrame, dataset: str, system: str, n: int, key: str) -> Any:
    """Return each image's mean over seeds, by image."""
    names = [f"seed{seed}-{system}" for seed in (0, 1)]
    kept = frame[frame["training"].isin(names) & (frame["dataset"] == dataset) & (frame["n"] == n)]
    return kept.groupby("image_id")[key].mean()


def test_numbers_are_means_with_the_bootstrap_of_image_means(
    facts: Facts, frame: pd.DataFrame, found: list[Errors]
) -> None:
    lines = lines_of(facts)
    rows = table_rows(of_lines(facts, lines, curve_rows(found, facts, 100)))
    told = [(row["dataset"], row["system"], row["n"]) for row in rows]
    assert told == [(d, s, n) for d in ("wild", "awild") for s, ns in SYSTEMS.items() for n in ns]
    for row in rows:
        images = by_image(frame, row["dataset"], row["system"], row["n"], "re_mm")
        assert row["re_mm"] == pytest.approx(images.mean())
        values = by_image(frame, row["dataset"], row["system"], row["n"], "mpjpe_mm").to_numpy()
        assert row["mpjpe_mm"] == pytest.approx(values.mean())
        alone = paired_bootstrap(values[:, None], 100)
        assert (row["mpjpe_low"], row["mpjpe_high"]) == pytest.approx((alone.low[0], alone.high[0]))


def test_a_block_has_dashes_and_marks_the_least_of_each_column() -> None:
    numbers = {"mpjpe_low": 1.0, "mpjpe_high": 2.0, "re_low": 3.0, "re_high": 4.0}
    errors = {("a", 1): (50.04, 30), ("b", 1): (49.96, 31), ("b", 5): (48, 28), ("c", 5): (49, 27)}
    rows = [
        {"dataset": "lab", "system": s, "n": n, "mpjpe_mm": m, "re_mm": float(r), **numbers}
        for (s, n), (m, r) in errors.items()
    ]
    table, intervals = result_section(rows, "lab", "lab: 3 images", "protocol").items
    assert isinstance(table, Table) and isinstance(intervals, Table)
    assert table.header == ("system", "MPJPE-1", "RE-1", "MPJPE-5", "RE-5")
    a, b, c = table.rows
    assert a == ("a", "50.0*", "30.0*", "–", "–")
    assert b == ("b", "50.0*", "31.0", "48.0*", "28.0"), "least as shown, to a tenth"
    assert c == ("c", "–", "–", "49.0", "27.0*")
    assert intervals.rows[0] == ("a", "1.0–2.0", "3.0–4.0", "–", "–")
    assert table.caption.endswith("protocol")


def test_differences_are_ours_minus_the_other_on_the_same_images(
    facts: Facts, frame: pd.DataFrame, found: list[Errors]
) -> None:
    rows = difference_rows(found, facts, lines_of(facts), 200)
    told = {(row["dataset"], row["against"], row["n"]) for row in rows}
    shared = {("HMR", 1), ("SMPL-MDN", 1), ("SMPL-MDN", 5), ("SMPL-MDN", 25)}
    assert told == {(d, *pair) for d in ("wild", "awild") for pair in shared}
    assert {row["of"] for row in rows} == {"Ours"}
    for row in (row for row in rows if row["metric"] == "mpjpe"):
        where = frame, row["dataset"]
        ours = by_image(*where, "Ours", row["n"], "mpjpe_mm")
        other = by_image(*where, row["against"], row["n"], "mpjpe_mm")
        assert row["difference_mm"] == pytest.approx((ours - other).mean())
        alone = paired_bootstrap((ours - other).to_numpy()[:, None], 200)
        assert (row["low"], row["high"]) == pytest.approx((alone.low[0], alone.high[0]))


def test_what_was_put_in_is_said(facts: Facts, found: list[Errors]) -> None:
    rows = difference_rows(found, facts, lines_of(facts), 200)
    mdn = "MPJPE, Ours against SMPL-MDN, n = 5, 25: wild better; awild worse."
    assert mdn in sentences(rows)
    assert sum("against HMR, n = 1:" in text for text in sentences(rows)) == 2


def test_sentences_follow_the_intervals() -> None:
    def row(dataset: str, n: int, low: float, high: float) -> dict[str, Any]:
        names = {"dataset": dataset, "metric": "re", "of": "A", "against": "B", "n": n}
        return {**names, "low": low, "high": high}

    ends = [(-2.0, -1.0), (1.0, 2.0), (-1.0, 1.0), (0.0, 1.0)]
    assert [verdict(row("lab", 5, *pair)) for pair in ends] == [
        *("better", "worse", "not told apart", "not told apart")
    ]
    mixed = [row("lab", 5, -2, -1), row("lab", 25, -1, 1), row("wild", 5, 1, 2)]
    first = [row("lab", 1, 1, 2)]  # below n = 5: not what the sentence is about
    assert sentences(first + mixed) == [
        "RE, A against B, n = 5, 25: lab better at n = 5, not told apart at n = 25; wild worse."
    ]
    assert sentences(mixed[:1]) == ["RE, A against B, n = 5: better on every set, at every n."]
    open_at = "RE, A against B, n = 25: not told apart on any set, at any n."
    assert sentences(mixed[1:2]) == [open_at]


def test_a_single_hypothesis_has_one_line_whatever_the_flow_weight(tmp_path: Path) -> None:
    facts = facts_of((0.0, 1.0))
    labels = [line.label for line in lines_of(facts)]
    several = [f"{s}, flow_weight {w}" for s in ("SMPL-MDN", "Ours") for w in (0, 1)]
    assert labels == ["HMR", *several]
    chosen = [replace(c, ours=c.records["flow_weight"] == 1.0) for c in facts.cells]
    words = [line.label for line in lines_of(replace(facts, cells=tuple(chosen)))]
    assert words[-1] == "Ours, flow_weight 1 (chosen on val)"
    records_of(facts).to_parquet(tmp_path / "r.parquet")
    rows = difference_rows(read_errors(tmp_path / "r.parquet", facts), facts, lines_of(facts), 50)
    assert {(row["of"], row["against"]) for row in rows} == {
        ("Ours, flow_weight 0", "HMR"),
        ("Ours, flow_weight 0", "SMPL-MDN, flow_weight 0"),
        ("Ours, flow_weight 1", "SMPL-MDN, flow_weight 1"),
    }


def test_a_variant_of_ours_is_compared_with_the_other_systems(facts: Facts) -> None:
    (axis,) = facts.axes
    at = {"HMR": "HMR", "SMPL-MDN": "Ours (uniform)", "Ours": "Ours"}
    cells = [replace(c, settings={"row": at[c.settings["row"]]}) for c in facts.cells]
    efforts = [replace(e, row=at[e.row]) for e in facts.efforts]
    axes = (replace(axis, values=tuple(at.values())),)
    changed = replace(facts, axes=axes, cells=tuple(cells), efforts=tuple(efforts))
    pairs = [(mine.label, other.label) for mine, other in pairs_of(changed, lines_of(changed))]
    assert pairs == [("Ours", "HMR"), ("Ours", "Ours (uniform)"), ("Ours (uniform)", "HMR")]


def test_what_is_the_same_is_told_apart_from_what_is_not(facts: Facts) -> None:
    same, other = sameness(facts)
    assert same == "The same for all 3: stage 1 5a, trunk resnet18, steps 10."
    assert other == "Not the same: rate (HMR 0.5, SMPL-MDN 0.25, Ours 0.25)."


@pytest.mark.slow
def test_the_page_the_json_and_the_same_bytes_again(
    facts: Facts, frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "DPI", 30)
    frame.to_parquet(tmp_path / "per_image.parquet")
    details_of(frame).to_parquet(tmp_path / "diagnostics.parquet")
    write_facts(tmp_path, facts)
    assert read_facts(tmp_path) == facts
    page = write_table1(tmp_path, facts, PROVENANCE, [], 60)
    titles = [section.title for section in page.sections]
    assert titles[1:3] == ["wild: 30 images, 2 seed(s)", "awild: 30 images, 2 seed(s)"]
    assert [s.title for s in page.sections if s.foreign] == ["The paper's own Table 1"]
    text = show(page)
    assert "Tuning budget: 4 trials each" in text and "Not comparable" in text
    check_costs(json.loads((tmp_path / "table1.json").read_text())["costs"])
    check_slices(json.loads((tmp_path / "table1.json").read_text())["slices"], frame)
    for name in ("mpjpe_n", "differences", "hidden", "cost"):
        with Image.open(tmp_path / "figures" / f"{name}.png") as picture:
            assert np.ptp(np.asarray(picture.convert("L"))) > 100, "something is drawn"
    html = (tmp_path / "table1.html").read_text()
    assert html.count("data:image/png;base64,") == html.count("<img ") >= 4
    names = [path.name for path in tmp_path.glob("table1.*")]
    written = {name: (tmp_path / name).read_bytes() for name in names}
    assert len(written) == 3
    rewrite_report(tmp_path, "unknown", 7)
    assert {name: (tmp_path / name).read_bytes() for name in names} == written
    (tmp_path / "table1.json").unlink()  # killed before its report: provenance is lost
    assert UNSTATED in show(rewrite_report(tmp_path, "embedded", 7))


def check_costs(costs: list[dict[str, Any]]) -> None:
    assert [row["system"] for row in costs] == list(SYSTEMS)
    assert [(row["parameters"], row["trained_parameters"], row["n"]) for row in costs] == [
        *((1000, 100, 1), (1001, 101, 25), (1002, 102, 25))
    ]
    for row in costs:
        assert row["training_seconds"] == 13  # of 10 and 16
        assert row["training_images_per_second"] == pytest.approx((64 + 40) / 2)
        assert row["inference_images_per_second"] == 250
        assert list(row["mpjpe_mm"]) == ["wild", "awild"]


def check_slices(slices: list[dict[str, Any]], frame: pd.DataFrame) -> None:
    assert len(slices) == (1 + 3) * (1 + 3 + 3)
    for row in slices:
        values = [
            line["mpjpe_mm"]
            for line in frame.to_dict("records")
            if (line["dataset"], line["n"]) == (row["dataset"], row["n"])
            and line["training"].endswith(f"-{row['system']}")
            and hidden(line["image_id"]) == row["occlusion"]
        ]
        assert row["mpjpe_mm"] == pytest.approx(sum(values) / len(values))
        assert row["images"] == len(values) / 2


def test_the_papers_table_1_is_the_golden_one_and_its_blanks_stay() -> None:
    flat = {
        name: {system: [v for pair in pairs for v in pair] for system, pairs in rows.items()}
        for name, rows in paper.TABLE1.items()
    }
    assert flat == GOLDEN["table1_n_1_5_10_25"]
    section = published_section("embedded")
    tables = [item for item in section.items if isinstance(item, Table)]
    assert [len(table.rows) for table in tables] == [6, 6, 3, 3]
    assert tables[1].rows[0] == ("HMR", "–", "81.3", *("–",) * 6)
    assert tables[1].rows[2] == ("SPIN", "96.9", "59.3", *("–",) * 6)
    assert tables[3].rows[0][:5] == ("SMPL-MDN", "159.7", "82.8", "154.6", "83.0")
    assert section.foreign and "must not be compared" in str(section.items[0])
