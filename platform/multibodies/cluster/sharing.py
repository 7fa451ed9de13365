"""Taking over what another run has finished, after checking that it was made from the same content.

A stage's fingerprint is of its recipe; whether what came before it has the same bytes here and
there is checked by hashes. Whatever does not match is made anew.
"""

from __future__ import annotations

from pathlib import Path

from multibodies import checkpoints, runs
from multibodies.data.manifest import verify
from multibodies.errors import UserError
from multibodies.evaluation import InferTask, infer_tasks
from multibodies.sidecars import sidecar_path
from multibodies.sweep import (
    Plan,
    Stage,
    Training,
    content_of,
    find_same,
    is_done,
    link_tree,
    mark_done,
    stage_path,
)
from multibodies.sweep.sharing import link_file, run_of

# What each kind of stage was made from, besides its recipe.
MADE_FROM: dict[str, tuple[str, ...]] = {
    "dataset": (),
    "prior": ("data",),
    "stage1": ("data",),
    "features": ("data", "stage1"),
    "training": ("data", "stage1"),
}


def take_shared(stage: Stage, run_dir: Path, share: Path) -> bool:
    """Take a finished stage of another run below `share`; say whether one was there and sound."""
    if stage.kind not in MADE_FROM:
        return False
    before = MADE_FROM[stage.kind]
    for folder in find_same(stage, share, run_dir):
        if same_before(before, run_of(folder, stage), run_dir) and is_sound(stage, folder):
            return link_tree(folder, stage_path(run_dir, stage))
    return False


def same_before(stages: tuple[str, ...], theirs: Path, ours: Path) -> bool:
    """Say whether two runs' data have the same bytes, and their stage 1 the same weights."""
    try:
        return all(_content(theirs / name) == _content(ours / name) for name in stages)
    except UserError:
        return False


def _content(folder: Path) -> str:
    """Return the identity of a stage 1's weights, or the fingerprint of a dataset's shards."""
    weights = folder / "weights"
    return checkpoints.identity(weights) if weights.is_dir() else content_of(folder)


def is_sound(stage: Stage, folder: Path) -> bool:
    """Say whether a finished folder's files have the checksums that were recorded of them."""
    try:
        if stage.kind in ("dataset", "features"):
            verify(folder)
        else:
            checkpoints.load_module(folder / "weights")
    except UserError:
        return False
    return True


def take_training(plan: Plan, training: Training, run_dir: Path, share: Path) -> None:
    """Take a finished training of another run and what it inferred, as far as it is there.

    Features that it learnt from must have the bytes of ours.
    """
    if is_done(run_dir, training.stage):
        return
    for folder in find_same(training.stage, share, run_dir):
        theirs = run_of(folder, training.stage)
        same = same_before(MADE_FROM["training"], theirs, run_dir)
        if same and _same_rows(training, theirs, run_dir) and is_sound(training.stage, folder):
            if link_tree(folder, run_dir / training.stage.directory):
                take_hypotheses(plan, training, theirs / "hypotheses" / folder.name, run_dir)
            return


def take_hypotheses(plan: Plan, training: Training, theirs: Path, run_dir: Path) -> None:
    """Link the parts that this run's own inference would make; mark it done if they are all."""
    place = run_dir / training.inference.directory
    tasks = infer_tasks(
        training.config,
        run_dir / "data",
        run_dir / training.stage.directory / "weights",
        training.inference.recipe["splits"],
        place,
        prior=run_dir / plan.priors[0].weights,
    )
    for task in tasks:
        _take_part(task, theirs / Path(task.out).relative_to(place.resolve()))
    if all(task.done for task in tasks):
        runs.finish(place)
        mark_done(run_dir, training.inference, 0.0)


def _take_part(task: InferTask, source: Path) -> None:
    """Link a part and its sidecar; a part of another recipe or of other bytes goes again."""
    target = Path(task.out)
    pairs = (source, target), (sidecar_path(source), sidecar_path(target))
    if target.exists() or not all(path.is_file() for path, _ in pairs):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    for path, new in pairs:
        link_file(str(path), str(new))
    if not task.done:
        for _, new in pairs:
            new.unlink()


def _same_rows(training: Training, theirs: Path, ours: Path) -> bool:
    """Say whether both runs' trainings read the same rows."""
    try:
        return content_of(theirs / training.rows) == content_of(ours / training.rows)
    except UserError:
        return False
