"""Eight embedded images, as the shipped stage 1 sees them, for systems to learn by heart."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multibodies import fitting
from multibodies.bodies.loading import load_body
from multibodies.caching import features_of
from multibodies.checkpoints import load_regressor
from multibodies.config import Config, load_config
from multibodies.core.body import JointBody
from multibodies.core.regressor import Hypotheses, Regressor
from multibodies.data.embedded import embedded_rows
from multibodies.data.training_rows import LABELS
from multibodies.inference import j14
from multibodies.systems import system_of
from multibodies.training import Batch, TrainingState, epoch_batches, make_optimizer, train

SHIPPED = Path(fitting.__file__).parent / "assets" / "stage1"
SETTINGS: dict[str, Any] = {
    "loss.vertices_sampled": 64,
    "stage2.num_hypotheses": 4,
    "stage2.batch_size": 8,
    "stage2.learning_rate": 2e-3,
    "stage2.warmup_steps": 10,
    "evaluation.n": [1],
}


def by_heart(changes: dict[str, Any]) -> Config:
    """Return the embedded profile for a training on eight images with M = 4."""
    return load_config("embedded", {**SETTINGS, **changes})


@lru_cache(maxsize=1)
def eight_images() -> tuple[Batch, Tensor]:
    """Return cached features beside labels, and the 14 evaluation joints [8, 14, 3], metres."""
    rows = embedded_rows("lab-train", 0, 8, load_config("embedded").data, load_body(None))
    batch = {name: torch.as_tensor(rows[name]) for name in LABELS}
    batch["features"] = torch.from_numpy(features_of(load_regressor(SHIPPED), rows["image"]))
    return batch, j14(torch.as_tensor(rows["h36m17"]))


def learnt(config: Config) -> Regressor:
    """Train the configuration's system on the eight images without dropout; return its network."""
    system, body, (batch, _) = system_of(config.system.name), load_body(None), eight_images()
    torch.manual_seed(0)
    model = system.start(load_regressor(SHIPPED), config, body)
    model.head.drop.p = 0.0
    train(
        TrainingState(model, make_optimizer(model, config.stage2, "head")),
        system.forward(model, config, body),
        system.objective(config, body, None),
        epoch_batches(batch, 8, 0),
        config.stage2,
        lambda step, means: None,
        lambda state: None,
    )
    return model.eval()


@torch.no_grad()
def errors_mm(hypotheses: Hypotheses) -> Tensor:
    """Return the pelvis-centred MPJPE [8, M] of hypotheses of the eight images."""
    body = JointBody(load_body(None), ("h36m17",))
    posed = body(hypotheses.rotations.flatten(0, 1), hypotheses.beta.flatten(0, 1))["h36m17"]
    joints = j14(posed).unflatten(0, hypotheses.beta.shape[:2])
    return 1000 * (joints - eight_images()[1][:, None]).norm(dim=-1).mean(-1)
