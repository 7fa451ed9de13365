"""What fitting a prior is, apart from where it runs: skeletons, recipe, checkpoints, gate. No Ray.

Shapes: N skeleton, K = 24 joints. Metres; negative log-likelihoods in nats a skeleton.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import Tensor

from multibodies import checkpoints, runs, states
from multibodies.bodies.loading import load_body
from multibodies.config import Config, fingerprint
from multibodies.core.body import BodyArrays, JointBody
from multibodies.core.calibration import LEFT_ARM, calibration, jitter, random_turns, swap_limb
from multibodies.core.prior import PriorSpec, SkeletonPrior, prior_skeletons
from multibodies.core.prior_fit import PriorState, Schedule, judge
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.data.training_rows import Source
from multibodies.errors import UserError
from multibodies.fitting import WEIGHTS

COLUMNS = ("image_id", "theta", "beta", "has_smpl")
LAB = "lab"  # the set of embedded images, of which the prior sees nothing else
CHECKPOINT_EVERY = 500  # steps
CHUNK = 4096  # bodies posed at once
JITTER = 0.05  # metres, of the corruption `noise_50mm`
BEND = math.radians(20)  # of the corruption `bent_20deg`


@dataclass(frozen=True)
class PriorTask:
    """One fit: settings, the verified skeletons to fit and to judge by, the folder it fills."""

    config: Config
    train: Source
    val: Source
    out: Path

    @property
    def spec(self) -> PriorSpec:
        """The prior's recipe, in metres."""
        prior = self.config.prior
        return PriorSpec(
            prior.couplings,
            prior.hidden,
            prior.noise_mm / 1000,
            prior.std_floor_mm / 1000,
            architecture=prior.architecture,
            dropout=prior.dropout,
            frame=prior.frame,
        )

    @property
    def schedule(self) -> Schedule:
        """How it is fitted."""
        prior = self.config.prior
        return Schedule(prior.steps, prior.batch_size, prior.learning_rate, prior.seed)

    @property
    def weights(self) -> Path:
        """Where the finished prior goes."""
        return self.out / WEIGHTS

    def recipe(self) -> dict[str, Any]:
        """Return all that decides the result as plain JSON values."""
        return {
            "stage": "prior",
            "data": {"train": self.train.fingerprint, "val": self.val.fingerprint},
            "body": load_body(self.config.body.path).sha256,
            "prior": self.config.prior.model_dump(mode="json"),
        }


def check_bodies(source: Source) -> None:
    """Refuse a split with fewer than two known bodies. Raises UserError naming its folder."""
    known = [pq.ParquetFile(path).read(columns=["has_smpl"])["has_smpl"] for path in source.paths]
    count = sum(column.to_pylist().count(True) for column in known)
    if count < 2:
        where = source.paths[0].parent
        raise UserError(f"{where}: {count} rows with has_smpl; a prior needs bodies to learn from")


def skeletons_of(rows: Mapping[str, Tensor], arrays: BodyArrays, frame: str = "body") -> Tensor:
    """Pose the rows that have_smpl into j24 in a prior's frame, centred: [N, 24, 3] metres."""
    return _pose(*_bodies_of(rows), arrays, frame)


def corrupted(
    rows: Mapping[str, Tensor], arrays: BodyArrays, frame: str, seed: int = 0
) -> dict[str, Tensor]:
    """Return the skeletons of rows with one corruption each: name -> [N, 24, 3] metres.

    noise_50mm: N(0, (50 mm)^2) on every coordinate; other_left_arm: the left arm of another body;
    bent_20deg: every joint but the root turned about a random axis by N(0, (20 deg)^2).
    """
    generator = torch.Generator().manual_seed(seed)
    rotations, beta = _bodies_of(rows)
    true = _pose(rotations, beta, arrays, frame)
    turns = random_turns((len(true), rotations.shape[1] - 1), BEND, generator)
    bent = torch.cat([rotations[:, :1], rotations[:, 1:] @ axis_angle_to_matrix(turns)], dim=1)
    return {
        "noise_50mm": jitter(true, JITTER, generator),
        "other_left_arm": swap_limb(true, LEFT_ARM, generator),
        "bent_20deg": _pose(bent, beta, arrays, frame),
    }


def verdict(
    model: SkeletonPrior, train: Tensor, val: Tensor, wrong: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Return what `judge` says of a fitted prior, and its `calibration` by corruption of val."""
    report = judge(model, train, val)
    found = {
        name: calibration(model.log_prob, val, skeletons.to(val.device))
        for name, skeletons in wrong.items()
    }
    return {**report, "calibration": found}


def save(
    folder: Path, state: PriorState, recipe: Mapping[str, Any], report: Mapping[str, Any]
) -> None:
    """Write a checkpoint; `report` is the `verdict` at the end, and empty before."""
    meta = {
        "spec": state.model.spec.to_json(),
        "step": state.step,
        "seed": recipe["prior"]["seed"],
        "fingerprint": fingerprint(dict(recipe)),
        "recipe": dict(recipe),
        **report,
    }
    states.save_state(folder, state.model, state.optimizer, meta)


def load(folder: Path, state: PriorState) -> None:
    """Put a checkpoint into a freshly started fit. Raises UserError as `states.load_state`."""
    state.step = states.load_state(folder, state.model, state.optimizer)


def conclude(task: PriorTask, folder: Path) -> None:
    """Copy the last checkpoint's prior to the run's weights; say how it fared at the gate."""
    state, meta = checkpoints.load_module(folder / states.MODEL)
    checkpoints.save_module(task.weights, state, meta)
    runs.finish(task.out, step=meta["step"], fingerprint=meta["fingerprint"])
    if not meta["passed"]:
        print(
            f"prior: held-out NLL {meta['val_nll']:.1f}, not below the full-covariance Gaussian's "
            f"{meta['gaussian_val_nll']:.1f}; fit it longer (prior.steps)",
            file=sys.stderr,
        )


def _bodies_of(rows: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return rotations [N, 24, 3, 3] and beta [N, 10] of the rows that have_smpl."""
    known = rows["has_smpl"]
    return axis_angle_to_matrix(rows["theta"][known]), rows["beta"][known]


def _pose(rotations: Tensor, beta: Tensor, arrays: BodyArrays, frame: str) -> Tensor:
    body = JointBody(arrays, ("j24",))
    parts = [
        prior_skeletons(body, rotations[i : i + CHUNK], beta[i : i + CHUNK], frame)
        for i in range(0, len(beta), CHUNK)
    ]
    return torch.cat(parts)
