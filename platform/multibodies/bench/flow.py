"""The prior's log-density of 6,400 skeletons against nflows' SimpleRealNVP of its size."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from nflows.flows.realnvp import SimpleRealNVP

from multibodies.bench import samples
from multibodies.bench.harness import Row, Setting, alternate, faster
from multibodies.core.prior import PriorSpec, SkeletonPrior


def measure(setting: Setting) -> Iterator[Row]:
    """Yield one row: 20 couplings of width 512, without gradients."""
    count, depth, hidden = (8, 2, 16) if setting.quick else (6400, 20, 512)
    skeletons = samples.hypotheses(count // 4, 4).flatten(0, 1).to(setting.device)
    torch.manual_seed(0)
    ours = SkeletonPrior(PriorSpec(couplings=depth, hidden=hidden))
    theirs = SimpleRealNVP(72, hidden, num_layers=depth, num_blocks_per_layer=2)
    flat = skeletons.flatten(1)
    ours, theirs = ours.to(setting.device).eval(), theirs.to(setting.device).eval()
    with torch.no_grad():
        roads = {"nflows": lambda: theirs.log_prob(flat), "ours": lambda: ours.log_prob(skeletons)}
        times = alternate("prior", roads, setting)
    yield faster("prior: nflows / ours", times["nflows"], times["ours"], 2)
