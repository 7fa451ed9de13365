"""The sections of the Table 2 page, from the content of table2.json. Millimetres throughout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from multibodies.core import metrics
from multibodies.report import paper
from multibodies.report.page import Section, Table
from multibodies.report.tables import PAPER_WEIGHTS

Summary = Mapping[str, Any]
Record = Mapping[str, Any]
YES, NO = "✓", "–"
METRIC_NAMES = {"mpjpe": "MPJPE", "re": "RE"}


DATA = {
    "embedded": "Rendered images of a licence-free body, no photographs; not comparable with 3DPW.",
    "paper-dry": "The paper's code at its least size; the numbers say nothing about the method.",
    "paper-smoke": "The paper's code at its least size; the numbers say nothing about the method.",
    "smoke": "Smoke size: checks that everything runs; the numbers say nothing about the method.",
}


def data_section(summary: Summary) -> Section:
    """Return what the numbers were measured on, and how many images and seeds stand behind them."""
    images = ", ".join(f"{name} {count}" for name, count in summary["images"].items())
    seeds = " ".join(str(seed) for seed in summary["seeds"])
    counts = f"Profile '{summary['profile']}'; images: {images}; seeds: {seeds}."
    note = DATA.get(summary["profile"])
    table = Table(("data", "protocol"), tuple(summary["protocols"].items()), labels=2)
    return Section("Data", (counts, note, table) if note else (counts, table))


def result_section(summary: Summary, dataset: str) -> Section:
    """Return the four rows, and ours, by n > 1: the layout of the paper's Table 2."""
    rows = [row for row in summary["rows"] if row["dataset"] == dataset]
    ns = several(summary)
    cells = sorted(
        {(row["lambda_ri"], row["flow_weight"]) for row in rows},
        key=lambda cell: (cell[1] not in PAPER_WEIGHTS, cell),
    )
    header = ("mode reproj.", "flow weight", *_columns(ns))
    body = [(*_marks(*cell), *_numbers(rows, cell, ns)) for cell in cells]
    note = "mode reproj.: eq. 5 with its weight; flow weight: K-means weights p^alpha, eq. 2 is 1."
    if any(cell[1] not in PAPER_WEIGHTS for cell in cells):
        note += " Rows marked 'ours' are not in the paper: alpha was chosen on val."
    note += f" mm, {summary['protocols'][dataset]}."
    title = f"{dataset}: {summary['images'][dataset]} images, {len(summary['seeds'])} seed(s)"
    return Section(title, (Table(header, tuple(body), note, labels=2),))


def effect_section(summary: Summary, dataset: str) -> Section:
    """Return both main effects with intervals, their simple effects, and their values by seed."""
    ns = several(summary)
    found = [r for key in ("effects", "more_effects") for r in summary[key]]
    mine = [record for record in found if record["dataset"] == dataset]
    header = ("effect", "metric", *(f"n = {n}" for n in ns))
    caption = (
        "difference in mm [95 % interval over images]; negative helps; "
        f"{summary['protocols'][dataset]}"
    )
    table = Table(header, tuple(_effect_rows(mine, ns, _interval)), caption, labels=2)
    seeds = Table(header, tuple(_seed_rows(summary, dataset, ns)), "each seed alone", labels=2)
    defined = summary["definitions"]
    text = f"reprojection: {defined['reprojection']}. flow: {defined['flow']}."
    return Section(f"{dataset}: effects", (text, table, seeds))


def gain_section(summary: Summary) -> Section:
    """Return MPJPE-n relative to MPJPE-1 of the full method, and the percent gained from n = 1 to
    25 (MEGA's measure), beside the paper's and the README's.

    Neither has a unit, so that different data can stand in one table.
    """
    ns = paper.TABLE2_N
    rows = []
    for dataset in dict.fromkeys(row["dataset"] for row in summary["rows"]):
        for cell in _full_cells(summary["rows"], dataset):
            at = {r["n"]: r["mpjpe_mm"] for r in _of_cell(summary["rows"], dataset, cell)}
            if {1, *ns} <= at.keys():
                name = " ".join(("ours, reproj.", _marks(*cell)[0], "flow", _marks(*cell)[1]))
                rows.append((dataset, name, *_gains(at[1], [at[n] for n in ns])))
    for name, source, values in _published():
        first, *others = (mpjpe for mpjpe, _ in values)
        rows.append((name, source, *_gains(first, others)))
    header = ("data", "source", *(f"n = {n}" for n in ns), f"gain at {ns[-1]}")
    table = Table(header, tuple(rows), labels=2)
    return Section("MPJPE-n over MPJPE-1", (table,))


