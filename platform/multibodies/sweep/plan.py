"""Sweep -> Plan: shared stages, trainings (seeds x train axes), cells (trainings x score axes).

A stage's name is its identity and its folder; the fingerprint of its recipe is recorded beside it.
Workers, GPUs and storage bear no identity. Table 2 is 2 seeds x 2 trainings x 2 scorings over one
dataset, one prior and one stage 1.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multibodies.config import Config, fingerprint
from multibodies.data.manifest import read_manifest
from multibodies.errors import UserError
from multibodies.protocols import dataset_of, protocol_of
from multibodies.sweep.files import FLOW_WEIGHT, SEED_KEY, Axes, Sweep


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
    """Stage 2 of one seed and one train-axis cell, and its single inference."""

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
class Cell:
    """One scoring of one training; `ours` marks the flow weight chosen on val, not in the paper."""

    id: str
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
    trainings: tuple[Training, ...]
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
        return set(self.sweep.train) <= {"loss.ri"}

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
            **({"prepared": self.content} if self.content else {}),
        }

    def without(self, trainings: Collection[str]) -> Plan:
        """Return the plan without some trainings and their cells. It chooses no flow weight, which
        is a choice over all of them."""
        return replace(
            self,
            sweep=replace(self.sweep, candidates=()),
            trainings=tuple(t for t in self.trainings if t.id not in trainings),
            cells=tuple(c for c in self.cells if c.training not in trainings),
        )

    def with_flow_weight(self, alpha: float) -> Plan:
        """Return the plan with a cell per training at the chosen alpha, unless the grid has it."""
        known = {cell.config.evaluation.flow_weight for cell in self.cells}
        if alpha in known:
            return self
        prior, chosen = self.stage("prior"), {FLOW_WEIGHT: alpha}
        extra = [_cell(self.sweep, prior, t, chosen, ours=True) for t in self.trainings]
        return replace(self, cells=(*self.cells, *extra))


def expand(sweep: Sweep, data: Path | None = None) -> Plan:
    """Expand a sweep into a plan, on a dataset that is prepared already or will be.

    Raises UserError when two cells would share an id, on a protocol that does not exist, and where
    a sweep over files has no dataset, or one over the generator has.
    """
    base = sweep.config()
    content = _content(base, data)
    for split in (*sweep.choose_on, *base.evaluation.splits):
        protocol_of(base.evaluation, dataset_of(split))
    fits = _grid(sweep.train)
    cached = any(sweep.config(fit).model.caches_features for fit in fits)
    shared = _shared(sweep, base, cached, content)
    prior = shared[1]
    trainings = [_training(sweep, shared, seed, fit) for seed in sweep.seeds for fit in fits]
    cells = [_cell(sweep, prior, t, score) for t in trainings for score in _grid(sweep.score)]
    _refuse_twins([t.id for t in trainings])
    _refuse_twins([c.id for c in cells])
    return Plan(sweep, base, shared, tuple(trainings), tuple(cells), data, content)


def _content(base: Config, data: Path | None) -> str | None:
    """Return the fingerprint of a prepared dataset's shards, None where it is to be made."""
    if base.data.source == "embedded":
        if data is not None:
            raise UserError(f"--data {data}: this sweep makes its own data; leave it out")
        return None
    if data is None:
        raise UserError(
            f"profile '{base.profile}' learns from prepared files; name the folder that holds "
            "them: --data"
        )
    splits = read_manifest(data).splits
    return fingerprint({name: [s.sha256 for s in shards] for name, shards in splits.items()})


def _grid(axes: Axes) -> list[dict[str, Any]]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _dump(config: Config, *sections: str) -> dict[str, Any]:
    return {section: getattr(config, section).model_dump(mode="json") for section in sections}


def _shared(sweep: Sweep, base: Config, cached: bool, content: str | None) -> tuple[Stage, ...]:
    """Return dataset, prior, stage 1 and, where a training reads them, its cached features."""
    made_of = _dump(base, "data", "body") if content is None else {"prepared": content}
    dataset = Stage("dataset", "dataset", "data", made_of)
    of_data = {"dataset": dataset.fingerprint}
    prior = Stage("prior", "prior", "prior", {**of_data, **_dump(base, "prior")})
    model = base.model.model_dump(mode="json", exclude={"trains"})
    recipe: dict[str, Any] = {"source": sweep.stage1, "model": model, **_dump(base, "body")}
    if sweep.stage1 == "train":
        loss = base.loss.for_stage1().model_dump(mode="json")
        recipe |= {**of_data, "loss": loss, **_dump(base, "stage1")}
    kind = "stage1" if sweep.stage1 == "train" else "stage1-shipped"
    stage1 = Stage(kind, "stage1", "stage1", recipe)
    if not cached:
        return dataset, prior, stage1
    made = {**of_data, "stage1": stage1.fingerprint}
    return dataset, prior, stage1, Stage("features", "features", "features", made)


def _training(
    sweep: Sweep, shared: tuple[Stage, ...], seed: int, overrides: dict[str, Any]
) -> Training:
    """Return a training; it reads stage 1's features where its settings allow, else the images."""
    config = sweep.config({**overrides, SEED_KEY: seed})
    before = shared[-1] if config.model.caches_features else shared[2]
    name = _identity(sweep, f"seed{seed}", overrides)
    recipe = {"before": before.fingerprint, **_dump(config, "data", "model", "loss", "stage2")}
    stage = Stage("training", name, f"cells/{name}", recipe)
    splits = list(dict.fromkeys((*sweep.choose_on, *config.evaluation.splits)))
    inferred = {"training": stage.fingerprint, "splits": splits}
    inference = Stage("inference", name, f"hypotheses/{name}", inferred)
    return Training(name, seed, overrides, config, stage, inference)


def _cell(
    sweep: Sweep, prior: Stage, fit: Training, overrides: dict[str, Any], *, ours: bool = False
) -> Cell:
    merged = {**fit.overrides, **overrides}
    config = sweep.config({**merged, SEED_KEY: fit.seed})
    name = _identity(sweep, fit.id, overrides)
    before = {"inference": fit.inference.fingerprint, "prior": prior.fingerprint}
    stage = Stage("scoring", name, f"scores/{name}", {**before, **_dump(config, "evaluation")})
    return Cell(name, fit.id, fit.seed, merged, config, stage, ours)


def _identity(sweep: Sweep, prefix: str, overrides: Mapping[str, Any]) -> str:
    """Return e.g. `seed0-ri1-flow_weight0.25`: last words of the keys, or whole keys if twins."""
    leaves = [key.partition(".")[2] for key in (*sweep.train, *sweep.score)]
    parts = [prefix]
    for key, value in overrides.items():
        leaf = key.partition(".")[2]
        parts.append(f"{leaf if leaves.count(leaf) <= 1 else key}{_slug(value)}")
    return "-".join(parts)


def _slug(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return re.sub(r"[^A-Za-z0-9.]+", "_", str(value))


def _refuse_twins(names: list[str]) -> None:
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise UserError(f"two cells would share the folder '{twins[0]}'; make their values differ")
