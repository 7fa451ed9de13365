"""The local journal: what was logged, one JSON object per line, appended before anything is sent.

A line is an `Event`; cell "" is the sweep's parent run. Paths of artifacts are relative to the
journal, so that a run folder may move.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from multibodies.errors import UserError

KINDS = ("status", "params", "tags", "metrics", "artifact", "input")


@dataclass(frozen=True)
class Event:
    """One thing logged to one run.

    Data by kind: status `{"status"}`; params and tags `{key: text}`; metrics `{"step", "values"}`;
    artifact `{"path", "folder"}`; input `{"name", "digest", "source", "context", "rows"}`.
    """

    sweep: str
    cell: str
    kind: str
    data: Mapping[str, Any]
    time_ms: int = field(default_factory=lambda: int(time.time() * 1000))


class Journal:
    """An append-only JSON-lines file that several processes may share."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, event: Event) -> None:
        """Append one line. Raises UserError when the disk refuses it."""
        if event.kind == "artifact":
            relative = os.path.relpath(event.data["path"], self.path.parent)
            event = replace(event, data={**event.data, "path": relative})
        line = json.dumps(asdict(event), sort_keys=True, allow_nan=False).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.write(line if _ends_whole(file) else b"\n" + line)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(
                f"{self.path}: cannot be written ({reason}); free space or choose another folder"
            ) from None


def _ends_whole(file: BinaryIO) -> bool:
    """Tell whether the last line is complete; a killed writer may have left half of one."""
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def read_journal(path: str | Path) -> tuple[list[Event], int]:
    """Return the events of a journal, or of all `*.jsonl` of a folder, and the count of torn lines.

    Raises UserError if there is no journal.
    """
    path = Path(path)
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise UserError(f"{path}: no journal there; expected a .jsonl file or a folder of them")
    parsed = [_parse(line, file.parent) for file in files for line in _lines(file)]
    events = [event for event in parsed if event is not None]
    return events, len(parsed) - len(events)


def _lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().split(b"\n") if line.strip()]


def _parse(line: bytes, folder: Path) -> Event | None:
    try:
        event = Event(**json.loads(line))
    except (ValueError, TypeError):
        return None
    if event.kind not in KINDS or not isinstance(event.data, dict):
        return None
    if event.kind == "artifact":
        path = str((folder / str(event.data["path"])).resolve())
        return replace(event, data={**event.data, "path": path})
    return event
