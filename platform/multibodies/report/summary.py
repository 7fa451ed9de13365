"""A run folder -> table2.{json,md,html} and figures/."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from multibodies.files import write_bytes
from multibodies.report import figures, sections
from multibodies.report.cells.write import compare
from multibodies.report.diagnostics import diagnostics_section
from multibodies.report.grid import Grid, grids
from multibodies.report.html import html
from multibodies.report.markdown import markdown, terminal
from multibodies.report.page import Figure, Page, Section
from multibodies.report.prior import prior_sections
from multibodies.report.records import read_per_image
from multibodies.report.slices import slice_rows, slice_section
from multibodies.report.tables import table2

PER_IMAGE, DIAGNOSTICS, FIGURES, STEM = (
    "per_image.parquet",
    "diagnostics.parquet",
    "figures",
    "table2",
)


def write_report(
    run_dir: str | Path,
    provenance: Mapping[str, Any],
    *,
    samples: int = 2000,
    extra: Sequence[Figure] = (),
) -> Page:
    """Write the report of a run from its per_image.parquet; return the page for the terminal.

    `provenance` needs `profile` (see `tables.table2`). `extra` figures, such as the gallery or
    training curves, go on the page too. Raises UserError on missing or incomplete records.
    """
    run_dir = Path(run_dir)
    per_image = read_per_image(run_dir / PER_IMAGE)
    details = _diagnostics(run_dir)
    summary = {**table2(per_image, provenance, samples), "figures": listed(extra, run_dir)}
    if details is not None and "occlusion" in details.columns:
        summary["slices"] = slice_rows(per_image, details)
    compared = compare(run_dir, run_dir / PER_IMAGE, run_dir / DIAGNOSTICS, samples)
    dense = [] if compared else grids(per_image)  # the comparison has the curves
    drawn = _draw(run_dir / FIGURES, dense, summary, samples)
    page = table2_page(summary, [*drawn, *extra], details, compared)
    write_page(run_dir, page)
    text = json.dumps(summary, indent=1, allow_nan=False, default=str)
    write_bytes(run_dir / f"{STEM}.json", text.encode())
    return page


def write_page(run_dir: Path, page: Page, stem: str = STEM) -> None:
    """Write a page as Markdown and HTML."""
    contents = {"md": markdown(page, run_dir), "html": html(page)}
    for suffix, content in contents.items():
        write_bytes(run_dir / f"{stem}.{suffix}", content.encode())


def table2_page(
    summary: Mapping[str, Any],
    drawn: Iterable[Figure],
    diagnostics: pd.DataFrame | None,
    compared: Sequence[Section] = (),
) -> Page:
    """Arrange the page: our tables, figures, diagnostics; then the paper's numbers, set apart."""
    names = list(summary["images"])
    found = [
        sections.data_section(summary),
        *(sections.result_section(summary, name) for name in names),
        *(sections.effect_section(summary, name) for name in names),
        *([slice_section(summary["slices"])] if "slices" in summary else []),
        *compared,
        Section("Figures", tuple(drawn)),
        *([diagnostics_section(diagnostics)] if diagnostics is not None else []),
        *prior_sections(summary["provenance"]),
        sections.gain_section(summary),
        sections.paper_section(summary),
        sections.provenance_section(summary),
    ]
    return Page(f"Table 2, profile '{summary['profile']}'", tuple(found))


def show(page: Page) -> str:
    """Return the page as text for the terminal, without figures and provenance."""
    kept = tuple(section for section in page.sections if section.title != "Provenance")
    return terminal(Page(page.title, kept))


def listed(extra: Sequence[Figure], run_dir: Path) -> list[dict[str, str]]:
    """Return figures as plain values, by their paths within the run."""
    return [
        {"path": os.path.relpath(figure.path, run_dir), "caption": figure.caption}
        for figure in extra
    ]


def _diagnostics(run_dir: Path) -> pd.DataFrame | None:
    path = run_dir / DIAGNOSTICS
    return pd.read_parquet(path) if path.exists() else None


def _draw(
    folder: Path, dense: Sequence[Grid], summary: Mapping[str, Any], samples: int
) -> list[Figure]:
    keys = " and ".join(dict.fromkeys(row["protocol"] for row in summary["rows"]))
    drawn = []
    if dense:
        datasets = " and ".join(grid.dataset for grid in dense)
        curves = figures.save(figures.mpjpe_curves(dense, samples), folder / "mpjpe_n.png")
        caption = f"MPJPE-n on {datasets} ({keys}); bars: 95 % interval of the mean over images"
        drawn.append(Figure(curves, caption))
    if summary["effects"]:
        forest = figures.save(figures.effects_forest(summary["effects"]), folder / "effects.png")
        caption = f"Effects with paired 95 % intervals ({keys}); left of 0 helps"
        drawn.append(Figure(forest, caption))
    return drawn
