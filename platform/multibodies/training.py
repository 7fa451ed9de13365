"""The training loop: pure torch over batches. Ray Train wraps it; `--local` runs it on one device.

Shapes: B image, F features, S side in pixels, M hypothesis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from multibodies.config import Config, LossConfig, ModelConfig, StageConfig, fingerprint
from multibodies.core.body import BodyArrays, JointBody
from multibodies.core.expansion import AT_ONE, expand
from multibodies.core.loss_forms import FORMS
from multibodies.core.objective import TERMS, Labels, Loss, Objective, Outcome, collapse
from multibodies.core.pooling import Pooled
from multibodies.core.regressor import Hypotheses, Regressor, RegressorSpec
from multibodies.core.skinning import VertexBody

TURNED = ("flip", "angle")  # columns of an augmented batch with keys: how a row was changed
Batch = dict[str, Tensor]
Batches = Callable[[int], Iterator[Batch]]
Report = Callable[[int, dict[str, float]], None]
GoesOn = Callable[["TrainingState"], bool]


class Memory(Protocol):
    """What a system remembers from step to step besides its network, the same in all workers."""

    def tensors(self) -> dict[str, Tensor]:
        """Return it as named tensors, for a checkpoint."""

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` returned."""


@dataclass
class TrainingState:
    """All that a killed training needs to go on: the network, its optimiser, the steps done, what
    its system remembers."""

    model: Regressor
    optimizer: torch.optim.Optimizer
    step: int = 0
    memory: Memory | None = None
    history: list[dict[str, float]] = field(default_factory=list)


def regressor_spec(model: ModelConfig, num_hypotheses: int) -> RegressorSpec:
    """Return the network's recipe from the configuration; one hypothesis has one head, HMR's."""
    fields = model.model_dump(exclude={"trains", "mean_params"})
    if num_hypotheses == 1:
        fields |= {"head": AT_ONE["head"], "rank": AT_ONE["rank"]}
    return RegressorSpec(**fields, num_hypotheses=num_hypotheses)


def build_stage2(stage1: Regressor, config: Config) -> Regressor:
    """Make the best-of-M network from stage 1 with the configured head, M, spread and seed."""
    stage = config.stage2
    generator = torch.Generator().manual_seed(stage.seed)
    spec = regressor_spec(config.model, stage.num_hypotheses)
    return expand(stage1, spec, stage.spread, generator)


def build_objective(arrays: BodyArrays, loss: LossConfig) -> Objective:
    """Make eq. 8 with the configured weights and form; vertices are sampled evenly where the
    configuration says so."""
    form = FORMS[loss.form]
    return Objective(
        JointBody(arrays, ("j24",)),
        VertexBody(arrays, loss.vertices_sampled, on_support=form.on_support),
        {name: getattr(loss, name) for name in TERMS},
        loss.ri_reduction,
        form,
        supervise_first=loss.supervise_first,
    )


def learning_rate(stage: StageConfig, step: int, steps_per_epoch: int = 1) -> float:
    """Return the rate at a step: linear warm-up, then constant or a cosine to zero; a tenth of it
    from `drop_epoch` on, epochs counted from 0."""
    warm = min(1.0, (step + 1) / max(1, stage.warmup_steps))
    decay = 0.5 * (1 + math.cos(math.pi * step / stage.steps)) if stage.cosine else 1.0
    dropped = 0 < stage.drop_epoch <= step // steps_per_epoch
    return stage.learning_rate * warm * decay * (0.1 if dropped else 1.0)


def make_optimizer(model: Regressor, stage: StageConfig, trains: str) -> torch.optim.Optimizer:
    """Return Adam over what trains, see `Regressor.trained`; all else is frozen."""
    trained = model.trained(trains)
    model.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    return torch.optim.Adam(
        trained, lr=stage.learning_rate, weight_decay=stage.weight_decay, fused=True
    )


def labels_of(batch: Batch) -> Labels:
    """Pick the labels of eq. 8 out of a batch of rows."""
    return Labels(
        batch["keypoints_2d"],
        batch["joints_3d"],
        batch["theta"],
        batch["beta"],
        batch["has_3d"].float(),
        batch["has_smpl"].float(),
        *(batch.get(name) for name in ("key", *TURNED)),
    )


class Forward(nn.Module):
    """A network that reads cached features where a batch has them, else images; what DDP wraps."""

    def __init__(self, model: Regressor) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Hypotheses:
        """Map a batch with `features` [B, F] or `image` uint8 [B, S, S, 3] to hypotheses."""
        return self.model.from_features(*self.pooled(batch))

    def pooled(self, batch: Batch) -> Pooled:
        """Return a batch's features, of its images if it has none."""
        if "features" in batch:
            return Pooled(batch["features"].float(), None)
        return self.model.pooled(batch["image"].permute(0, 3, 1, 2).float() / 255)


