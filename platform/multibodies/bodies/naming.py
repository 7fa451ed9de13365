"""Where bodies lie: a name stands for an .npz in one folder of the user's, or for our own body."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from multibodies.core.body_arrays import EMBEDDED_BODY
from multibodies.errors import UserError, nearest

EMBEDDED: Final = "embedded"
VARIABLE: Final = "MULTIBODIES_BODIES"
SUFFIX: Final = ".npz"


def body_folder() -> Path:
    """Return $MULTIBODIES_BODIES, or else ~/.local/share/multibodies/bodies."""
    given = os.environ.get(VARIABLE)
    return Path(given) if given else Path.home() / ".local/share/multibodies/bodies"


def body_names(folder: Path) -> list[str]:
    """Return the names of a folder's bodies, sorted."""
    return sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))


def find_body(body: str | None, folder: Path | None = None) -> Path:
    """Return the file of a body: None and 'embedded' are ours, a path is itself, a bare word a name
    in the folder.

    Raises UserError naming the nearest known name.
    """
    if body is None or body == EMBEDDED:
        return EMBEDDED_BODY
    if Path(body).name != body or body.endswith((SUFFIX, ".pkl")):
        return Path(body)
    folder = body_folder() if folder is None else folder
    if not (folder / f"{body}{SUFFIX}").is_file():
        known = [EMBEDDED, *body_names(folder)]
        raise UserError(
            f"no body '{body}' in {folder}{nearest(body, known)}; "
            "`multibodies body import FILE` makes one of your SMPL"
        )
    return folder / f"{body}{SUFFIX}"
