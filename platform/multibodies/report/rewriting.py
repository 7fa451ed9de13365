"""A run's report again from its stored results, as after a change of this package."""

from __future__ import annotations

from pathlib import Path

from multibodies.report.comparison import write_comparison
from multibodies.report.page import Figure, Page
from multibodies.report.summary import STEM, write_report
from multibodies.runs import read_record


def rewrite_report(run_dir: str | Path, profile: str, samples: int) -> Page:
    """Write a run's report again from its stored records.

    Provenance, extra figures and the number of resamples come from its table2.json; without one
    (a sweep that was killed before its report) only the given profile and number are known.
    Raises UserError as `write_report`, and on a damaged table2.json.
    """
    run_dir = Path(run_dir)
    path = run_dir / f"{STEM}.json"
    before = read_record(path) if path.exists() else {}
    extra = [Figure(run_dir / f["path"], f["caption"]) for f in before.get("figures", [])]
    provenance = before.get("provenance", {"profile": profile})
    samples = before.get("bootstrap_samples", samples)
    if "trainings" in before:
        stopped = before.get("stopped_early", ())
        return write_comparison(run_dir, before["trainings"], provenance, extra, samples, stopped)
    return write_report(run_dir, provenance, samples=samples, extra=extra)
