"""A run's folder: which recipe owns it, what it reported, whether it is finished.

recipe.json     what is computed; another recipe in the same folder is refused
train.jsonl     one line per reported step, each step once however often the run was killed
finished.json   written last
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from multibodies.errors import UserError
from multibodies.files import write_bytes

WORKER = "worker"  # the role of a group's first worker; its driver has the role "run"
RECIPE, JOURNAL, FINISHED = "recipe.json", "train.jsonl", "finished.json"
SHOWN = 4  # differences named in an error


def claim(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Make the folder this recipe's, or check that it already is.

    Raises UserError that says what differs: a name never mixes two experiments.
    """
    path, plain = folder / RECIPE, json.loads(json.dumps(dict(recipe)))
    if not path.exists():
        write_record(path, plain)
        return
    changed = differences(read_record(path), plain)
    if changed:
        more = [f"and {len(changed) - SHOWN} more"] if len(changed) > SHOWN else []
        raise UserError(
            f"{folder}: made with another recipe: {'; '.join([*changed[:SHOWN], *more])}; "
            "give this run another name or remove the folder"
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return one ``key was A, now B`` per leaf that differs, keys dotted and sorted."""
    found: list[str] = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key, "absent"), now.get(key, "absent")
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} was {json.dumps(old)}, now {json.dumps(new)}")
    return found


def finish(folder: Path, **notes: Any) -> None:
    """Say that the run is complete, with notes (plain JSON values). Call it last."""
    write_record(folder / FINISHED, notes)


def wall_seconds(folder: Path) -> int:
    """Return the seconds from a finished run's claim to its end, pauses included."""
    times = [(folder / name).stat().st_mtime for name in (RECIPE, FINISHED)]
    return round(times[1] - times[0])


def finished(folder: Path) -> dict[str, Any] | None:
    """Return the notes of a complete run, else None. Raises UserError if they are damaged."""
    path = folder / FINISHED
    return read_record(path) if path.exists() else None


@contextmanager
def alone(folder: Path, role: str = "run", patience: float = 0.0) -> Iterator[None]:
    """Hold a role in the folder; the lock goes with the process, however it ends.

    Raises UserError if another process still holds it after `patience` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    with (folder / f".{role}.lock").open("w") as file:
        while not _locked(file):
            if time.monotonic() >= deadline:
                raise UserError(f"{folder}: another process works here; wait for it or end it")
            time.sleep(0.1)
        yield


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Journal:
    """Appends metrics by step. Opened at the step that a run resumes from, it forgets the rest."""

    def __init__(self, path: Path, step: int = 0) -> None:
        self.path = path
        kept = [line for line in read_journal(path) if line["step"] <= step]
        write_bytes(path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line; `step` must be later than all before it."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return a journal's lines in the order of steps, one per step; a torn line is left out."""
    by_step = {line["step"]: line for line in Tail(path).new()}
    return [by_step[step] for step in sorted(by_step)]


@contextmanager
def follow(
    path: Path, on_line: Callable[[int, dict[str, Any]], None] | None, interval: float = 0.5
) -> Iterator[None]:
    """Call `on_line(step, metrics)` for each new line of a journal that another process writes.

    The calls come from a thread, in the order of steps, each step once; all are made when the block
    ends. What `on_line` raises is raised there.
    """
    if on_line is None:
        yield
        return
    over = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        following = executor.submit(_follow, path, on_line, over, interval)
        try:
            yield
        finally:
            over.set()
        following.result()


def _follow(
    path: Path,
    on_line: Callable[[int, dict[str, Any]], None],
    over: threading.Event,
    interval: float,
) -> None:
    lines, last = Tail(path), 0
    while True:
        stopping = over.wait(interval)
        for line in lines.new():
            if line["step"] > last:
                last = line.pop("step")
                on_line(last, line)
        if stopping:
            return


class Tail:
    """Reads what a journal gained since the last look; starts over when it was rewritten."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset, self.inode = path, 0, 0

    def new(self) -> list[dict[str, Any]]:
        """Return the complete lines that are new."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            if inode != self.inode:  # rewriting replaces the file
                self.inode, self.offset = inode, 0
            file.seek(self.offset)
            whole = file.read().rpartition(b"\n")[0]
        self.offset += len(whole) + 1 if whole else 0
        return [line for line in map(_parse, whole.decode(errors="replace").splitlines()) if line]


def _parse(text: str) -> dict[str, Any] | None:
    """Return a journal line; None if its writer was killed inside it."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and "step" in line else None


def write_record(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object atomically. Raises UserError when the disk refuses it."""
    write_bytes(path, (json.dumps(dict(value), indent=2, sort_keys=True) + "\n").encode())


def read_record(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises UserError naming a file that is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise UserError(f"{path}: damaged (not JSON); remove it and start again") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: damaged (expected a JSON object); remove it and start again")
    return value
