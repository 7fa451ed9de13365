"""Sweep -> Plan."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from multibodies.config import AugmentConfig, Config, MixConfig, Section, SplitsConfig, fingerprint
from multibodies.data.manifest import read_manifest
from multibodies.errors import UserError
from multibodies.protocols import dataset_of, protocol_of
from multibodies.sweep.definition import FLOW_WEIGHT, SEED_KEY, Sweep
from multibodies.sweep.plan import Cell, Plan, Prior, Scoring, Stage, Training
from multibodies.sweep.points import Point, grid, training_points

USUAL: dict[str, Section] = {
    "augment": AugmentConfig(),
    "mix": MixConfig(),
    "splits": SplitsConfig(),
}


def expand(sweep: Sweep, data: Path | None = None, *, elsewhere: bool = False) -> Plan:
    """Expand a sweep into a plan, on a dataset that is prepared already or will be.

    elsewhere: another machine holds the dataset; here its path stands for its content.

    Raises UserError when two cells would share an id, on a protocol that does not exist, and where
    a sweep over files has no dataset, or one over the generator has.
    """
    base = sweep.config()
    content = _content(base, data, elsewhere)
    for split in (*sweep.choose_on, *base.evaluation.splits):
        protocol_of(base.evaluation, dataset_of(split))
    fits = training_points(sweep)
    kinds = grid(sweep.train) if sweep.search and sweep.search.startup else fits
    cached = any(sweep.config(fit).model.caches_features for fit in kinds)
    dataset = _dataset(base, content)
    priors = tuple(_prior(sweep, dataset, point) for point in grid(sweep.prior))
    learnt = _learnt(sweep, base, dataset, cached)
    shared = (dataset, *(prior.stage for prior in priors), *learnt)
    _refuse_twins([stage.directory for stage in shared])
    plan = Plan(sweep, base, shared, priors, (), (), (), data, content)
    return with_points(plan, fits)


def with_points(plan: Plan, points: Sequence[Point]) -> Plan:
    """Return the plan with a training more per seed and point, and their cells.

    Raises UserError when two cells would share an id.
    """
    sweep, learnt = plan.sweep, plan.shared[1 + len(plan.priors) :]
    trainings = [_training(sweep, learnt, s, point) for s in sweep.seeds for point in points]
    scorings = [_scoring(sweep, t, prior) for t in trainings for prior in plan.priors]
    cells = [_cell(sweep, s, score) for s in scorings for score in grid(sweep.score)]
    _refuse_twins([t.id for t in (*plan.trainings, *trainings)])
    _refuse_twins([c.id for c in (*plan.cells, *cells)])
    return replace(
        plan,
        trainings=(*plan.trainings, *trainings),
        scorings=(*plan.scorings, *scorings),
        cells=(*plan.cells, *cells),
    )


def with_flow_weight(plan: Plan, alpha: float) -> Plan:
    """Return the plan with a cell per scoring at the chosen alpha, unless the grid has it."""
    if alpha in {cell.config.evaluation.flow_weight for cell in plan.cells}:
        return plan
    extra = [_cell(plan.sweep, s, {FLOW_WEIGHT: alpha}, ours=True) for s in plan.scorings]
    return replace(plan, cells=(*plan.cells, *extra))


def content_of(data: Path) -> str:
    """Return the fingerprint of a dataset's shards. Raises UserError as `read_manifest`."""
    splits = read_manifest(data).splits
    return fingerprint({name: [s.sha256 for s in shards] for name, shards in splits.items()})


def _content(base: Config, data: Path | None, elsewhere: bool) -> str | None:
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
    return fingerprint(str(data)) if elsewhere else content_of(data)


def _dump(config: Config, *sections: str) -> dict[str, Any]:
    return {section: getattr(config, section).model_dump(mode="json") for section in sections}


def _unusual(config: Config, *sections: str) -> dict[str, Any]:
    """Return the sections that are not as they mostly are."""
    return _dump(config, *(name for name in sections if getattr(config, name) != USUAL[name]))


