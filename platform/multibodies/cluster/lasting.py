"""Errors that a restart does not mend: raised once in a worker, told once to the user.

Ray Train starts a group again whatever a worker raised. A worker that meets such an error leaves it
in the run's folder; the next start reads it there and ends at once, and the driver raises it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from multibodies import runs
from multibodies.errors import UserError

STOPPED = "stopped.json"
Work = Callable[[dict[str, Any]], None]


def stopping(work: Work, folder: Path) -> Work:
    """Return a worker's loop that leaves a lasting error in the folder and then is not run again.

    An error that cannot be written there, since the disk is full, is met again at each restart.
    """
    return partial(_work, work, folder)


def _work(work: Work, folder: Path, settings: dict[str, Any]) -> None:
    if (folder / STOPPED).exists():
        return
    try:
        work(settings)
    except (UserError, FloatingPointError) as error:
        with suppress(UserError):
            runs.write_record(folder / STOPPED, {"error": str(error)})
        raise


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Raise what the workers of the block left in the folder, as UserError, whatever it raised."""
    path = folder / STOPPED
    path.unlink(missing_ok=True)  # of an earlier command: the user may have mended it
    try:
        yield
    finally:
        if path.exists():
            text = runs.read_record(path)["error"]
            path.unlink()
            raise UserError(text)
