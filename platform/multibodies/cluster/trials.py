"""A trial of a sweep's trainings: what it needs, what it holds, whether it came to its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from multibodies import rungs, runs
from multibodies.cluster.groups import IN_MEMORY
from multibodies.config import Config
from multibodies.data.training_rows import open_source
from multibodies.halving import Halving
from multibodies.sweep import Prior, Training
from multibodies.training import GoesOn, always


@dataclass(frozen=True)
class TrialTask:
    """One trial: a training's id and settings, what it starts from, where it writes.

    alone: whether its own process trains, being the only worker, on rows that it can hold; halving:
    whom it asks whether to go on.
    """

    id: str
    config: Config
    rows: str
    images: str
    stage1: str
    prior: str
    out: str
    hypotheses: str
    splits: tuple[str, ...]
    workers: int
    gpus: int
    alone: bool = False
    halving: Halving | None = None

    @property
    def goes_on(self) -> GoesOn:
        """What a training in the trial's own process asks."""
        return always if self.halving is None else self.halving.goes_on


def task_of(
    training: Training,
    prior: Prior,
    run_dir: Path,
    workers: int,
    gpus: int,
    halving: Halving | None = None,
) -> TrialTask:
    """Return the trial of a training, which infers under a prior."""
    rows = run_dir / training.rows
    return TrialTask(
        training.id,
        training.config,
        rows=str(rows),
        images=str(run_dir / "data"),
        stage1=str(run_dir / "stage1" / "weights"),
        prior=str(run_dir / prior.weights),
        out=str(run_dir / training.stage.directory),
        hypotheses=str(run_dir / training.inference.directory),
        splits=tuple(training.inference.recipe["splits"]),
        workers=workers,
        gpus=gpus,
        alone=workers == 1 and open_source(rows, training.config.splits.train).size <= IN_MEMORY,
        halving=halving,
    )


def is_complete(task: TrialTask) -> bool:
    """Whether a trial came to its end, also in an earlier run: in full, or stopped early."""
    ended = runs.finished(Path(task.hypotheses)), rungs.stopped(Path(task.out))
    return any(notes is not None for notes in ended)


def resources_of(task: TrialTask) -> dict[str, float]:
    """Return what a trial holds; Tune wants some resource even of one that holds none."""
    if task.alone:
        return {"CPU": 1, "GPU": task.gpus}
    return {"memory": 1 << 20}
