"""What a training is, apart from where it runs: its task, recipe, start, resumable state and result. No Ray.

Both `cluster/trainer.py` (Ray Train) and `local.py` (one device) run `training.train` between these.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from multibodies import checkpoints, runs
from multibodies.config import Config, StageConfig, fingerprint
from multibodies.core.body import load_body
from multibodies.core.objective import Objective
from multibodies.core.regressor import Regressor, RegressorSpec
from multibodies.data.training_rows import Source
from multibodies.errors import UserError
from multibodies.progress import Progress
from multibodies.runs import Journal
from multibodies.training import (
    TrainingState,
    build_objective,
    build_stage2,
    make_optimizer,
    optimizer_tensors,
    regressor_spec,
    restore_optimizer,
)

StageName = Literal["stage1", "stage2"]
OnReport = Callable[[int, dict[str, Any]], None]
WEIGHTS = "weights"  # the finished model, below a run's folder
WINDOW = 20  # steps that one journal line averages


@dataclass(frozen=True)
class Task:
    """One training: its settings, the shards it learns from, the folder it fills, the model it starts from."""

    config: Config
    stage: StageName
    dataset: Path
    out: Path
    start_from: Path | None = None
    split: str = "lab-train"

    def __post_init__(self) -> None:
        if self.stage not in ("stage1", "stage2"):
            raise UserError(f"stage '{self.stage}': expected stage1 or stage2")
        if self.stage == "stage2" and self.start_from is None:
            raise UserError("stage2 starts from a stage-1 checkpoint; give its folder")

    @property
    def settings(self) -> StageConfig:
        """The stage's section of the configuration."""
        return self.config.stage1 if self.stage == "stage1" else self.config.stage2

    @property
    def freeze_trunk(self) -> bool:
        """Whether only the head trains."""
        return self.stage == "stage2" and self.config.model.freeze_trunk

    @property
    def weights(self) -> Path:
        """Where the finished model goes."""
        return self.out / WEIGHTS


def recipe_of(task: Task, source: Source) -> dict[str, Any]:
    """Return all that decides the result as plain JSON values.

    Shards, body and starting model count by content, not by path; workers, devices and folders do
    not count. Raises UserError if cached features are not those of the starting model, or would
    train more than a head.
    """
    config = task.config
    start = None if task.start_from is None else checkpoints.identity(task.start_from)
    if source.made_by is not None and not task.freeze_trunk:
        raise UserError(
            f"{task.dataset}: holds features, which train only the head of stage2 with "
            "model.freeze_trunk = true; give the images' dataset"
        )
    if source.made_by not in (None, start):
        raise UserError(
            f"{task.dataset}: its features were made by another checkpoint than {task.start_from}; "
            "cache them again"
        )
    return {
        "stage": task.stage,
        "data": source.fingerprint,
        "split": task.split,
        "body": load_body(config.body.path).sha256,
        "start_from": start,
        "model": config.model.model_dump(mode="json"),
        "loss": config.loss.model_dump(mode="json"),
        task.stage: task.settings.model_dump(mode="json"),
    }


def build_state(task: Task) -> TrainingState:
    """Make the network and its optimiser at step 0, the same in every worker.

    Raises UserError if the starting checkpoint is another network than the configuration's.
    """
    torch.manual_seed(task.settings.seed)
    wanted = regressor_spec(task.config.model, 1)
    model = Regressor(wanted) if task.start_from is None else checkpoints.load_regressor(task.start_from)
    check_spec(model.spec, wanted, task.start_from)
    if task.stage == "stage2":
        model = build_stage2(model, task.config)
    return TrainingState(model, make_optimizer(model, task.settings, task.freeze_trunk))


def check_spec(found: RegressorSpec, wanted: RegressorSpec, where: Path | None) -> None:
    """Refuse a checkpoint of another network. Raises UserError naming the first field that differs."""
    for name, value in wanted.to_json().items():
        has = getattr(found, name)
        if has != value:
            raise UserError(f"{where}: its network has {name} = {has}, the configuration asks for {value}")


