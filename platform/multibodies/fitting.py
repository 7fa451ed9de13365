"""What a training is, apart from where it runs: its task, recipe, start and result. No Ray.

`cluster/trainer.py` (Ray Train) and `local.py` (one device) run `training.train` between these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from multibodies import checkpoints, runs, states
from multibodies.augmenting import augmented, ranges_of
from multibodies.bodies.loading import load_body
from multibodies.config import Config, LossConfig, StageConfig, fingerprint
from multibodies.core.expansion import AT_ONE
from multibodies.core.objective import Loss
from multibodies.core.regressor import Regressor, RegressorSpec
from multibodies.data.mix import MIX_TRAIN
from multibodies.data.training_rows import Source, open_source
from multibodies.errors import UserError
from multibodies.files import sha256
from multibodies.imports.mean_params import read_mean_params
from multibodies.systems import System, system_of
from multibodies.training import (
    Batches,
    Memory,
    TrainingState,
    build_objective,
    make_optimizer,
    regressor_spec,
)

StageName = Literal["stage1", "stage2"]
WEIGHTS = "weights"


@dataclass(frozen=True)
class Task:
    """One training: settings, the dataset it learns from (None: fresh images, rendered as it
    trains), the folder it fills, the stage-1 checkpoint it starts from.
    """

    config: Config
    stage: StageName
    dataset: Path | None
    out: Path
    start_from: Path | None = None
    split: str = "lab-train"

    def __post_init__(self) -> None:
        if self.stage not in ("stage1", "stage2"):
            raise UserError(f"stage '{self.stage}': expected stage1 or stage2")
        if self.stage == "stage2" and self.start_from is None:
            raise UserError("stage2 starts from a stage-1 checkpoint; give its folder")
        if self.dataset is None and (self.stage == "stage2" or not self.config.fresh):
            raise UserError(
                f"{self.stage}: no dataset; give one, or train stage1 on embedded images with "
                "stage1.fresh_rows > 0"
            )

    @property
    def settings(self) -> StageConfig:
        """The stage's section of the configuration."""
        return self.config.stage1 if self.stage == "stage1" else self.config.stage2

    @property
    def system(self) -> System:
        """Whose network and loss: in stage 1 the plain regressor's."""
        return system_of(self.config.system.name if self.stage == "stage2" else "ours")

    @property
    def trains(self) -> str:
        """Which layers train: in stage 1 all."""
        return self.config.model.trains if self.stage == "stage2" else "all"

    @property
    def weights(self) -> Path:
        """Where the finished model goes."""
        return self.out / WEIGHTS


def open_rows(task: Task) -> Source:
    """Describe the rows that a task learns from. Raises UserError as `open_source`."""
    if task.dataset is not None:
        moves = ranges_of(task.config.augment).moves
        source = open_source(task.dataset, task.split, task.config.mix, whole=moves)
        return replace(source, keyed=task.system.keyed)
    from multibodies.data.fresh import fresh_source  # the renderer is slow to import

    return fresh_source(task.config)


def recipe_of(task: Task, source: Source) -> dict[str, Any]:
    """Return all that decides the result as plain JSON values.

    Shards, body and starting model count by content, not by path; workers, devices and folders do
    not count, nor an augmentation that changes nothing or the mix of a single split. Raises
    UserError if cached features are not those of the starting model, would train more than a head,
    or were to be augmented.
    """
    config = task.config
    start = None if task.start_from is None else checkpoints.identity(task.start_from)
    check_features(task, source, start)
    return {
        "stage": task.stage,
        "data": source.fingerprint,
        "split": task.split,
        "body": load_body(config.body.path).sha256,
        "start_from": start,
        "model": config.model.model_dump(mode="json") | {"mean_params": mean_params_of(task)},
        "loss": loss_of(task).model_dump(mode="json"),
        task.stage: task.settings.model_dump(mode="json"),
        **(of_system(task) if task.stage == "stage2" else {}),
        **({"augment": config.augment.model_dump(mode="json")} if augments(task) else {}),
        **({"mix": config.mix.model_dump(mode="json")} if task.split == MIX_TRAIN else {}),
    }


def of_system(task: Task) -> dict[str, Any]:
    """Return what the recipe says of another system than ours. Raises UserError as it does."""
    told: dict[str, Any] = task.config.of_system
    extra = task.system.recipe(task.config)
    return {**told, "system": {**told["system"], **extra}} if told else {}


def augments(task: Task) -> bool:
    """Whether the task changes what it reads."""
    return ranges_of(task.config.augment).active


def augmented_for(
    task: Task, source: Source, batches: Batches, rank: int = 0, world: int = 1
) -> Batches:
    """Return a worker's batches as the task augments them."""
    ranges = ranges_of(task.config.augment)
    return augmented(batches, ranges, source.image_size, task.settings.seed, rank, world)


