"""The comparison of a run's cells: figures, comparison.json, and sections of its page.

From cells.json and the stored records alone: written again, it has the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure as Drawing

from multibodies.files import write_bytes
from multibodies.report.cells import costs, curves, diversity, draws, tables
from multibodies.report.cells.axis_figure import draw_axis
from multibodies.report.cells.contrasts import axis_effects
from multibodies.report.cells.errors import Errors, read_errors
from multibodies.report.cells.facts import Facts, Point, points_of, read_facts, shown
from multibodies.report.cells.scatter import draw_panels
from multibodies.report.figures import FOLDER, save
from multibodies.report.page import Figure, Item, Section

COMPARISON = "comparison.json"
Record = dict[str, Any]


class Compared(NamedTuple):
    """What a comparison is made from, and its rows by what they tell."""

    facts: Facts
    found: list[Errors]
    content: dict[str, list[Record]]


def compare(run_dir: Path, per_image: Path, diagnostics: Path, samples: int) -> tuple[Section, ...]:
    """Write figures and comparison.json; return the sections: curves, effects, diversity, cost.

    None without cells.json. Raises UserError on incomplete records.
    """
    facts = read_facts(run_dir)
    if facts is None:
        return ()
    _, found, content = compared = measure(run_dir, facts, per_image, diagnostics, samples)
    folder = run_dir / FOLDER
    return (curve_section(folder, facts, content["curves"], found), *others(folder, compared))


def measure(
    run_dir: Path, facts: Facts, per_image: Path, diagnostics: Path, samples: int
) -> Compared:
    """Compare the cells and write comparison.json. Raises UserError on incomplete records."""
    found = read_errors(per_image, facts)
    rows = curves.curve_rows(found, facts, samples)
    content: dict[str, list[Record]] = {
        "curves": rows,
        "effects": axis_effects(found, facts, samples),
        "draws": draws.draw_rows(facts, rows),
        "diversity": diversity.diversity_rows(diagnostics, facts, rows),
        "costs": costs.cost_rows(found, facts),
    }
    text = json.dumps({"bootstrap_samples": samples, **content}, indent=1, allow_nan=False)
    write_bytes(run_dir / COMPARISON, text.encode() + b"\n")
    return Compared(facts, found, content)


def others(folder: Path, compared: Compared) -> tuple[Section, ...]:
    """Return all sections but that of the curves."""
    facts, found, content = compared
    return (
        *effect_sections(folder, facts, found, content["effects"]),
        *draw_sections(folder, facts, content["draws"]),
        *diversity_sections(folder, content["diversity"]),
        *cost_sections(folder, content["costs"]),
    )


def curve_section(
    folder: Path, facts: Facts, rows: Sequence[Record], found: Sequence[Errors]
) -> Section:
    """Return MPJPE-n of all points."""
    figure = curve_figure(folder, facts, points_of(facts), rows, found)
    return Section("MPJPE-n with intervals", (figure, tables.curves_table(rows)))


def curve_figure(
    folder: Path,
    facts: Facts,
    points: Sequence[Point],
    rows: Sequence[Record],
    found: Sequence[Errors],
) -> Figure:
    """Draw MPJPE-n of some points: the caption says which lines have names."""
    coloured = curves.named(rows, points, facts)
    few = len(coloured) == len(points)
    which = (
        f"all {len(points)}"
        if few
        else f"{len(coloured)} of {len(points)} have colours (the base first, then evenly by rank "
        "from best to worst), the others are grey"
    )
    protocols = "; ".join(dict.fromkeys(errors.protocol for errors in found))
    caption = (
        f"MPJPE-n, {which}; bars: 95 % interval over images of the mean over seeds, points: each "
        f"seed. Intervals overlap even where a paired effect is clear: all hold the same images. "
        f"{protocols}"
    )
    return saved(curves.draw_curves(rows, coloured), folder / "mpjpe_n.png", caption)


def effect_sections(
    folder: Path, facts: Facts, found: Sequence[Errors], rows: Sequence[Record]
) -> list[Section]:
    """Return a section per axis that cells vary in alone."""
    sections = []
    for axis in facts.axes:
        if not any(row["axis"] == axis.key for row in rows):
            continue
        seeds = "; thin bars: over images and seeds" if len(facts.seeds) > 1 else ""
        caption = (
            f"{axis.key}: above, MPJPE-n, mean over images, seeds and other axes; below, paired "
            f"difference to {shown(axis.base)} (square), all else equal, below 0 helps; bars: "
            f"95 % interval over images{seeds}"
        )
        drawn = draw_axis(found, facts, axis, rows)
        figure = saved(drawn, folder / f"axis-{axis.key}.png", caption)
        sections.append(
            Section(f"Effect of {axis.key}", (figure, tables.effects_table(axis, rows)))
        )
    return sections


def draw_sections(folder: Path, facts: Facts, rows: Sequence[Record]) -> list[Section]:
    """Return the drawn points of a search."""
    if not rows:
        return []
    caption = (
        "Each drawn setting against the metric, at each point's best flow weight, mean over "
        "images, seeds and datasets; star: chosen on val. All settings differ at once: "
        "no effect of one alone is told"
    )
    drawn = draw_panels(draws.draw_panels_of(facts, rows))
    figure = saved(drawn, folder / "search.png", caption)
    return [Section("Drawn settings", (figure, tables.draws_table(rows, str(facts.metric))))]


def diversity_sections(folder: Path, rows: Sequence[Record]) -> list[Section]:
    """Return accuracy against diversity."""
    if not rows:
        return []
    caption = "MPJPE at the largest n against the hypotheses' mean distance to their mean"
    panels = diversity.diversity_panels(rows)
    figure = saved(draw_panels(panels), folder / "diversity.png", caption)
    return [Section("Accuracy against diversity", (figure, tables.diversity_table(rows)))]


def cost_sections(folder: Path, rows: Sequence[Record]) -> list[Section]:
    """Return cost against accuracy."""
    panels = costs.cost_panels(rows)
    if not panels or not panels[0]:
        return []
    taken = any(row["taken_from"] for row in rows)
    where = "; hollow: trained by another run, whose seconds these are" if taken else ""
    caption = (
        "MPJPE at the largest n against what the training took: wall-clock seconds from its "
        "claim to its last weights, pauses after a kill and whatever ran beside it included, data, "
        f"prior, stage 1 and features not{where}. Of a training's cells that nearest to the base"
    )
    figure = saved(draw_panels(panels), folder / "cost.png", caption)
    items: tuple[Item, ...] = (figure, tables.costs_table(rows))
    return [Section("Cost against accuracy", items)]


def saved(drawing: Drawing, path: Path, caption: str) -> Figure:
    """Write a drawing; return it with its caption."""
    return Figure(save(drawing, path), caption)
