"""How long a training of the embedded profile waits for data: cached features, then images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from multibodies.bench import samples
from multibodies.bench.harness import Row, Setting, absent, alternate, faster
from multibodies.bench.step import labels
from multibodies.core.body import load_body
from multibodies.core.regressor import Regressor

if TYPE_CHECKING:
    from multibodies.config import Config

TARGET = 19  # 5 % of a step is waiting: 19 times as much is computing
SIDE, ROWS = 64, 4096


def measure(setting: Setting) -> Iterator[Row]:
    """Yield a row for cached features (stage 2) and one for images."""
    try:
        from multibodies.config import load_config
    except ImportError as error:
        why = f"{error.name} is not installed"
        yield from (absent(_title(kind), TARGET, why) for kind in ("features", "images"))
        return
    tiny = {"stage2.num_hypotheses": 3, "model.width": 8, "evaluation.n": [1]}
    changes = tiny if setting.quick else {}
    config = load_config("embedded", changes)
    for kind in ("features", "images"):
        yield _row(config, kind, setting)


def _row(config: Config, kind: str, setting: Setting) -> Row:
    """Time training steps and next(batches) over rows held in memory, as `--local` does."""
    from multibodies import training

    stage = config.stage2
    torch.manual_seed(0)
    model = Regressor(training.regressor_spec(config.model, stage.num_hypotheses))
    model = model.to(setting.device).train()
    objective = training.build_objective(load_body(), config.loss).to(setting.device)
    optimizer = training.make_optimizer(model, stage, "head" if kind == "features" else "all")
    with torch.no_grad():
        blank = torch.zeros(2, 3, SIDE, SIDE, device=setting.device)
        features = model.pooled(blank).features.shape[1]
    rows = _rows(kind, features, setting)
    batches = training.epoch_batches(rows, stage.batch_size, 0)(0)
    batch, forward = next(batches), training.Forward(model)
    times = alternate(
        f"waiting, {kind}",
        {
            "step": lambda: training.train_step(forward, objective, optimizer, batch, 1e-5),
            "next": lambda: next(batches),
        },
        setting,
    )
    return faster(_title(kind), times["step"], times["next"], TARGET)


def _rows(kind: str, features: int, setting: Setting) -> dict[str, Tensor]:
    count = 64 if setting.quick else ROWS
    known = labels(count, setting.device)
    draw = samples.generator(4)
    pixels = (count, SIDE, SIDE, 3)
    columns = {
        "keypoints_2d": known.keypoints,
        "joints_3d": known.joints,
        "theta": known.theta,
        "beta": known.beta,
        "has_3d": known.has_3d.bool(),
        "has_smpl": known.has_smpl.bool(),
    }
    if kind == "features":
        columns["features"] = torch.randn(count, features, generator=draw).half()
    else:
        columns["image"] = torch.randint(0, 256, pixels, generator=draw, dtype=torch.uint8)
    return {name: column.to(setting.device) for name, column in columns.items()}


def _title(kind: str) -> str:
    return f"training on {kind} in memory: computing / waiting"
