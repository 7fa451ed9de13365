"""The folder of a dataset while `prepare` writes it: one writer, one recipe, the manifest last."""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from multibodies.data.manifest import (
    MANIFEST,
    RECIPE,
    Counts,
    Manifest,
    build_manifest,
    differences,
    read_json,
    read_manifest,
    write_json,
)
from multibodies.data.tasks import Done
from multibodies.errors import UserError

LABELS = "labels"  # of the recipe: split -> what decides its labels


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone; the system lets go of it even when we are killed.

    Removes what a killed writer left half-written. Raises UserError when another process holds it
    or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot make this folder ({error.strerror}); choose another"
        ) from None
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        for leftover in folder.rglob("*.tmp"):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{folder}: another prepare is writing here; wait for it or choose another folder"
        ) from None


def claim(
    folder: Path, recipe: Mapping[str, Any], labels: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Note the recipe in a new folder, and what decides the labels of each split; return both.

    A folder may get further splits later. Raises UserError, with what differs, when the folder has
    another recipe, or a split of other labels, and when it is not empty and no dataset.
    """
    asked = dict(recipe) | ({LABELS: dict(labels)} if labels else {})
    path = folder / RECIPE
    if not path.exists():
        if any(folder.iterdir()):
            raise UserError(f"{folder}: not empty and no dataset (no {RECIPE}); choose another")
        write_json(path, asked)
        return asked
    stored = read_json(path, "start again in a new folder")
    known = {**asked.get(LABELS, {}), **stored.get(LABELS, {})}
    both = {LABELS: {**known, **asked[LABELS]}} if LABELS in asked else {}
    if different := differences({**stored, **({LABELS: known} if both else {})}, {**asked, **both}):
        raise UserError(
            f"{folder}: holds another dataset: {'; '.join(different)}; choose another folder"
        )
    merged = {**stored, **both}
    if merged != stored:
        write_json(path, merged)
    return merged


def assemble(
    folder: Path,
    recipe: Mapping[str, Any],
    done: Sequence[Done],
    skipped: Mapping[str, Mapping[str, int]],
) -> Manifest:
    """Describe the dataset: these shards, and splits that earlier runs of the recipe wrote."""
    old = read_manifest(folder) if (folder / MANIFEST).exists() else None
    made: dict[str, list[Done]] = {}
    for record in done:
        made.setdefault(record.task[0], []).append(record)
    tables = [d.quarantine for d in done if d.quarantine is not None]
    if old is not None:
        tables += [t for t in old.quarantine if not t.path.startswith(_tables_of(made))]
    return build_manifest(
        recipe,
        {**(old.splits if old else {}), **{s: [d.shard for d in ds] for s, ds in made.items()}},
        {**(old.counts if old else {}), **{s: _counts(ds) for s, ds in made.items()}},
        sorted(tables, key=lambda table: table.path),
        {**(old.skipped if old else {}), **skipped},
    )


def _tables_of(splits: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"quarantine/part-{split}-0" for split in splits)


def _counts(done: Sequence[Done]) -> Counts:
    strategies: Counter[str] = Counter()
    for record in done:
        strategies.update(record.strategies)
    return Counts(
        rows=sum(record.shard.rows for record in done),
        strategies=dict(sorted(strategies.items())),
        quarantined=sum(record.quarantined for record in done),
    )
