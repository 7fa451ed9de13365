"""The recipe of a system's network: the configuration's regressor, whose, and its options."""

from __future__ import annotations

from dataclasses import replace

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
