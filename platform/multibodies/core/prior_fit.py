"""Fitting the prior (eq. 4) and judging it: pure torch, any device, any number of workers.

Legend: N skeleton, K joint, B batch. Metres; negative log-likelihoods (NLL) in nats a skeleton.
What step t draws depends only on (seed, t): a resumed fit, and one shared between workers, sees the
batches that an undisturbed one would. Dropout depends on the worker besides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from multibodies.core.gaussian import GaussianPrior
from multibodies.core.prior import PriorSpec, SkeletonPrior

WARMUP = 100
GRADIENT_NORM = 10.0
CHUNK = 4096  # skeletons whose densities are evaluated at once


@dataclass(frozen=True)
class Schedule:
    """How a prior is fitted: Adam, linear warm-up over 100 steps, then a cosine to zero."""

    steps: int
    batch: int
    lr: float
    seed: int = 0

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        decay = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.lr * decay * min(1.0, (step + 1) / WARMUP)


@dataclass
class PriorState:
    """All that a killed fit needs to go on."""

    model: SkeletonPrior
    optimizer: torch.optim.Optimizer
    step: int = 0


@dataclass(frozen=True)
class Worker:
    """One of `count` workers; `average` replaces gradients by their mean over all workers."""

    rank: int = 0
    count: int = 1
    average: Callable[[nn.Module], None] | None = None


class FittedPrior(NamedTuple):
    """A prior in evaluation mode, and what `judge` says of it."""

    prior: SkeletonPrior
    report: dict[str, Any]


def start_fit(train: Tensor, spec: PriorSpec, schedule: Schedule) -> PriorState:
    """Make the prior at step 0, whitened by the skeletons train [N, K, 3], on their device.

    Raises UserError on fewer than 2 skeletons, non-finite ones or another number of joints.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(schedule.seed)
        model = SkeletonPrior(spec)
    model.fit_whitening(train.cpu())
    model.to(train.device)
    return PriorState(model, torch.optim.Adam(model.parameters(), lr=schedule.lr))


def draw_batch(train: Tensor, schedule: Schedule, noise: float, step: int) -> Tensor:
    """Draw a step's skeletons [B, K, 3] with replacement, and fresh noise on their joints."""
    generator = torch.Generator().manual_seed(schedule.seed * 1_000_003 + step)
    rows = torch.randint(len(train), (schedule.batch,), generator=generator)
    return add_noise(train[rows.to(train.device)], noise, generator)


def add_noise(skeletons: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Return skeletons plus N(0, noise^2) on every coordinate; drawn on the CPU for any device."""
    drawn = torch.randn(skeletons.shape, generator=generator, dtype=skeletons.dtype)
    return skeletons + noise * drawn.to(skeletons.device)


def fit_step(
    state: PriorState, train: Tensor, schedule: Schedule, worker: Worker | None = None
) -> float:
    """Take one step on this worker's rows of the batch; return their mean NLL.

    Without dropout, mean gradients of several workers equal one worker's. Raises FloatingPointError
    on a loss that is not finite, before it reaches the weights.
    """
    worker = worker or Worker()
    batch = draw_batch(train, schedule, state.model.spec.noise, state.step)
    with seeded_dropout(schedule.seed, state.step, worker.rank, train.device):
        nll = -state.model.train().log_prob(batch[worker.rank :: worker.count])
    loss = nll.sum() * worker.count / schedule.batch
    if not torch.isfinite(loss):
        raise FloatingPointError(f"prior: the loss of step {state.step} is {loss.detach().item()}")
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if worker.average is not None:
        worker.average(state.model)
    nn.utils.clip_grad_norm_(state.model.parameters(), GRADIENT_NORM)
    for group in state.optimizer.param_groups:
        group["lr"] = schedule.rate(state.step)
    state.optimizer.step()
    state.step += 1
    return float(nll.detach().mean())


@contextmanager
def seeded_dropout(seed: int, step: int, rank: int, device: torch.device) -> Iterator[None]:
    """Let dropout inside depend on these numbers alone; workers drop independently."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed((seed * 1_000_003 + step) * 1009 + rank)
        yield


@torch.no_grad()
def judge(model: SkeletonPrior, train: Tensor, val: Tensor, seed: int = 0) -> dict[str, Any]:
    """Compare the flow's held-out NLL with a full-covariance Gaussian's, both fitted to `train`.

    Both are densities of skeletons with joint noise, so both are asked about val [N, K, 3] with the
    same noise. `passed` is the gate: a flow that a Gaussian beats is no use as a prior.
    """
    noise, floor = model.spec.noise, model.spec.std_floor
    known = train[: len(val)]
    generators = (torch.Generator().manual_seed(seed + k) for k in (1, 2))
    asked = [add_noise(x, noise, g) for x, g in zip((known, val), generators, strict=True)]
    train_nll, val_nll = (_mean_nll(model.eval(), x) for x in asked)
    gaussian = -float(GaussianPrior(train, noise, floor).log_prob(asked[1]).mean())
    return {
        "train_nll": train_nll,
        "val_nll": val_nll,
        "gaussian_val_nll": gaussian,
        "gain_nats": gaussian - val_nll,
        "passed": val_nll < gaussian,
    }


def _mean_nll(model: SkeletonPrior, skeletons: Tensor) -> float:
    densities = [model.log_prob(part).double() for part in torch.split(skeletons, CHUNK)]
    return -float(torch.cat(densities).mean())


def fit_prior(
    train: Tensor,
    val: Tensor,
    spec: PriorSpec,
    *,
    steps: int,
    batch: int,
    lr: float,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> FittedPrior:
    """Fit a prior to skeletons train [N, K, 3] and judge it on val; on_step(steps done, NLL).

    Raises as `start_fit` and `fit_step`.
    """
    schedule = Schedule(steps, batch, lr, seed)
    state = start_fit(train, spec, schedule)
    while state.step < steps:
        nll = fit_step(state, train, schedule)
        if on_step is not None:
            on_step(state.step, nll)
    return FittedPrior(state.model.eval(), judge(state.model, train, val, seed))
