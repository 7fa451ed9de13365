"""Ray Train's list of checkpoints, `checkpoint_manager_snapshot.json`: checked before a run resumes.

Ray writes it in place. Torn, or naming a checkpoint that is gone or damaged, it would block
resuming although whole checkpoints lie beside it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from multibodies.fitting import is_whole

SNAPSHOT = "checkpoint_manager_snapshot.json"
PREFIX = "step-"


def name_of(step: int) -> str:
    """Return a checkpoint's folder name, which sorts by step."""
    return f"{PREFIX}{step:08d}"


def repair(folder: Path) -> Path | None:
    """Make the storage of one run fit to resume from.

    Where Ray's list is whole, checkpoints that it does not name are removed and None is returned:
    Ray resumes by itself. Else the list is set aside and the newest whole checkpoint is returned,
    or None if there is none.
    """
    listed = registered(folder / SNAPSHOT)
    if listed is not None and all(is_whole(folder / name) for name in listed):
        for orphan in checkpoints_in(folder):
            if orphan.name not in listed:
                shutil.rmtree(orphan)
        return None
    if (folder / SNAPSHOT).exists():
        (folder / SNAPSHOT).replace(folder / f"{SNAPSHOT}.damaged")
    return next((path for path in reversed(checkpoints_in(folder)) if is_whole(path)), None)


def registered(path: Path) -> set[str] | None:
    """Return the names of the checkpoints that a snapshot lists; None if it is missing or torn."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {result["checkpoint_dir_name"] for result in content["checkpoint_results"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints' folders by step."""
    return sorted(path for path in folder.glob(f"{PREFIX}*") if path.is_dir())
