"""A run folder of a sweep with rows -> table1.{json,md,html} and figures/.

From cells.json and the stored records alone: written again, it has the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multibodies.files import write_bytes
from multibodies.report import figures, sections
from multibodies.report.cells import write as cells
from multibodies.report.cells.facts import Facts
from multibodies.report.diagnostics import diagnostics_section
from multibodies.report.early import stopped_sections
from multibodies.report.page import Figure, Page, Section
from multibodies.report.prior import prior_sections
from multibodies.report.summary import DIAGNOSTICS, PER_IMAGE, listed, write_page
from multibodies.report.table1.content import content, details_of
from multibodies.report.table1.fairness import fairness_section
from multibodies.report.table1.hidden import SYSTEM, draw_hidden, ends, hidden_section
from multibodies.report.table1.lines import lines_of, of_lines, result_section
from multibodies.report.table1.pairs import difference_section, row_of
from multibodies.report.table1.published import published_section

STEM = "table1"
Record = dict[str, Any]


def write_table1(
    run_dir: Path,
    facts: Facts,
    provenance: Mapping[str, Any],
    extra: Sequence[Figure],
    samples: int = 2000,
    stopped: Sequence[Mapping[str, Any]] = (),
) -> Page:
    """Write the report; `extra` figures go on the page, `stopped` are the rows of trainings that
    were stopped early. Raises UserError on missing or incomplete records."""
    folder = run_dir / figures.FOLDER
    compared = cells.measure(run_dir, facts, run_dir / PER_IMAGE, run_dir / DIAGNOSTICS, samples)
    lines = lines_of(facts)
    details = details_of(run_dir, facts, lines)
    summary = {
        **content(run_dir, compared, lines, details, samples),
        **({"stopped_early": list(stopped)} if stopped else {}),
        "profile": provenance["profile"],
        "provenance": dict(provenance),
        "figures": listed(extra, run_dir),
    }
    curves = of_lines(facts, lines, compared.content["curves"])
    drawn = cells.curve_figure(folder, facts, lines, curves, compared.found)
    found = (
        sections.data_section(summary),
        *(_block(summary, name) for name in summary["images"]),
        Section("MPJPE over n", (drawn,)),
        *_compared(folder, summary["differences"]),
        fairness_section(facts, summary["costs"], provenance.get("notes", {})),
        *_hidden(folder, summary["slices"]),
        *stopped_sections(stopped),
        *cells.others(folder, compared),
        *([] if details is None else [diagnostics_section(details, (SYSTEM,))]),
        *([Section("Figures", tuple(extra))] if extra else []),
        *prior_sections(provenance),
        published_section(summary["profile"]),
        sections.provenance_section(summary),
    )
    page = Page(f"Table 1, profile '{summary['profile']}'", found)
    write_page(run_dir, page, STEM)
    text = json.dumps(summary, indent=1, allow_nan=False, default=str)
    write_bytes(run_dir / f"{STEM}.json", text.encode())
    return page


def _block(summary: Mapping[str, Any], name: str) -> Section:
    counts = f"{name}: {summary['images'][name]} images, {len(summary['seeds'])} seed(s)"
    return result_section(summary["rows"], name, counts, summary["protocols"][name])


def _compared(folder: Path, rows: Sequence[Record]) -> list[Section]:
    """Return the base against the other lines, if there are any."""
    if not rows:
        return []
    base = row_of(rows[0]["of"])
    mine = [
        {**row, "effect": row["against"]}
        for row in rows
        if row["metric"] == "mpjpe" and row_of(row["of"]) == base
    ]
    caption = (
        "Paired differences in MPJPE-n with 95 % intervals over images; left of 0 "
        f"{base} is better; grey: the interval holds 0"
    )
    path = folder / "differences.png"
    forest = cells.saved(figures.effects_forest(mine), path, caption)
    return [difference_section(rows, forest)]


def _hidden(folder: Path, rows: Sequence[Record]) -> list[Section]:
    """Return the slices, if the diagnostics say what is hidden."""
    if not rows:
        return []
    ns = " and ".join(str(n) for n in ends([row["n"] for row in rows]))
    caption = f"MPJPE-n by what is hidden, n = {ns}; hollow: the smaller n"
    path = folder / "hidden.png"
    return [hidden_section(rows, cells.saved(draw_hidden(rows), path, caption))]
