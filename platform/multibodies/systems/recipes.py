"""How a system's network begins: its recipe, and the draws of what stage 1 has not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from multibodies.config import Config
from multibodies.core.regressor import RegressorSpec
from multibodies.errors import UserError
from multibodies.training import regressor_spec


def spec_of(config: Config, options: dict[str, int | float | str]) -> RegressorSpec:
    """Return the recipe of stage 2's network on HMR's head.

    Raises UserError on the head of M feature vectors, which only ours has.
    """
    name = config.system.name
    if config.model.head != "stacked":
        raise UserError(
            f"model.head is '{config.model.head}'; system '{name}' decodes one feature vector, "
            "set model.head to 'stacked'"
        )
    spec = regressor_spec(config.model, config.stage2.num_hypotheses)
    return replace(spec, system=name, options=options)


@contextmanager
def seeded(config: Config) -> Iterator[torch.Generator]:
    """Draw by stage2.seed within the block, also from the generator that it gives; what is drawn
    afterwards is what it would have been."""
    seed = config.stage2.seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)
