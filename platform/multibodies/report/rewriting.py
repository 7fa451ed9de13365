"""A run's report again from its stored results, as after a change of this package."""

from __future__ import annotations

from pathlib import Path

from multibodies.report.cells.facts import read_facts
from multibodies.report.comparison import write_comparison
from multibodies.report.page import Figure, Page
from multibodies.report.summary import STEM, write_report
from multibodies.report.table1 import write as table1
from multibodies.runs import read_record


def rewrite_report(run_dir: str | Path, profile: str, samples: int) -> Page:
    """Write a run's report again from its stored records.

    Provenance, extra figures and the number of resamples come from its table2.json or table1.json;
    without one (a sweep that was killed before its report) only the given profile and number are
    known. Raises UserError as `write_report`, and on a damaged JSON file.
    """
    run_dir = Path(run_dir)
    facts = read_facts(run_dir)
    of_rows = facts is not None and bool(facts.efforts)
    path = run_dir / f"{table1.STEM if of_rows else STEM}.json"
    before = read_record(path) if path.exists() else {}
    extra = [Figure(run_dir / f["path"], f["caption"]) for f in before.get("figures", [])]
    provenance = before.get("provenance", {"profile": profile})
    samples = before.get("bootstrap_samples", samples)
    stopped = before.get("stopped_early", ())
    if facts is not None and of_rows:
        return table1.write_table1(run_dir, facts, provenance, extra, samples, stopped)
    if "trainings" in before:
        return write_comparison(run_dir, before["trainings"], provenance, extra, samples, stopped)
    return write_report(run_dir, provenance, samples=samples, extra=extra)
