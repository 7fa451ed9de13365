"""A made-up run of Table 1: three systems, two seeds, two datasets."""

from __future__ import annotations

import numpy as np
import pandas as pd

from multibodies.report.cells.facts import Axis, CellFacts, Cost, Effort, Facts

SYSTEMS = {"HMR": (1,), "SMPL-MDN": (1, 5, 25), "Ours": (1, 5, 25)}
SEEDS, IMAGES = (0, 1), 30
WEIGHT = 0.5
SETTINGS = {"stage 1": "5a", "trunk": "resnet18", "steps": 10}
HIDDEN = ("arms_head", "legs", "none")
# mm by which a system is off at n > 1; on `awild` ours is as bad as the other is on `wild`.
WORSE = {("wild", "SMPL-MDN"): 4.0, ("awild", "Ours"): 4.0}


def facts_of(weights: tuple[float, ...] = (WEIGHT,)) -> Facts:
    """Return the cells: systems by seeds by flow weights, as their sweep would tell them."""
    row = Axis("row", "", tuple(SYSTEMS), "Ours", named=True)
    flow = Axis("evaluation.flow_weight", "flow_weight", weights, weights[0])
    cells, efforts, costs = [], [], []
    for seed in SEEDS:
        for place, system in enumerate(SYSTEMS):
            name = f"seed{seed}-{system}"
            size = 1 if system == "HMR" else 25
            costs.append(Cost(name, 10 + seed, 1000 + place, None))
            settings = {**SETTINGS, "rate": 0.5 if system == "HMR" else 0.25}
            spent = (1000 + place, 100 + place, 640, 10.0 + 6 * seed, 200.0 + 100 * seed)
            efforts.append(Effort(name, system, size, *spent, settings))
            for weight in weights:
                records = {"training": name, "flow_weight": weight}
                at = {"row": system, **({flow.key: weight} if len(weights) > 1 else {})}
                cells.append(CellFacts(f"{name}-{weight}", name, seed, False, at, records))
    axes = (row, flow) if len(weights) > 1 else (row,)
    return Facts(axes, tuple(cells), tuple(costs), None, tuple(efforts))


def records_of(facts: Facts) -> pd.DataFrame:
    """Return errors of every cell, image and n, shuffled: order must not matter."""
    rng, rows = np.random.default_rng(3), []
    for dataset, cell in ((d, c) for d in ("wild", "awild") for c in facts.cells):
        system = cell.settings["row"]
        for n in SYSTEMS[system]:
            for image in range(IMAGES):
                error = 100 + image + rng.normal(0, 1)
                error += WORSE.get((dataset, system), 0.0) * (n > 1) - np.log(n)
                name = {"dataset": dataset, "image_id": f"{dataset}-{image:03d}", "n": n}
                values = {"mpjpe_mm": error, "re_mm": error / 2, "protocol": "embedded@1"}
                rows.append({**name, **cell.records, "seed": cell.seed, **values})
    return pd.DataFrame(rows).sample(frac=1, random_state=2)


def hidden(image_id: str) -> str:
    """Return the strategy by which an image is hidden."""
    return HIDDEN[int(image_id[-3:]) % 3] if image_id.startswith("awild") else "none"


def details_of(records: pd.DataFrame) -> pd.DataFrame:
    """Return diagnostics: a row per cell and image."""
    cells = records.drop_duplicates(["training", "flow_weight", "dataset", "image_id"])
    kept = cells[["dataset", "image_id", "training", "flow_weight", "seed"]]
    return kept.assign(
        occlusion=[hidden(name) for name in kept["image_id"]],
        oracle_mpjpe_mm=cells["mpjpe_mm"] - 1,
        diversity_all_mm=50.0,
    )
