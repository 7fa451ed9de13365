"""Table 1 as numbers: what table1.json holds besides where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from multibodies.report.cells.facts import Facts, Point
from multibodies.report.cells.write import Compared
from multibodies.report.slices import slice_rows
from multibodies.report.summary import DIAGNOSTICS, PER_IMAGE
from multibodies.report.table1.fairness import cost_rows
from multibodies.report.table1.hidden import SYSTEM, with_lines
from multibodies.report.table1.lines import of_lines, table_rows
from multibodies.report.table1.pairs import difference_rows, sentences

Record = dict[str, Any]


def content(
    run_dir: Path,
    compared: Compared,
    lines: Sequence[Point],
    details: pd.DataFrame | None,
    samples: int,
) -> dict[str, Any]:
    """Return seeds, images and protocols, the table's rows, paired differences and what they say,
    costs, slices."""
    facts, found, measured = compared
    rows = table_rows(of_lines(facts, lines, measured["curves"]))
    differences = difference_rows(found, facts, lines, samples)
    return {
        "seeds": list(facts.seeds),
        "images": {errors.dataset: len(errors.values) for errors in found},
        "protocols": {errors.dataset: errors.protocol for errors in found},
        "rows": rows,
        "differences": differences,
        "sentences": sentences(differences),
        "costs": cost_rows(facts, lines, rows),
        "slices": _slices(run_dir, facts, lines, details),
        "bootstrap_samples": samples,
    }


def details_of(run_dir: Path, facts: Facts, lines: Sequence[Point]) -> pd.DataFrame | None:
    """Return the diagnostics of the lines, None of a run without."""
    path = run_dir / DIAGNOSTICS
    return with_lines(pd.read_parquet(path), facts, lines) if path.exists() else None


def _slices(
    run_dir: Path, facts: Facts, lines: Sequence[Point], details: pd.DataFrame | None
) -> list[Record]:
    if details is None or "occlusion" not in details.columns:
        return []
    records = with_lines(pd.read_parquet(run_dir / PER_IMAGE), facts, lines)
    return slice_rows(records, details, (SYSTEM,))