def _dataset(base: Config, content: str | None) -> Stage:
    made_of = _dump(base, "data", "body") if content is None else {"prepared": content}
    return Stage("dataset", "dataset", "data", made_of)


def _prior(sweep: Sweep, dataset: Stage, overrides: dict[str, Any]) -> Prior:
    config = sweep.config(overrides)
    name = _identity(sweep, "prior", overrides)
    recipe = {"dataset": dataset.fingerprint, **_dump(config, "prior")}
    recipe |= _unusual(config, "splits", "mix")
    return Prior(overrides, config, Stage("prior", name, name, recipe))


def _learnt(sweep: Sweep, base: Config, dataset: Stage, cached: bool) -> tuple[Stage, ...]:
    """Return stage 1 and, where a training reads them, its cached features."""
    of_data = {"dataset": dataset.fingerprint}
    model = base.model.model_dump(mode="json", exclude={"trains"})
    recipe: dict[str, Any] = {"source": sweep.stage1, "model": model, **_dump(base, "body")}
    if sweep.stage1 == "train":
        loss = base.loss.for_stage1().model_dump(mode="json")
        recipe |= {**of_data, "loss": loss, **_dump(base, "stage1")}
        recipe |= _unusual(base, "splits", "mix", "augment")
    kind = "stage1" if sweep.stage1 == "train" else "stage1-shipped"
    stage1 = Stage(kind, "stage1", "stage1", recipe)
    if not cached:
        return (stage1,)
    made = {**of_data, "stage1": stage1.fingerprint, **_unusual(base, "splits")}
    return stage1, Stage("features", "features", "features", made)


def _training(
    sweep: Sweep, learnt: tuple[Stage, ...], seed: int, overrides: dict[str, Any]
) -> Training:
    """Return a training; it reads stage 1's features where its settings allow, else the images."""
    config = sweep.config({**overrides, SEED_KEY: seed})
    before = learnt[-1] if config.model.caches_features else learnt[0]
    as_set = "-as_set" if sweep.vary == "one" and not overrides else ""
    row = sweep.row_of(overrides)
    name = f"seed{seed}-{row}" if row else _identity(sweep, f"seed{seed}{as_set}", overrides)
    recipe = {"before": before.fingerprint, **_dump(config, "data", "model", "loss", "stage2")}
    recipe |= _unusual(config, "splits", "mix", "augment")
    recipe |= config.of_system
    stage = Stage("training", name, f"cells/{name}", recipe)
    splits = list(dict.fromkeys((*sweep.choose_on, *config.evaluation.splits)))
    inferred = {"training": stage.fingerprint, "splits": splits}
    inference = Stage("inference", name, f"hypotheses/{name}", inferred)
    return Training(name, seed, overrides, config, stage, inference)


def _scoring(sweep: Sweep, fit: Training, prior: Prior) -> Scoring:
    name = _identity(sweep, fit.id, prior.overrides)
    return Scoring(name, fit, prior, {**fit.overrides, **prior.overrides})


def _cell(sweep: Sweep, s: Scoring, overrides: dict[str, Any], *, ours: bool = False) -> Cell:
    fit, merged = s.training, {**s.overrides, **overrides}
    config = sweep.config({**merged, SEED_KEY: fit.seed})
    name = _identity(sweep, s.id, overrides)
    before = {"inference": fit.inference.fingerprint, "prior": s.prior.stage.fingerprint}
    stage = Stage("scoring", name, f"scores/{name}", {**before, **_dump(config, "evaluation")})
    return Cell(name, s.id, fit.id, fit.seed, merged, config, stage, ours)


def _identity(sweep: Sweep, prefix: str, overrides: Mapping[str, Any]) -> str:
    """Return e.g. `seed0-ri1-flow_weight0.25`: last words of the keys, or whole keys if twins."""
    spans = sweep.search.ranges if sweep.search else {}
    axes = (*sweep.train, *spans, *sweep.prior, *sweep.score)
    leaves = [key.partition(".")[2] for key in axes]
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
