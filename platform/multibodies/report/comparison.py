"""The report of a sweep whose cells differ in more than eq. 5's weight: a row per cell and n.

Table 2's records tell cells apart by lambda_ri and flow weight alone; such a sweep's name their
scoring (a training, or a training under one of several priors) in a column more, `training`, and
its axes name the rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from multibodies.files import write_bytes
from multibodies.protocols import label_of
from multibodies.report.cells.write import compare
from multibodies.report.early import stopped_sections
from multibodies.report.page import Figure, Page, Section, Table
from multibodies.report.prior import prior_sections
from multibodies.report.records import VALUES, check_per_image, datasets_of
from multibodies.report.sections import provenance_section
from multibodies.report.summary import DIAGNOSTICS, PER_IMAGE, STEM, listed, write_page
from multibodies.sweep import Plan, best_of

Record = dict[str, Any]
AS_SET = "as set"
NONE = "–"  # an n above a swept M


def axes_of(plan: Plan) -> dict[str, str]:
    """Return the label of each scoring: the settings in which it differs, in words."""
    return {
        scoring.id: ", ".join(f"{key} = {value}" for key, value in scoring.overrides.items())
        or AS_SET * (plan.sweep.vary == "one")
        for scoring in plan.scorings
    }


def write_comparison(
    run_dir: Path,
    trainings: Mapping[str, str],
    provenance: Mapping[str, Any],
    extra: Sequence[Figure],
    samples: int = 2000,
    stopped: Sequence[Mapping[str, Any]] = (),
) -> Page:
    """Write table2.{json,md,html} of such a sweep; `trainings` are `axes_of` its plan, `stopped`
    the rows of those that were stopped early.

    Raises UserError on missing records.
    """
    rows = comparison_rows(run_dir, trainings)
    summary = {
        "profile": provenance["profile"],
        "trainings": dict(trainings),
        "rows": rows,
        **({"stopped_early": list(stopped)} if stopped else {}),
        "provenance": dict(provenance),
        "figures": listed(extra, run_dir),
        "bootstrap_samples": samples,
    }
    search = provenance.get("recipe", {}).get("search")
    ranking = [] if search is None else [search_section(rows, str(search["metric"]))]
    tables = [_section(rows, name) for name in dict.fromkeys(row["dataset"] for row in rows)]
    compared = compare(run_dir, run_dir / PER_IMAGE, run_dir / DIAGNOSTICS, samples)
    drawn = [Section("Figures", tuple(extra))] if extra else []
    last = (*drawn, *prior_sections(provenance), provenance_section(summary))
    sections = (*ranking, *tables, *stopped_sections(stopped), *compared, *last)
    name = provenance.get("recipe", {}).get("name", run_dir.name)
    page = Page(f"{name}, profile '{provenance['profile']}'", sections)
    write_page(run_dir, page)
    text = json.dumps(summary, indent=1, allow_nan=False, default=str)
    write_bytes(run_dir / f"{STEM}.json", text.encode())
    return page


def comparison_rows(run_dir: Path, trainings: Mapping[str, str]) -> list[Record]:
    """Return a row per dataset, training axes, flow weight and n: mean errors in mm over images and
    seeds, and each seed's mean."""
    path, parts = run_dir / PER_IMAGE, []
    union = pd.read_parquet(path)
    several = "training" in union.columns
    of = {str(name): part for name, part in union.groupby("training")} if several else {}
    for training, axes in trainings.items():
        mine = of.get(training, union.iloc[:0]) if several else union
        parts.append(check_per_image(mine, f"{path}, {training}").assign(axes=axes))
    frame = pd.concat(parts)
    order = {name: index for index, name in enumerate(datasets_of(frame))}
    names = {name: index for index, name in enumerate(dict.fromkeys(trainings.values()))}
    return sorted(
        _rows(frame),
        key=lambda r: (order[r["dataset"]], names[r["axes"]], r["flow_weight"], r["n"]),
    )


def search_section(rows: Sequence[Record], metric: str) -> Section:
    """Return the points of a search, the best on val first. Raises UserError as `best_of`."""
    best, errors = best_of(pd.DataFrame(rows).rename(columns={"axes": "point"}), metric)
    body = tuple((point, f"{error:.1f}") for point, error in errors.items())
    caption = (
        f"{metric} in mm at each point's best flow weight, mean over images and seeds, then over "
        "datasets; chosen on val splits only"
    )
    table = Table(("settings", metric), body, caption)
    return Section("Search", (f"Best on val: {best}", table))


def _rows(frame: pd.DataFrame) -> list[Record]:
    keys, values = ["dataset", "protocol", "axes", "flow_weight", "n"], list(VALUES)
    few = frame.astype({name: "category" for name in keys[:3]})
    means = few.groupby(keys, observed=True)[values].mean().reset_index()
    seeds = few.groupby([*keys, "seed"], observed=True)[values].mean().reset_index()
    by_seed: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    for cell in seeds.to_dict("records"):
        at = tuple(cell[key] for key in keys)
        line = by_seed.setdefault(at, {f"{name}_by_seed": [] for name in values})
        for name in values:
            line[f"{name}_by_seed"].append(float(cell[name]))
    kinds = {"flow_weight": float, "n": int, **dict.fromkeys(values, float)}
    return [
        {**{str(k): kinds.get(str(k), str)(v) for k, v in row.items()}, **by_seed[at]}
        for row in means.to_dict("records")
        for at in [tuple(row[key] for key in keys)]
    ]


def of_training(frame: pd.DataFrame, training: str) -> pd.DataFrame:
    """Return the records of one training, where records name theirs; else all."""
    return frame[frame["training"] == training] if "training" in frame.columns else frame


def _section(rows: Sequence[Record], dataset: str) -> Section:
    """Return MPJPE-n and RE-n of one dataset, a line per cell, each seed's in brackets."""
    mine = [row for row in rows if row["dataset"] == dataset]
    ns = sorted({row["n"] for row in mine})
    header = ("settings", "flow weight", *(f"{m}-{n}" for n in ns for m in ("MPJPE", "RE")))
    lines: dict[tuple[str, str], dict[int, list[str]]] = {}
    for row in mine:
        line = lines.setdefault((row["axes"], f"{row['flow_weight']:g}"), {})
        line[row["n"]] = [_cell(row, name) for name in VALUES]
    absent = [NONE] * len(VALUES)
    body = tuple(
        (*labels, *(cell for n in ns for cell in line.get(n, absent)))
        for labels, line in lines.items()
    )
    caption = f"mm, mean over images and seeds [each seed]; {label_of(mine[0]['protocol'])}"
    return Section(dataset, (Table(header, body, caption, labels=2),))


def _cell(row: Record, name: str) -> str:
    seeds = " ".join(f"{value:.1f}" for value in row[f"{name}_by_seed"])
    return f"{row[name]:.1f} [{seeds}]"
