"""A run folder of a sweep with rows -> table1.{json,md,html} and figures/.

From cells.json and the stored records alone: written again, it has the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from multibodies.files import write_bytes
from multibodies.report import figures, sections
from multibodies.report.cells import write as cells
from multibodies.report.cells.facts import Facts, Point
from multibodies.report.diagnostics import diagnostics_section
from multibodies.report.early import stopped_sections
from multibodies.report.page import Figure, Page, Section
from multibodies.report.prior import prior_sections
from multibodies.report.slices import slice_rows
from multibodies.report.summary import DIAGNOSTICS, PER_IMAGE, listed, write_page
from multibodies.report.table1.fairness import cost_rows, fairness_section
from multibodies.report.table1.hidden import SYSTEM, draw_hidden, ends, hidden_section, with_lines
from multibodies.report.table1.lines import lines_of, of_lines, result_section, table_rows
from multibodies.report.table1.pairs import difference_rows, difference_section, sentences
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
    compared = cells.measure(run_dir, facts, run_dir / PER_IMAGE, run_dir / DIAGNOSTICS, samples)
    lines = lines_of(facts)
    curves = of_lines(facts, lines, compared.content["curves"])
    details = _details(run_dir, facts, lines)
    summary = {
        "profile": provenance["profile"],
        "seeds": list(facts.seeds),
        "images": {errors.dataset: len(errors.values) for errors in compared.found},
        "protocols": {errors.dataset: errors.protocol for errors in compared.found},
        "rows": table_rows(curves),
        "differences": difference_rows(compared.found, facts, lines, samples),
        "slices": _slices(run_dir, facts, lines, details),
        **({"stopped_early": list(stopped)} if stopped else {}),
        "bootstrap_samples": samples,
        "provenance": dict(provenance),
        "figures": listed(extra, run_dir),
    }
    summary["costs"] = cost_rows(facts, lines, summary["rows"])
    summary["sentences"] = sentences(summary["differences"])
    drawn = cells.curve_figure(run_dir / figures.FOLDER, facts, lines, curves, compared.found)
    found = (
        sections.data_section(summary),
        *(_block(summary, name) for name in summary["images"]),
        Section("MPJPE over n", (drawn,)),
        *_compared(run_dir, summary["differences"]),
        fairness_section(facts, summary["costs"], provenance.get("notes", {})),
        *_hidden(run_dir, summary["slices"]),
        *stopped_sections(stopped),
        *cells.others(run_dir / figures.FOLDER, compared),
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


def _compared(run_dir: Path, rows: Sequence[Record]) -> list[Section]:
    """Return the base against the other lines, if there are any."""
    if not rows:
        return []
    mine = [{**row, "effect": row["against"]} for row in rows if row["metric"] == "mpjpe"]
    caption = (
        "Paired differences in MPJPE-n with 95 % intervals over images; left of 0 "
        f"{rows[0]['of']} is better; grey: the interval holds 0"
    )
    path = run_dir / figures.FOLDER / "differences.png"
    forest = cells.saved(figures.effects_forest(mine), path, caption)
    return [difference_section(rows, forest)]


def _hidden(run_dir: Path, rows: Sequence[Record]) -> list[Section]:
    """Return the slices, if the diagnostics say what is hidden."""
    if not rows:
        return []
    ns = " and ".join(str(n) for n in ends([row["n"] for row in rows]))
    caption = f"MPJPE-n by what is hidden, n = {ns}; hollow: the smaller n"
    path = run_dir / figures.FOLDER / "hidden.png"
    return [hidden_section(rows, cells.saved(draw_hidden(rows), path, caption))]


def _details(run_dir: Path, facts: Facts, lines: Sequence[Point]) -> pd.DataFrame | None:
    path = run_dir / DIAGNOSTICS
    return with_lines(pd.read_parquet(path), facts, lines) if path.exists() else None


def _slices(
    run_dir: Path, facts: Facts, lines: Sequence[Point], details: pd.DataFrame | None
) -> list[Record]:
    if details is None or "occlusion" not in details.columns:
        return []
    records = with_lines(pd.read_parquet(run_dir / PER_IMAGE), facts, lines)
    return slice_rows(records, details, (SYSTEM,))
