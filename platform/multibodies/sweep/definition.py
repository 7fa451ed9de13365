"""What a sweep is: a profile, settings for all cells, and axes along which cells differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multibodies.config import Config, load_config
from multibodies.errors import UserError

Axes = Mapping[str, tuple[Any, ...]]

SEED_KEY = "stage2.seed"
FLOW_WEIGHT = "evaluation.flow_weight"
SIZE_KEY = "stage2.num_hypotheses"
N_KEY = "evaluation.n"
VARY = ("all", "one")


@dataclass(frozen=True)
class Range:
    """The values low <= x <= high of a drawn setting; `log`: uniform in log x; `whole`: integers.

    Values are rounded to 3 significant digits, which folders can be named by.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> float | int:
        """Return the value at a share in [0, 1] of the way from low to high."""
        way = self.low * (self.high / self.low) ** share if self.log else None
        return self.rounded(self.low + share * (self.high - self.low) if way is None else way)

    def rounded(self, value: float) -> float | int:
        """Return a value as it is used."""
        if self.whole:
            return round(value)
        return min(max(float(f"{value:.3g}"), self.low), self.high)


@dataclass(frozen=True)
class Search:
    """Draws of the training's settings; `metric` (such as mpjpe_n25) ranks them on val.

    method: "random", or "optuna": the first `startup` at random, each later one by TPE, which looks
    at how well the earlier ones did.
    """

    samples: int
    metric: str
    seed: int = 0
    ranges: Mapping[str, Range] = field(default_factory=dict)
    method: str = "random"
    startup: int = 0


@dataclass(frozen=True)
class Stopping:
    """Successive halving, asynchronous (ASHA): at steps grace, grace x reduction, ... a training
    goes on if `metric` on the first `images` rows of each of the val `splits` is among the best
    1/reduction of what has come there.
    """

    metric: str
    splits: tuple[str, ...]
    grace: int
    reduction: int = 3
    images: int = 128

    def rungs(self, steps: int) -> tuple[int, ...]:
        """Return the steps at which a training of so many steps may be stopped."""
        found, step = [], self.grace
        while step < steps:
            found.append(step)
            step *= self.reduction
        return tuple(found)


@dataclass(frozen=True)
class Sweep:
    """`fixed` settings, axes of trainings, priors and scorings, flow weights to choose from on
    `choose_on`.

    `rows` name trainings by settings of their own, in place of axes. `notes` go into the report and
    bear no identity. `vary`: "all" crosses the trainings' axes, "one" varies each alone around the
    other settings.
    """

    name: str
    profile: str
    seeds: tuple[int, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    train: Axes = field(default_factory=dict)
    score: Axes = field(default_factory=dict)
    candidates: tuple[float, ...] = ()
    choose_on: tuple[str, ...] = ()
    stage1: str = "train"
    prior: Axes = field(default_factory=dict)
    vary: str = "all"
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    search: Search | None = None
    stopping: Stopping | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    def row_of(self, overrides: Mapping[str, Any]) -> str | None:
        """Return the name of the row that has these settings, None of a sweep without rows."""
        return next((name for name, row in self.rows.items() if row == overrides), None)

    def config(self, overrides: Mapping[str, Any] | None = None) -> Config:
        """Return the profile's config with the fixed settings and further dotted overrides.

        A swept M is scored for those n that it has, n <= M; without an M of its own a config of a
        grid over M has the largest. Raises UserError where an M has no n.
        """
        merged = {**self.fixed, **(overrides or {})}
        if SIZE_KEY in self.train and SIZE_KEY in merged:
            merged[N_KEY] = self._n_of(merged[SIZE_KEY])
        elif SIZE_KEY in self.train and self.vary == "all":
            merged[SIZE_KEY] = max(self.train[SIZE_KEY])
        return load_config(self.profile, merged)

    def _n_of(self, size: int) -> list[int]:
        asked: Sequence[int] = self.fixed.get(N_KEY) or load_config(self.profile).evaluation.n
        kept = [n for n in asked if n <= size]
        if not kept:
            raise UserError(f"{SIZE_KEY} = {size} has no n <= {size} under {N_KEY}; list one")
        return kept
