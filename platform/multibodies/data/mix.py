"""Which share of a batch comes from which training split: SPIN's mix (nkolot/SPIN,
datasets/mixed_dataset.py), with the shares that `config.mix` gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from multibodies.config import MixConfig
from multibodies.errors import UserError

MIX_TRAIN = "mix-train"  # stands for all training splits together
TRAIN = "-train"

# set -> field of the mix; any other set is one of `others`
GROUPS = {
    "h36m": "h36m",
    "mpii3d": "mpii3d",
    "coco": "wild",
    "lsp": "wild",
    "lspet": "wild",
    "mpii": "wild",
}
OTHERS = "others"


def group_of(split: str) -> str:
    """Return the field of the mix that holds a training split's share: h36m-train -> h36m."""
    return GROUPS.get(split.removesuffix(TRAIN), OTHERS)


def shares_of(rows: Mapping[str, int], mix: MixConfig) -> dict[str, float]:
    """Return the share of each training split, of 1, by the rows that each has.

    Splits of one group share its number by size. Those that are empty or have no share are left
    out, and the others keep their proportions. Raises UserError if nothing is left.
    """
    sizes: Counter[str] = Counter()
    for split, count in rows.items():
        sizes[group_of(split)] += count
    asked = {
        split: getattr(mix, group_of(split)) * count / sizes[group_of(split)]
        for split, count in sorted(rows.items())
        if count
    }
    total = sum(asked.values())
    if not total:
        raise UserError(
            f"the settings of mix leave nothing to train on: found {', '.join(sorted(rows))}; "
            "set mix.others for sets that have no share of their own"
        )
    return {split: share / total for split, share in asked.items() if share}
