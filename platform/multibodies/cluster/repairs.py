"""`multibodies repair`: the checkpoints of killed trainings made fit to go on from."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from multibodies import local, runs, states
from multibodies.cluster import snapshots
from multibodies.cluster.snapshots import SNAPSHOT


@dataclass(frozen=True)
class Mended:
    """What was done in one folder of checkpoints: whether Ray's list was torn, which checkpoints
    were no whole ones and are removed, the step to go on from."""

    folder: Path
    torn: bool
    removed: tuple[str, ...]
    step: int

    def __str__(self) -> str:
        done = [f"the torn list is {SNAPSHOT}.damaged"] if self.torn else []
        done += [f"removed {', '.join(self.removed)}, not whole"] if self.removed else []
        start = f"step {self.step}" if self.step else "the start"
        return f"{self.folder}: {'; '.join(done) or 'whole'}; goes on from {start}"


def mend(run_dir: Path) -> list[Mended]:
    """Mend all trainings below a folder that are under way.

    Raises UserError while a process works in the folder or in one of them.
    """
    places = [(folder, folder.parents[1]) for folder in _storages(run_dir)]
    places += [(folder, folder.parent) for folder in sorted(run_dir.rglob(local.RESUME))]
    with ExitStack() as stack:
        stack.enter_context(runs.alone(run_dir))
        for owner in dict.fromkeys(owner for _, owner in places):
            if owner != run_dir:
                stack.enter_context(runs.alone(owner))
            stack.enter_context(runs.alone(owner, runs.WORKER))
        return [mend_folder(folder) for folder, _ in places]


def mend_folder(folder: Path) -> Mended:
    """Mend one folder of checkpoints: Ray's storage of a run, or that of a local training."""
    had_list = (folder / SNAPSHOT).exists()
    fallback = snapshots.repair(folder)
    torn = had_list and not (folder / SNAPSHOT).exists()
    removed = [path for path in states.states_in(folder) if not states.is_whole(path)]
    removed += states.unfinished_in(folder)
    for path in removed:
        shutil.rmtree(path)
    listed = snapshots.registered(folder / SNAPSHOT)
    last = folder / max(listed) if listed else fallback
    step = 0 if last is None else states.step_of(last)
    return Mended(folder, torn, tuple(path.name for path in removed), step)


def _storages(run_dir: Path) -> list[Path]:
    """Return Ray's storages below a folder: those with a list, or with checkpoints but none."""
    found = {path.parent for path in run_dir.rglob(SNAPSHOT)}
    found |= {path.parent for path in run_dir.rglob(f"{states.PREFIX}*") if path.is_dir()}
    return sorted(path for path in found if path.name != local.RESUME)