def check_features(task: Task, source: Source, start: str | None) -> None:
    """Refuse features that the task cannot learn from. Raises UserError."""
    if source.made_by is None:
        return
    if task.stage == "stage1" or not task.config.model.caches_features:
        raise UserError(
            f"{task.dataset}: holds features, which train only the head (stage2 with "
            "model.trains = 'head' or 'widened' and model.head = 'stacked'); give the dataset of "
            "images"
        )
    if augments(task):
        raise UserError(
            f"{task.dataset}: holds features, made once of each image, and augment asks for new "
            "images; give the dataset of images, or set augment's flip, rotation_deg, scale and "
            "noise to 0"
        )
    if source.made_by != start:
        raise UserError(
            f"{task.dataset}: its features were made by another checkpoint than {task.start_from}; "
            "cache them again"
        )


def build_state(task: Task) -> TrainingState:
    """Make the network and its optimiser at step 0, the same in every worker.

    Raises UserError if the starting checkpoint is of another network than the configuration's, or
    `model.mean_params` cannot be read or is not the checkpoint's.
    """
    torch.manual_seed(task.settings.seed)
    wanted = regressor_spec(task.config.model, 1)
    model = Regressor(wanted)
    if task.start_from is not None:
        model = checkpoints.load_regressor(task.start_from)
        check_spec(model.spec, wanted, task.start_from)
    start_at(model, task)
    if task.stage == "stage2":
        model = task.system.start(model, task.config, load_body(task.config.body.path))
    optimizer = make_optimizer(model, task.settings, task.trains)
    memory = task.system.memory(task.config)
    return TrainingState(model, optimizer, memory=memory)


def start_at(model: Regressor, task: Task) -> None:
    """Let a new network's regression start at the configured mean parameters.

    A checkpoint brings its own start, with which it was trained. Raises UserError if that is not
    the configured one.
    """
    path = task.config.model.mean_params
    if path is None:
        return
    start = read_mean_params(path)
    if task.start_from is None:
        model.head.init_state.copy_(start)
    elif not torch.allclose(model.head.init_state, start):
        raise UserError(
            f"{task.start_from}: started from other mean parameters than model.mean_params, {path};"
            " train stage 1 with them, or leave the setting out"
        )


def mean_params_of(task: Task) -> str | None:
    """Return the checksum of the mean parameters, None for ours. Raises UserError."""
    path = task.config.model.mean_params
    if path is None:
        return None
    read_mean_params(path)  # refuses by name what is no such file
    return sha256(path)


def steps_per_epoch(task: Task, source: Source) -> int:
    """Return the steps in which every row is seen once; of fresh images, every row of a chunk."""
    return max(1, source.rows // task.settings.batch_size)


def check_spec(found: RegressorSpec, wanted: RegressorSpec, where: Path) -> None:
    """Refuse a checkpoint of another network. Raises UserError naming the first difference.

    With one hypothesis every head, feedback and rank is the same network.
    """
    same = AT_ONE if found.num_hypotheses == wanted.num_hypotheses == 1 else {}
    for name, value in wanted.to_json().items():
        has = getattr(found, name)
        if has != value and name not in same:
            raise UserError(
                f"{where}: a network with {name} = {has}; the configuration asks for {value}"
            )


def objective_of(task: Task, memory: Memory | None = None) -> Loss:
    """Make the loss of the task's system with its body and weights: ours is eq. 8."""
    arrays = load_body(task.config.body.path)
    if task.stage == "stage1":
        return build_objective(arrays, loss_of(task))
    return task.system.objective(task.config, arrays, memory)


def forward_of(task: Task, model: Regressor) -> nn.Module:
    """Make what maps a batch to hypotheses while the task trains."""
    return task.system.forward(model, task.config, load_body(task.config.body.path))


def loss_of(task: Task) -> LossConfig:
    """Return the weights of eq. 8 in the task's stage."""
    loss = task.config.loss
    return loss.for_stage1() if task.stage == "stage1" else loss


def meta_of(state: TrainingState, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint says of itself: network, step, seed, recipe, fingerprints."""
    stage = recipe["stage"]
    return {
        "spec": state.model.spec.to_json(),
        "stage": stage,
        "step": state.step,
        "seed": recipe[stage]["seed"],
        "data": recipe["data"],
        "fingerprint": fingerprint(dict(recipe)),
        "recipe": dict(recipe),
    }


def save(folder: Path, state: TrainingState, recipe: Mapping[str, Any]) -> None:
    """Write a checkpoint. Raises UserError when the disk refuses."""
    meta = meta_of(state, recipe)
    states.save_state(folder, state.model, state.optimizer, meta, state.memory)


def load(folder: Path, state: TrainingState) -> None:
    """Put a checkpoint into a freshly built state. Raises UserError as `states.load_state`."""
    state.step = states.load_state(folder, state.model, state.optimizer, state.memory)


def conclude(task: Task, folder: Path) -> None:
    """Copy the last checkpoint's model to the run's weights and say that the run is finished."""
    state, meta = checkpoints.load_module(folder / states.MODEL)
    meta["image_size"] = task.config.data.image_size  # what the network expects of a photograph
    checkpoints.save_module(task.weights, state, meta)
    runs.finish(task.out, step=meta["step"], fingerprint=meta["fingerprint"])