def objective_of(task: Task) -> Objective:
    """Make eq. 8 with the task's body and weights."""
    return build_objective(load_body(task.config.body.path), task.config.loss)


def save_state(folder: Path, state: TrainingState, recipe: Mapping[str, Any]) -> None:
    """Write a resumable checkpoint: model/ and optimizer/, each safetensors with its meta."""
    optimizer = optimizer_tensors(state.optimizer)
    checkpoints.save_module(folder / "model", state.model.state_dict(), meta_of(state, recipe))
    checkpoints.save_module(folder / "optimizer", optimizer, {"step": state.step})


def load_state(folder: Path, state: TrainingState) -> None:
    """Put a checkpoint of `save_state` into a freshly built state.

    Raises UserError if a file is damaged or belongs to another network.
    """
    tensors, meta = checkpoints.load_module(folder / "model")
    moments, _ = checkpoints.load_module(folder / "optimizer")
    checkpoints.load_into(state.model, tensors, folder / "model")
    restore_optimizer(state.optimizer, moments)
    state.step = int(meta["step"])


def is_whole(folder: Path) -> bool:
    """Tell whether a checkpoint of `save_state` is complete and undamaged."""
    try:
        return all(checkpoints.load_module(folder / part) is not None for part in ("model", "optimizer"))
    except UserError:
        return False


def meta_of(state: TrainingState, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint says of itself."""
    spec = state.model.spec
    assert isinstance(spec, RegressorSpec)
    stage = recipe["stage"]
    return {
        "kind": "regressor",
        "spec": spec.to_json(),
        "stage": stage,
        "step": state.step,
        "seed": recipe[stage]["seed"],
        "data": recipe["data"],
        "recipe": dict(recipe),
        "fingerprint": fingerprint(dict(recipe)),
    }


def conclude(task: Task, folder: Path) -> None:
    """Copy the last checkpoint's model to the run's weights and say that the run is finished."""
    state, meta = checkpoints.load_module(folder / "model")
    checkpoints.save_module(task.weights, state, meta)
    runs.finish(task.out, step=meta["step"], fingerprint=meta["fingerprint"])


@contextmanager
def shown(task: Task, on_report: OnReport | None) -> Iterator[OnReport]:
    """Show a training's progress, rate and loss; give the function that is to get its reports."""
    started, before = time.monotonic(), 0
    with Progress(task.settings.steps, task.stage, unit="steps") as bar:

        def report(step: int, metrics: dict[str, Any]) -> None:
            rate = (step - before) / (time.monotonic() - started)
            bar.advance(step - bar.done, f"{rate:.1f} steps/s, loss {metrics['total']:.2f}")
            if on_report is not None:
                on_report(step, metrics)

        yield report


class Recorder:
    """Averages each window of steps and writes it to the journal.

    A window ends every `WINDOW` steps, at each checkpoint and at the last step, so that a resumed run writes what
    an undisturbed one would. `reduce` averages over workers.
    """

    def __init__(
        self,
        settings: StageConfig,
        journal: Journal | None,
        reduce: Callable[[dict[str, float]], dict[str, float]] = dict,
        on_report: OnReport | None = None,
    ) -> None:
        self.settings, self.journal, self.reduce, self.on_report = settings, journal, reduce, on_report
        self.last: dict[str, float] = {}
        self._sums: dict[str, float] = {}
        self._count = 0

    def __call__(self, step: int, metrics: dict[str, float]) -> None:
        """Take one step's means; write a line where a window ends."""
        self._count += 1
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if self._ends(step):
            self.last = self.reduce({name: total / self._count for name, total in self._sums.items()})
            self._sums, self._count = {}, 0
            if self.journal is not None:
                self.journal.write(step, self.last)
            if self.on_report is not None:
                self.on_report(step, self.last)

    def _ends(self, step: int) -> bool:
        settings = self.settings
        return step % WINDOW == 0 or step % settings.checkpoint_every == 0 or step == settings.steps
