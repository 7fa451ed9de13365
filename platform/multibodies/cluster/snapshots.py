"""Ray Train's list of checkpoints, `checkpoint_manager_snapshot.json`, checked before resuming.

Ray writes it in place. Torn, or naming a checkpoint that is gone or damaged, it would block
resuming although whole checkpoints lie beside it.
"""

from __future__ import annotations

import json
from pathlib import Path

from multibodies.states import is_whole, newest

SNAPSHOT = "checkpoint_manager_snapshot.json"


def repair(folder: Path) -> Path | None:
    """Make the storage of one run fit to resume from.

    Where Ray's list is whole None is returned: Ray resumes by itself. Else the list is set aside
    and the newest whole checkpoint is returned, or None if there is none. Nothing is removed: the
    workers of a driver that was just killed may live on for a moment and list what is not listed.
    """
    listed = registered(folder / SNAPSHOT)
    if listed is not None and all(is_whole(folder / name) for name in listed):
        return None
    if (folder / SNAPSHOT).exists():
        (folder / SNAPSHOT).replace(folder / f"{SNAPSHOT}.damaged")
    return newest(folder)


def registered(path: Path) -> set[str] | None:
    """Return the names of the checkpoints that a snapshot lists; None if it is missing or torn."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {result["checkpoint_dir_name"] for result in content["checkpoint_results"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