def paper_section(summary: Summary) -> Section:
    """Return the paper's Table 2 and what the released code's README says of its last two rows."""
    ns = paper.TABLE2_N
    rows = [("paper", *_ticks(r.reprojection, r.flow), *_pairs(r.values)) for r in paper.TABLE2]
    rows += [
        ("released README", *_ticks(True, kind == "W"), *_pairs(paper.README["3DPW", kind][1:]))
        for kind in "UW"
    ]
    effects = tuple(
        (
            effect,
            METRIC_NAMES[metric],
            *(f"{paper.table2_effect(effect, n, metric):+.2f}" for n in ns),
        )
        for effect in ("reprojection", "flow")
        for metric in METRIC_NAMES
    )
    warning = (
        "Measured on 3DPW with SMPL, ResNet-50 and real training sets. The rows above are of "
        f"profile '{summary['profile']}'; millimetres of the two must not be compared."
    )
    head = ("source", "mode reproj.", "flow weight", *_columns(ns))
    head_effects = ("effect", "metric", *(f"n = {n}" for n in ns))
    tables = (
        Table(head, tuple(rows), labels=3),
        Table(head_effects, effects, "main effects of the paper's rows, mm", labels=2),
    )
    return Section("The paper's Table 2 on 3DPW", (warning, *tables), foreign=True)


def provenance_section(summary: Summary) -> Section:
    """Return where the numbers came from: command, commit, data, chosen flow weight, times."""
    pairs = flat_pairs(summary["provenance"])
    return Section("Provenance", (Table(("what", "value"), tuple(pairs), labels=2),))


def flat_pairs(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested mappings to (dotted name, text) pairs."""
    pairs: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            pairs += flat_pairs(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", str(value)))
    return pairs


def several(summary: Summary) -> tuple[int, ...]:
    """Return the n > 1 of the rows; the paper's table has no n = 1, the JSON and curves have."""
    return tuple(sorted({row["n"] for row in summary["rows"] if row["n"] > 1}))


def _gains(first: float, others: Sequence[float]) -> list[str]:
    ratios = [f"{value / first:.2f}" for value in others]
    return [*ratios, f"{metrics.improvement(first, others[-1]):.1f} %"]


def _columns(ns: Sequence[int]) -> list[str]:
    return [f"{name}-{n}" for n in ns for name in METRIC_NAMES.values()]


def _marks(level: float, weight: float) -> tuple[str, str]:
    reprojection = NO if level == 0 else f"{YES} ({level:g})"
    if weight in PAPER_WEIGHTS:
        return reprojection, YES if weight else NO
    return reprojection, f"ours: p^{weight:g}"


def _ticks(*on: bool) -> tuple[str, ...]:
    return tuple(YES if part else NO for part in on)


def _pairs(values: paper.Pairs) -> list[str]:
    return [f"{value:.1f}" for pair in values for value in pair]


def _of_cell(rows: Sequence[Record], dataset: str, cell: tuple[float, float]) -> list[Record]:
    keys = (dataset, *cell)
    return [r for r in rows if (r["dataset"], r["lambda_ri"], r["flow_weight"]) == keys]


def _numbers(rows: Sequence[Record], cell: tuple[float, float], ns: Sequence[int]) -> list[str]:
    at = {(r["lambda_ri"], r["flow_weight"], r["n"]): r for r in rows}
    return [f"{at[(*cell, n)][f'{metric}_mm']:.1f}" for n in ns for metric in METRIC_NAMES]


def _full_cells(rows: Sequence[Record], dataset: str) -> list[tuple[float, float]]:
    """Return the cells with every part on: the largest lambda_ri, every flow weight > 0."""
    cells = {(r["lambda_ri"], r["flow_weight"]) for r in rows if r["dataset"] == dataset}
    level = max(level for level, _ in cells)
    return sorted(cell for cell in cells if cell[0] == level and cell[1] > 0)


def _effect_rows(
    records: Sequence[Record], ns: Sequence[int], show: Callable[[Record], str]
) -> list[tuple[str, ...]]:
    names = dict.fromkeys((r["effect"], r["metric"]) for r in records)
    at = {(r["effect"], r["metric"], r["n"]): r for r in records}
    return [
        (effect, METRIC_NAMES[metric], *(show(at[effect, metric, n]) for n in ns))
        for effect, metric in names
    ]


def _interval(record: Record) -> str:
    return f"{record['difference_mm']:+.2f} [{record['low']:+.2f}, {record['high']:+.2f}]"


def _seed_rows(summary: Summary, dataset: str, ns: Sequence[int]) -> list[tuple[str, ...]]:
    return [
        (f"{effect}, seed {seed}", metric, *numbers)
        for seed in summary["seeds"]
        for effect, metric, *numbers in _effect_rows(
            [
                record
                for record in summary["effects_per_seed"]
                if record["dataset"] == dataset and record["seed"] == seed
            ],
            ns,
            lambda record: f"{record['difference_mm']:+.2f}",
        )
    ]


def _published() -> list[tuple[str, str, paper.Pairs]]:
    """Return what the paper and the README print for the full method."""
    names = ("3DPW", "A3DPW")
    printed = [(name, "paper, Table 1", paper.TABLE1_OURS[name]) for name in names]
    return printed + [(name, "released README, W", paper.README[name, "W"]) for name in names]
