"""Fitting the skeleton prior under Ray Train (eq. 4), on the bodies of a prepared dataset."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import ray.data
import ray.train
import torch
from ray.train.torch import get_device
from torch import nn

from multibodies import priors, runs
from multibodies.bodies.loading import load_body
from multibodies.cluster import batches, groups
from multibodies.cluster.groups import Execution, Run
from multibodies.config import Config
from multibodies.core.prior_fit import Worker, fit_step, start_fit
from multibodies.data.training_rows import open_source
from multibodies.priors import CHECKPOINT_EVERY, PriorTask
from multibodies.recorder import shown


def fit_prior(
    config: Config,
    dataset: str | Path,
    out: str | Path,
    *,
    workers: int = 1,
    name: str = "prior",
    progress: bool = True,
    execution: Execution | None = None,
) -> Path:
    """Fit the prior to splits.train, judge it on splits.val; return the folder of its weights.

    Rows without has_smpl are left out. The meta of the weights tells val_nll, gaussian_val_nll and
    `passed`, the gate, and `calibration`. A finished fit is not repeated. Raises UserError before
    any fitting: a damaged shard, too few bodies, a folder made with another recipe.
    """
    folder = Path(dataset).resolve()
    splits = config.splits
    train, val = (open_source(folder, name, config.mix) for name in (splits.train, splits.val))
    task = PriorTask(config, train, val, Path(out).resolve())
    with runs.alone(task.out):
        runs.claim(task.out, task.recipe())
        if runs.finished(task.out) is None:
            for source in (train, val):
                priors.check_bodies(source)
            bar = shown(config.prior.steps, name, None) if progress else nullcontext()
            with bar as report, runs.follow(task.out / runs.JOURNAL, report):
                this = Run(name, task.out, config.prior.steps)
                read, how = partial(read_bodies, task), execution or Execution(workers)
                checkpoint = groups.run_group(this, work, {"task": task}, read, how)
            with checkpoint.as_directory() as last:
                priors.conclude(task, Path(last))
            groups.discard(task.out)
    return task.weights


def read_bodies(task: PriorTask) -> dict[str, ray.data.Dataset]:
    """Return the bodies of both splits as Ray datasets."""
    sources = {"train": task.train, "val": task.val}
    return {
        name: batches.read_shards(source.paths, priors.COLUMNS) for name, source in sources.items()
    }


def work(settings: dict[str, Any]) -> None:
    """Fit in one worker, from the last registered checkpoint if there is one."""
    task: PriorTask = settings["task"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(settings["threads"])
    device, arrays, schedule = get_device(), load_body(task.config.body.path), task.schedule
    sources = {"train": task.train, "val": task.val}
    rows = {
        name: batches.collect(ray.train.get_dataset_shard(name), source)
        for name, source in sources.items()
    }
    frame = task.spec.frame
    train, val = (priors.skeletons_of(part, arrays, frame).to(device) for part in rows.values())
    state = start_fit(train, task.spec, schedule)
    with groups.resumed_from(settings["fallback"]) as folder:
        if folder is not None:
            priors.load(folder, state)
    worker = Worker(rank, world, average_gradients if world > 1 else None)
    saves = schedule.steps, CHECKPOINT_EVERY
    with groups.recording(task.out, state.step, *saves, device) as recorder:
        while state.step < schedule.steps:
            nll = fit_step(state, train, schedule, worker)
            recorder(state.step, {"total": nll})
            if recorder.saves_at(state.step):
                report = {}
                if state.step == schedule.steps:
                    wrong = priors.corrupted(rows["val"], arrays, frame)
                    report = priors.verdict(state.model, train, val, wrong)
                save = partial(priors.save, state=state, recipe=task.recipe(), report=report)
                groups.report(state.step, recorder.last, save)


def average_gradients(model: nn.Module) -> None:
    """Replace every gradient by its mean over the workers."""
    for parameter in model.parameters():
        if parameter.grad is not None:
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= torch.distributed.get_world_size()
