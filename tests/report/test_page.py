"""The page: Markdown, HTML, figures, the whole report of a run folder."""

from __future__ import annotations

import base64
import json
import re
import sys
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from multibodies.errors import UserError
from multibodies.report import figures, sections
from multibodies.report.diagnostics import diagnostics_section, summarise
from multibodies.report.html import html
from multibodies.report.markdown import markdown, terminal
from multibodies.report.page import Figure, Page, Section, Table
from multibodies.report.provenance import command_line, git_commit, machine, versions
from multibodies.report.rewriting import rewrite_report
from multibodies.report.summary import show, write_page, write_report
from multibodies.report.tables import table2
from report_samples import per_image

pytestmark = pytest.mark.slow

PROVENANCE = {"profile": "smoke", "command": "a <b>", "seconds": {"prior": 3.2}}


class Reader(HTMLParser):
    """Collects tags with their attributes, and the cells of each table."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        self._open = tag in ("td", "th")

    def handle_endtag(self, tag: str) -> None:
        self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.tables[-1][-1][-1] += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


def cells(text: str) -> list[list[list[str]]]:
    """Return the tables of a Markdown text as cells, rules left out."""
    blocks = re.findall(r"(?:^\|.*\|\n?)+", text, re.MULTILINE)
    return [
        [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in block.splitlines()
            if not re.fullmatch(r"[|\-: ]+", line)
        ]
        for block in blocks
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table2")
    per_image(images=20, noise=2.0).to_parquet(folder / "per_image.parquet")
    write_report(folder, PROVENANCE, samples=100)
    return folder


def test_a_report_is_three_files_and_figures_that_agree(run: Path) -> None:
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert names == {
        "per_image.parquet",
        "table2.json",
        "table2.md",
        "table2.html",
        "figures/mpjpe_n.png",
        "figures/effects.png",
    }
    content = json.loads((run / "table2.json").read_text())
    text = (run / "table2.md").read_text()
    assert cells(text) == read((run / "table2.html").read_text()).tables
    protocols, wild, *_ = cells(text)
    label = "embedded@1: 14 of H36M's 17 joints"
    assert [row[0] for row in protocols] == ["data", "wild", "awild"]
    assert all(row[1].startswith(label) for row in protocols[1:])
    assert text.count(label) == 6, "in the list, under both tables of either dataset"
    assert "MPJPE-n on wild and awild (embedded@1)" in text
    assert wild[0][2:] == ["MPJPE-5", "RE-5", "MPJPE-10", "RE-10", "MPJPE-25", "RE-25"]
    labels = [tuple(row[:2]) for row in wild[1:]]
    paper_rows = [("–", "–"), ("–", "✓"), ("✓ (5)", "–"), ("✓ (5)", "✓")]
    assert labels == [*paper_rows, ("–", "ours: p^0.1"), ("✓ (5)", "ours: p^0.1")]
    at = {
        (r["lambda_ri"], r["flow_weight"], r["n"]): r
        for r in content["rows"]
        if r["dataset"] == "wild"
    }
    grid = [(0, 0), (0, 1), (5, 0), (5, 1), (0, 0.1), (5, 0.1)]
    for row, cell in zip(wild[1:], grid, strict=True):
        expected = [f"{at[(*cell, n)][m]:.1f}" for n in (5, 10, 25) for m in ("mpjpe_mm", "re_mm")]
        assert row[2:] == expected


def test_the_html_file_needs_nothing_else(run: Path) -> None:
    text = (run / "table2.html").read_text()
    reader = read(text)
    tags = {tag for tag, _ in reader.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert "http:" not in text.replace("http://www.w3.org", "")
    assert "https:" not in text and "url(" not in text and "@import" not in text
    sources = [str(attributes["src"]) for tag, attributes in reader.tags if tag == "img"]
    assert len(sources) == 2
    for source in sources:
        head, _, body = source.partition(",")
        assert head == "data:image/png;base64"
        with Image.open(BytesIO(base64.b64decode(body))) as image:
            assert image.size[0] > 300
    assert "a &lt;b&gt;" in text and "<b>" not in text


def test_the_papers_table_is_set_apart(run: Path) -> None:
    text = (run / "table2.html").read_text()
    before, _, after = text.partition('<section class="foreign">')
    foreign = after.partition("</section>")[0]
    assert "86.4" in foreign and "must not be compared" in foreign and "3DPW" in foreign
    assert ">86.4<" not in before
    assert (run / "table2.md").read_text().count("(other data)") == 1


def test_reporting_again_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    (tmp_path / "per_image.parquet").write_bytes((run / "per_image.parquet").read_bytes())
    write_report(tmp_path, PROVENANCE, samples=100)
    for path in run.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(run)).read_bytes(), path


def test_a_rewritten_report_keeps_provenance_and_figures(run: Path, tmp_path: Path) -> None:
    (tmp_path / "per_image.parquet").write_bytes((run / "per_image.parquet").read_bytes())
    rewrite_report(tmp_path, "smoke", 100)
    unknown = json.loads((tmp_path / "table2.json").read_text())
    assert unknown["provenance"] == {"profile": "smoke"}
    extra = tmp_path / "figures" / "gallery.png"
    extra.write_bytes((run / "figures" / "effects.png").read_bytes())
    write_report(tmp_path, PROVENANCE, samples=100, extra=[Figure(extra, "a gallery")])
    names = ("table2.json", "table2.md", "table2.html")
    before = [(tmp_path / name).read_bytes() for name in names]
    rewrite_report(tmp_path, "other", 7)
    assert [(tmp_path / name).read_bytes() for name in names] == before
    assert "a gallery" in (tmp_path / "table2.md").read_text()


def test_a_sweep_with_one_training_and_n_makes_a_report(tmp_path: Path) -> None:
    small = per_image(images=2, seeds=(0,), weights=(0.0, 1.0), levels=(1.0,), ns=(1, 5))
    small.to_parquet(tmp_path / "per_image.parquet")
    page = write_report(tmp_path, PROVENANCE, samples=100)
    text = show(page)
    assert "reprojection at" not in text
    assert "MPJPE-5" in text and "Provenance" not in text and "![" not in text


def test_no_records_leave_no_report(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; run the sweep first"):
        write_report(tmp_path, PROVENANCE)
    assert list(tmp_path.iterdir()) == []


def test_extra_figures_and_diagnostics_are_on_the_page(run: Path, tmp_path: Path) -> None:
    (tmp_path / "per_image.parquet").write_bytes((run / "per_image.parquet").read_bytes())
    diagnostics().to_parquet(tmp_path / "diagnostics.parquet")
    extra = Figure(run / "figures" / "effects.png", "gallery")
    write_report(tmp_path, PROVENANCE, samples=100, extra=[extra])
    text = (tmp_path / "table2.md").read_text()
    assert "![gallery](" in text and "## Diagnostics" in text


def test_a_missing_figure_is_named_and_nothing_is_half_written(tmp_path: Path) -> None:
    page = Page("T", (Section("S", (Figure(tmp_path / "none.png"),)),))
    with pytest.raises(UserError, match=r"none\.png: figure cannot be read"):
        write_page(tmp_path, page)
    assert list(tmp_path.iterdir()) == []


def diagnostics() -> pd.DataFrame:
    rows = [
        {
            "dataset": "wild",
            "image_id": f"i{image}",
            "seed": seed,
            "lambda_ri": 1.0,
            "flow_weight": 0.0,
            "num_hypotheses": 10,
            "best_hypothesis": best,
            "oracle_mpjpe_mm": 50.0 + image,
            "energy_n5_m2": 0.25 * image,
            "energy_n10_m2": 0.125,
            "diversity_hidden_mm": None if image else 90.0,
        }
        for seed, bests in ((0, (1, 1, 1)), (1, (2, 3, 4)))
        for image, best in enumerate(bests)
    ]
    return pd.DataFrame(rows)


def test_diagnostics_are_means_and_the_dead_share_is_per_training() -> None:
    (row,) = summarise(diagnostics()).to_dict("records")
    assert row["oracle_mpjpe_mm"] == 51.0
    assert row["diversity_hidden_mm"] == 90.0, "images without a hidden joint do not count"
    assert row["dead_share"] == pytest.approx((9 / 10 + 7 / 10) / 2)


def test_energies_stand_by_rising_n() -> None:
    table = diagnostics_section(diagnostics()).items[-1]
    assert isinstance(table, Table)
    assert table.header == ("data", "lambda_ri", "flow weight", "n = 5", "n = 10")
    assert table.rows == (("wild", "1", "0", "0.2500", "0.1250"),)
    assert "eq. 3" in table.caption


def test_gains_are_ratios_to_n_1() -> None:
    summary = table2(per_image(images=5), {"profile": "smoke"}, samples=10)
    (table,) = sections.gain_section(summary).items
    assert isinstance(table, Table)
    rows = {row[:2]: row[2:] for row in table.rows}
    assert rows["3DPW", "paper, Table 1"] == ("0.88", "0.85", "0.81", "19.2 %")
    at = {
        r["n"]: r["mpjpe_mm"]
        for r in summary["rows"]
        if (r["dataset"], r["lambda_ri"], r["flow_weight"]) == ("wild", 5.0, 1.0)
    }
    expected = [f"{at[n] / at[1]:.2f}" for n in (5, 10, 25)]
    gain = f"{100 - 100 * at[25] / at[1]:.1f} %"
    assert rows["wild", "ours, reproj. ✓ (5) flow ✓"] == (*expected, gain)


def test_markdown_columns_line_up_and_figures_are_relative(tmp_path: Path) -> None:
    table = Table(("a", "b"), (("long label", "1.0"), ("x", "10.25")), "caption")
    figure = Figure(tmp_path / "figures" / "f.png", "what")
    page = Page("T", (Section("S", ("text", table, figure), foreign=True),))
    lines = markdown(page, tmp_path).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
    assert rows[3].endswith("| 10.25 |") and rows[1].endswith("----: |")
    assert "![what](figures/f.png)" in lines and "## S (other data)" in lines
    assert "f.png" not in terminal(page)


def test_markup_in_text_is_escaped() -> None:
    page = Page("<i>", (Section("<s>", ("<script>alert(1)</script>",)),))
    assert "<script>" not in html(page) and "<i>" not in html(page)


def test_sample_keypoints_stand_on_their_pixels() -> None:
    """A dot at keypoint (x, y) in [-1, 1] covers the pixel that was lit there."""
    size, pixel = 32, (7, 20)
    image = np.zeros((1, size, size, 3), np.uint8)
    image[0, pixel[1], pixel[0]] = 255
    keypoints = np.zeros((1, 24, 3), np.float32)
    keypoints[0, 0] = [(2 * pixel[0] + 1) / size - 1, (2 * pixel[1] + 1) / size - 1, 1]
    figure = figures.samples({"image": image, "keypoints_2d": keypoints}, count=1)
    (dots,) = figure.axes[0].lines
    np.testing.assert_allclose(np.stack(dots.get_data(), axis=-1), [pixel], atol=1e-5)


def test_bones_are_drawn_between_visible_joints_only() -> None:
    keypoints = np.zeros((2, 24, 3), np.float32)
    keypoints[0, :3, 2] = 1
    rows = {"image": np.zeros((2, 8, 8, 3), np.uint8), "keypoints_2d": keypoints}
    figure = figures.samples(rows)
    first, second = (cast(LineCollection, axes.collections[0]) for axes in figure.axes)
    assert len(first.get_segments()) == 2, "ankle-knee and knee-hip"
    assert len(second.get_segments()) == 0


def test_training_curves_leave_out_what_was_not_logged(tmp_path: Path) -> None:
    runs = {"a": [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0, "val": 9.0}], "b": []}
    figure = figures.training_curves(runs, ("loss", "val"))
    drawn = [[np.size(line.get_xdata()) for line in axes.lines] for axes in figure.axes]
    assert drawn == [[2, 0], [1, 0]]
    path = figures.save(figure, tmp_path / "t.png")
    with Image.open(path) as image:
        assert image.format == "PNG"


def test_provenance_is_plain_text() -> None:
    assert re.fullmatch(r"unknown|[0-9a-f]{40}(\+changes)?", git_commit(Path(__file__).parent))
    assert git_commit("/") == "unknown"


def test_the_commit_of_an_image_or_an_upload_is_told_by_its_maker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image's commit is its installed package's, never that of what was uploaded to it."""
    installed, uploaded = tmp_path / "usr" / "lib" / "multibodies", tmp_path / "working_dir"
    for folder in (installed, uploaded):
        folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "usr"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("MULTIBODIES_COMMIT", "1" * 40)
    assert (git_commit(installed), git_commit(uploaded)) == ("1" * 40, "unknown")
    monkeypatch.setenv("MULTIBODIES_UPLOADED_COMMIT", "2" * 40)
    assert (git_commit(installed), git_commit(uploaded)) == ("1" * 40, "2" * 40)
    assert "python" in versions() and "cores" in machine() and command_line()
