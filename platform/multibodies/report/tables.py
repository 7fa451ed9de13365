"""Table 2 as numbers: rows are means of the per-image records, effects their contrasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from multibodies.protocols import label_of
from multibodies.report.effects import MAIN, effects, effects_per_seed
from multibodies.report.grid import grids
from multibodies.report.records import (
    KEYS,
    PROTOCOL,
    VALUES,
    check_per_image,
    datasets_of,
    protocols_of,
)

ROW_KEYS = ["dataset", "lambda_ri", "flow_weight", "n"]
PAPER_WEIGHTS = (0.0, 1.0)
DEFINITIONS = {
    "reprojection": "mean over flow weights 0 and 1 of error(lambda_ri > 0) - error(lambda_ri 0)",
    "flow": "mean over lambda_ri off and on of error(flow weight 1) - error(flow weight 0)",
    "interval": "95 %, percentile, paired bootstrap over images, seeds averaged first",
    "flow_weight": "alpha, K-means weights ~ p^alpha: 0 uniform, 1 eq. 2, others ours",
}


def table_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the mean errors in mm over images and seeds, and their protocol: one dict per
    dataset, cell and n.
    """
    means = frame.groupby(ROW_KEYS, as_index=False)[list(VALUES)].mean()
    means[PROTOCOL] = means["dataset"].map(protocols_of(frame))
    rank = {name: index for index, name in enumerate(datasets_of(frame))}
    rows = [_plain(row) for row in means.to_dict("records")]
    return sorted(rows, key=lambda row: (rank[row["dataset"]], *(row[k] for k in ROW_KEYS[1:])))


def table2(
    per_image: pd.DataFrame, provenance: Mapping[str, Any], samples: int = 2000
) -> dict[str, Any]:
    """Return the whole content of table2.json.

    `rows` holds every cell: the paper's four and, where `flow_weight` is neither 0 nor 1, ours.
    `effects` holds the two main effects; `more_effects` each at one level of the other, and ours.
    `provenance` needs `profile`; what else it holds (command, git commit, data fingerprint, chosen
    flow weight, timing) is kept as it is. Raises UserError on bad records.
    """
    frame = check_per_image(per_image)
    dense = grids(frame)
    found = effects(dense, samples)
    named = [record for record in found if record["effect"] in MAIN]
    return {
        "profile": provenance["profile"],
        "seeds": sorted(int(seed) for seed in frame["seed"].unique()),
        "protocols": {name: label_of(key) for name, key in protocols_of(frame).items()},
        "rows": table_rows(frame),
        "effects": named,
        "more_effects": [record for record in found if record["effect"] not in MAIN],
        "effects_per_seed": effects_per_seed(dense),
        "ours": {"flow_weights": _our_weights(frame)},
        "images": {grid.dataset: len(grid.errors) for grid in dense},
        "bootstrap_samples": samples,
        "definitions": DEFINITIONS,
        "provenance": dict(provenance),
    }


def _our_weights(frame: pd.DataFrame) -> list[float]:
    found = {float(weight) for weight in frame["flow_weight"].unique()}
    return sorted(found - set(PAPER_WEIGHTS))


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    types = {"dataset": str, "n": int, PROTOCOL: str}
    names = [*(key for key in KEYS if key in ROW_KEYS), *VALUES, PROTOCOL]
    return {name: types.get(name, float)(row[name]) for name in names}
