"""What a sweep does: shared stages, trainings (seeds x points), priors, cells (trainings x priors x
score axes).

A stage's name is its identity and its folder; the fingerprint of its recipe is recorded beside it.
Workers, GPUs and storage bear no identity. Table 2 is 2 seeds x 2 trainings x 2 scorings over one
dataset, one prior and one stage 1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multibodies.config import Config, fingerprint
from multibodies.sweep.definition import Sweep


@dataclass(frozen=True)
class Stage:
    """One piece of work with one output folder. `kind` groups stages for time estimates."""

    kind: str
    name: str
    directory: str
    recipe: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """16 hex digits of the recipe."""
        return fingerprint(dict(self.recipe))


@dataclass(frozen=True)
class Training:
    """Stage 2 of one seed and one point of the train axes, and its single inference."""

    id: str
    seed: int
    overrides: Mapping[str, Any]
    config: Config
    stage: Stage
    inference: Stage

    @property
    def rows(self) -> str:
        """The folder of a run that it learns from: cached features or images."""
        return "features" if self.config.model.caches_features else "data"


@dataclass(frozen=True)
class Prior:
    """One fit of the prior; the first of a plan is the one that hypotheses are inferred under."""

    overrides: Mapping[str, Any]
    config: Config
    stage: Stage

    @property
    def weights(self) -> str:
        """The folder of its weights within a run."""
        return f"{self.stage.directory}/weights"


@dataclass(frozen=True)
class Scoring:
    """One training's hypotheses under one prior: what is scored together and named in records.

    Its id is the training's where a sweep has one prior.
    """

    id: str
    training: Training
    prior: Prior
    overrides: Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One scoring at one flow weight; `ours` marks the one chosen on val, not in the paper."""

    id: str
    scoring: str
    training: str
    seed: int
    overrides: Mapping[str, Any]
    config: Config
    stage: Stage
    ours: bool = False


@dataclass(frozen=True)
class Plan:
    """All that a sweep does, in order: shared stages, trainings, cells."""

    sweep: Sweep
    base: Config
    shared: tuple[Stage, ...]
    priors: tuple[Prior, ...]
    trainings: tuple[Training, ...]
    scorings: tuple[Scoring, ...]
    cells: tuple[Cell, ...]
    data: Path | None = None  # a dataset that is there already, and its content's fingerprint
    content: str | None = None

    @property
    def name(self) -> str:
        """The run's name: its folder under runs/ and its MLflow experiment."""
        return self.sweep.name

    @property
    def is_table2(self) -> bool:
        """Whether eq. 5's weight and the flow weight tell all cells of a seed apart."""
        sweep = self.sweep
        alone = sweep.search is None and sweep.stopping is None and not (sweep.prior or sweep.rows)
        return alone and set(sweep.train) <= {"loss.ri"}

    @property
    def undrawn(self) -> int:
        """How many points an adaptive search has yet to draw, of a plan with all its trainings."""
        search = self.sweep.search
        if search is None or not search.startup:
            return 0
        return search.samples - len(self.trainings) // len(self.sweep.seeds)

    def stage(self, name: str) -> Stage:
        """Return the shared stage of that name."""
        return next(stage for stage in self.shared if stage.name == name)

    def training(self, training_id: str) -> Training:
        """Return the training of that id."""
        return next(training for training in self.trainings if training.id == training_id)

    def stages(self) -> tuple[Stage, ...]:
        """Return every stage in the order of work."""
        fits = [stage for t in self.trainings for stage in (t.stage, t.inference)]
        return (*self.shared, *fits, *(cell.stage for cell in self.cells))

    def recipe(self) -> dict[str, Any]:
        """Return the identity of the run as plain JSON values; equal recipes may share a folder."""
        sweep = self.sweep
        return {
            "name": sweep.name,
            "seeds": list(sweep.seeds),
            "stage1": sweep.stage1,
            "train": {key: list(values) for key, values in sweep.train.items()},
            "score": {key: list(values) for key, values in sweep.score.items()},
            "ours": {
                "flow_weight_candidates": list(sweep.candidates),
                "choose_on": list(sweep.choose_on),
            },
            "config": self.base.model_dump(mode="json"),
            **_unusual(sweep),
            **({"prepared": self.content} if self.content else {}),
        }

    def without(self, trainings: Collection[str]) -> Plan:
        """Return the plan without some trainings and their cells."""
        return replace(
            self,
            trainings=tuple(t for t in self.trainings if t.id not in trainings),
            scorings=tuple(s for s in self.scorings if s.training.id not in trainings),
            cells=tuple(c for c in self.cells if c.training not in trainings),
        )


def _unusual(sweep: Sweep) -> dict[str, Any]:
    """Return what only some sweeps have, so that the recipes of all others stay what they were."""
    search = sweep.search
    found: dict[str, Any] = {
        "prior": {key: list(values) for key, values in sweep.prior.items()},
        "rows": {name: dict(row) for name, row in sweep.rows.items()},
        "vary": sweep.vary if sweep.vary != "all" else None,
        "search": None
        if search is None
        else {
            "method": search.method,
            "samples": search.samples,
            "seed": search.seed,
            "metric": search.metric,
            "ranges": {key: vars(span) for key, span in search.ranges.items()},
            **({"startup": search.startup} if search.startup else {}),
        },
        "stopping": None if sweep.stopping is None else {"method": "asha", **vars(sweep.stopping)},
    }
    return {key: value for key, value in found.items() if value}