def train_step(
    forward: nn.Module,
    objective: Loss,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    rate: float,
) -> Outcome:
    """One update; refuses a loss or gradient that is not finite before it reaches the weights.

    Raises FloatingPointError naming the terms that are not finite, or not so times their weights.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    outcome: Outcome = objective(forward(batch), labels_of(batch))
    loss = outcome.total.mean()
    if not torch.isfinite(loss):
        bad = [name for name, term in weighted(objective, outcome) if not torch.isfinite(term)]
        raise FloatingPointError(
            f"loss is {float(loss.detach())}; not finite: {', '.join(bad) or 'total'}"
        )
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, 50.0)
    if not torch.isfinite(norm):
        raise FloatingPointError(f"the gradient's norm is {float(norm)}, of a finite loss")
    optimizer.step()
    return outcome


def weighted(objective: Loss, outcome: Outcome) -> Iterator[tuple[str, Tensor]]:
    """Yield each term's name and the sum of its size over the batch, times its weight."""
    for name, term in outcome.terms.items():
        yield name, term.detach().abs().sum() * max(1.0, objective.weights[name])


def always(_: TrainingState) -> bool:
    """Go on whatever the state: nothing stops a training before its last step."""
    return True


def train(
    state: TrainingState,
    forward: nn.Module,
    objective: Loss,
    batches: Batches,
    stage: StageConfig,
    report: Report,
    save: Callable[[TrainingState], None],
    rank: int = 0,
    steps_per_epoch: int = 1,
    goes_on: GoesOn = always,
) -> TrainingState:
    """Run from `state.step` to `stage.steps`, or to the step after which it does not go on.

    batches(step) yields that step's batch and the following ones, so that a resumed run sees what
    an undisturbed
    one would. `report` gets every step's means; `save` is called every `checkpoint_every` steps and
    at the end. `steps_per_epoch` says when `stage.drop_epoch` comes.
    """
    forward.train()
    _freeze_statistics(state.model, state.optimizer)
    source = batches(state.step)
    for step in range(state.step, stage.steps):
        # dropout does not depend on where a run was resumed, and differs between workers; a CPU
        # takes 32 bits of a seed
        torch.manual_seed(stage.seed * 1_000_003 + step + rank * 500_000_003)
        rate = learning_rate(stage, step, steps_per_epoch)
        outcome = train_step(forward, objective, state.optimizer, next(source), rate)
        state.step = step + 1
        report(state.step, collapse(outcome))
        if state.step % stage.checkpoint_every == 0 or state.step == stage.steps:
            save(state)
        if not goes_on(state):
            break
    forward.eval()
    return state


def _freeze_statistics(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put every part that does not train into evaluation mode, so that batch norms keep their
    statistics."""
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for module in model.modules():
        own = [p for p in module.parameters(recurse=False)]
        if own and not any(id(p) in trained for p in own):
            module.eval()


def epoch_batches(
    rows: Batch, batch_size: int, seed: int, rank: int = 0, world: int = 1
) -> Batches:
    """Return `batches(step)` over rows held in memory, in an order that is a function of seed and
    step alone.

    A global batch of `batch_size` is cut from the epoch's permutation; worker `rank` of `world`
    takes every
    world-th of its rows, so that any number of workers sees the same global batches.
    """
    total = len(next(iter(rows.values())))
    size = min(batch_size, total)
    per_epoch = total // size

    def batches(step: int) -> Iterator[Batch]:
        while True:
            epoch, within = divmod(step, per_epoch)
            order = torch.randperm(
                total, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)
            )
            while within < per_epoch:
                chosen = order[within * size : (within + 1) * size][rank::world]
                yield {name: column[chosen] for name, column in rows.items()}
                within, step = within + 1, step + 1

    return batches


def seed_of(*parts: int | str) -> int:
    """Return a seed of 32 bits, all that a CPU's generator takes, that depends on all parts."""
    return int(fingerprint(*parts)[:8], 16)


def on_device(make: Batches, device: torch.device) -> Batches:
    """Return the same batches on a device."""

    def batches(step: int) -> Iterator[Batch]:
        for batch in make(step):
            yield {name: column.to(device, non_blocking=True) for name, column in batch.items()}

    return batches


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state as named tensors, for safetensors."""
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{i}.{name}": torch.as_tensor(v) for i, entry in state.items() for name, v in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
