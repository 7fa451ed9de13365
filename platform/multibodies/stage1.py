"""A long stage 1 on fresh images: the converged one-hypothesis HMR that stage 2 starts from
(appendix D).

Runs on one device without Ray; killed and started again it goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multibodies.checkpoints import load_into, load_module, save_module
from multibodies.config import Config, fingerprint
from multibodies.core.body import BodyArrays, JointBody, load_body
from multibodies.core.joints import H36M_TO_J14
from multibodies.core.metrics import mpjpe
from multibodies.core.regressor import Regressor
from multibodies.data.embedded import embedded_rows
from multibodies.data.fresh import fresh_batches
from multibodies.errors import UserError
from multibodies.progress import Progress
from multibodies.training import (
    Forward,
    TrainingState,
    build_objective,
    make_optimizer,
    optimizer_tensors,
    regressor_spec,
    restore_optimizer,
    train,
)


def stage1_recipe(config: Config) -> dict[str, Any]:
    """Return what bears on the weights of a stage 1 made by this module, as JSON values."""
    data = config.data.model_dump(
        exclude={"train_rows", "val_rows", "test_rows", "rows_per_shard", "source"}
    )
    model = config.model.model_dump(exclude={"freeze_trunk"})
    loss = config.loss.model_dump(exclude={"ri", "ri_reduction"})  # with M = 1, eq. 5 repeats L_rb
    return {
        "data": data,
        "model": model,
        "loss": loss,
        "stage1": config.stage1.model_dump(),
        "body": config.body.path,
    }


def train_stage1(
    config: Config, out: Path, command: str, threads: int = 1, val_rows: int = 512
) -> dict[str, Any]:
    """Train from scratch (or from `out`'s checkpoint) and write the weights with how they were
    made.

    Returns the meta of the finished checkpoint, with MPJPE (mm) on `lab-val`.
    Raises UserError where `out` holds a training of another recipe.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(config.stage1.seed)
    arrays = load_body(config.body.path)
    loss = config.loss.model_copy(update={"ri": 0.0})
    model = Regressor(regressor_spec(config.model, 1))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = TrainingState(model, make_optimizer(model, config.stage1, freeze_trunk=False))
    seconds = _resume(state, out / "resume", fingerprint(stage1_recipe(config)))
    meter = _Meter(config, out, state.step, seconds)
    save = partial(_save, out / "resume", meter, fingerprint(stage1_recipe(config)))
    fresh = config.data.model_copy(update={"seed": config.data.seed + 1 + config.stage1.seed})
    batches = partial(
        fresh_batches,
        fresh,
        config.stage1.batch_size,
        config.stage1.seed,
        body_path=config.body.path,
    )
    train(state, Forward(model), build_objective(arrays, loss), batches, config.stage1, meter, save)
    model.load_state_dict(rounded(model.state_dict()))
    error = validation_error(model, arrays, config, val_rows)
    meta = {
        "spec": model.spec.to_json(),
        "recipe": stage1_recipe(config),
        "command": command,
        "seed": config.stage1.seed,
        "steps": state.step,
        "images_seen": state.step * config.stage1.batch_size,
        "seconds": round(meter.seconds()),
        "threads": threads,
        "lab_val_mpjpe_mm": round(error, 2),
        "trained_on": "synthetic images only",
    }
    save_module(out / "weights", rounded(model.state_dict()), meta)
    return meta


def rounded(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a state dict with its matrices and kernels in half precision, to be shipped small."""
    return {k: v.half() if v.is_floating_point() and v.ndim > 1 else v for k, v in state.items()}


@torch.no_grad()
def validation_error(model: Regressor, arrays: BodyArrays, config: Config, rows: int) -> float:
    """Return MPJPE in mm over the first `rows` of `lab-val`, 14 joints, pelvis-centred."""
    made = embedded_rows("lab-val", 0, rows, config.data, arrays)
    body, errors = JointBody(arrays, ("h36m17",)), []
    model.eval()
    for start in range(0, rows, 128):
        images = (
            torch.from_numpy(np.asarray(made["image"][start : start + 128]))
            .permute(0, 3, 1, 2)
            .float()
            / 255
        )
        predicted = model(images)
        joints = body(predicted.rotations[:, 0], predicted.beta[:, 0])["h36m17"]
        truth = torch.from_numpy(np.asarray(made["h36m17"][start : start + 128]))
        errors.append(mpjpe(_evaluated(joints), _evaluated(truth)))
    return float(torch.cat(errors).mean()) * 1000


def _evaluated(joints: torch.Tensor) -> torch.Tensor:
    return (joints - joints[:, :1])[:, list(H36M_TO_J14)]


class _Meter:
    """Writes one line of means per 50 steps to train.jsonl and shows the progress."""

    def __init__(self, config: Config, out: Path, step: int, seconds: float) -> None:
        self.path, self.every, self.before = out / "train.jsonl", 50, seconds
        self.started, self.sums, self.count = time.monotonic(), {}, 0
        out.mkdir(parents=True, exist_ok=True)
        self.bar = Progress(config.stage1.steps, "stage 1", unit="step", interval=30)
        self.bar.advance(step)

    sums: dict[str, float]

    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    def __call__(self, step: int, means: dict[str, float]) -> None:
        for name, value in means.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        self.bar.advance(1, f"loss {means['total']:.2f}")
        if step % self.every == 0:
            line = {"step": step, "seconds": round(self.seconds(), 1)}
            line |= {k: round(v / self.count, 5) for k, v in self.sums.items()}
            self.sums, self.count = {}, 0
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")


def _save(folder: Path, meter: _Meter, recipe: str, state: TrainingState) -> None:
    tensors = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    tensors |= {f"optimizer.{k}": v for k, v in optimizer_tensors(state.optimizer).items()}
    save_module(folder, tensors, {"step": state.step, "recipe": recipe, "seconds": meter.seconds()})


def _resume(state: TrainingState, folder: Path, recipe: str) -> float:
    if not folder.is_dir():
        return 0.0
    tensors, meta = load_module(folder)
    if meta["recipe"] != recipe:
        raise UserError(
            f"{folder}: holds a stage 1 of another recipe; give another folder or delete this one"
        )
    load_into(state.model, {k[6:]: v for k, v in tensors.items() if k.startswith("model.")}, folder)
    restore_optimizer(
        state.optimizer, {k[10:]: v for k, v in tensors.items() if k.startswith("optimizer.")}
    )
    state.step = int(meta["step"])
    return float(meta["seconds"])
