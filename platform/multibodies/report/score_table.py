"""A table of errors by n and flow weight, per split, with intervals: what `score` prints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from multibodies.files import write_bytes
from multibodies.report.bootstrap import paired_bootstrap
from multibodies.report.markdown import markdown
from multibodies.report.page import Page, Section, Table

NAMES = {"mpjpe_mm": "MPJPE", "re_mm": "RE", "pve_mm": "PVE"}
NOTES = {"pve_mm": ", of the medoids' meshes (a mean of hypotheses has none), not aligned"}
KEYS = ["split", "dataset", "protocol", "variant", "lambda_ri", "flow_weight", "n"]
STEM = "score"
SEED = r"^seed\d+-?"  # a sweep's trainings are named `seed0-ri0.1`
Row = dict[str, Any]


def score_rows(frame: pd.DataFrame, samples: int) -> list[Row]:
    """Return one row per split, variant, flow weight and n: each metric's mean in mm with
    the ends of its 95 % interval over images (seeds averaged first), images and seeds. A variant is
    a training's name without its seed.
    """
    variants = frame["training"].str.replace(SEED, "", regex=True)
    frame = frame.assign(variant=variants.where(variants != "", "all"))
    metrics = [name for name in NAMES if name in frame.columns]
    rows = []
    for names, cell in frame.groupby(KEYS):
        images = cell.groupby("image_id")[metrics].mean()
        intervals = paired_bootstrap(images.to_numpy(dtype=float), samples)
        row: Row = {**_named(names), "images": len(images), "seeds": cell["seed"].nunique()}
        for index, metric in enumerate(metrics):
            mean, low, high = (float(part[index]) for part in intervals)
            row |= {metric: mean, f"{metric}_low": low, f"{metric}_high": high}
        rows.append(row)
    return rows


def score_page(rows: Sequence[Row], protocols: Mapping[str, str]) -> Page:
    """Arrange rows as a section per split; `protocols` holds the label of each split."""
    splits = dict.fromkeys(row["split"] for row in rows)
    sections = [_section([r for r in rows if r["split"] == s], protocols[s]) for s in splits]
    return Page("Scores of stored hypotheses", tuple(sections))


def write_scores(
    out: Path, rows: Sequence[Row], protocols: Mapping[str, str], provenance: Mapping[str, Any]
) -> Page:
    """Write score.json and score.md; return the page for the terminal."""
    page = score_page(rows, protocols)
    content = {"rows": list(rows), "protocols": dict(protocols), "provenance": dict(provenance)}
    text = json.dumps(content, indent=1, allow_nan=False, default=str)
    write_bytes(out / f"{STEM}.json", (text + "\n").encode())
    write_bytes(out / f"{STEM}.md", markdown(page, out).encode())
    return page


def _named(names: object) -> Row:
    assert isinstance(names, tuple)
    kinds = (str, str, str, str, float, float, int)
    return {key: kind(name) for key, kind, name in zip(KEYS, kinds, names, strict=True)}


def _section(rows: Sequence[Row], protocol: str) -> Section:
    """Tables of one split, a metric each: flow weights down, n across."""
    first = rows[0]
    ns = sorted({row["n"] for row in rows})
    at = {(*_cell_of(row), row["n"]): row for row in rows}.get
    cells = sorted({_cell_of(row) for row in rows})
    role = "val: settings may be chosen here" if _is_val(first["split"]) else "choose nothing here"
    tables = [
        Table(
            ("training", "lambda_ri", "flow weight", *(f"{heading}-{n}" for n in ns)),
            tuple((*_labels(cell), *(_cell(at((*cell, n)), metric) for n in ns)) for cell in cells),
            f"{heading} in mm{NOTES.get(metric, '')} [95 % interval over images]; {protocol}",
            labels=3,
        )
        for metric, heading in NAMES.items()
        if metric in first
    ]
    counts = f"{first['images']} images, {first['seeds']} seed(s)"
    return Section(f"{first['split']} ({role}): {counts}", tuple(tables))


def _cell_of(row: Row) -> tuple[str, float, float]:
    return row["variant"], row["lambda_ri"], row["flow_weight"]


def _labels(cell: tuple[str, float, float]) -> tuple[str, ...]:
    return cell[0], f"{cell[1]:g}", f"{cell[2]:g}"


def _is_val(split: str) -> bool:
    return split.endswith(("-val", "-train"))


def _cell(row: Row | None, metric: str) -> str:
    if row is None:
        return "–"  # a training without that n
    return f"{row[metric]:.1f} [{row[f'{metric}_low']:.1f}, {row[f'{metric}_high']:.1f}]"
