"""Stages that another run made already: found by kind and fingerprint, taken by hard links.

Only what another run has marked as done counts, so that it may be in progress. Links share the
bytes and not the fate: files are replaced and never written in place, so that either run may be
removed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath

from multibodies.data.manifest import MANIFEST, read_manifest
from multibodies.errors import UserError
from multibodies.files import sha256
from multibodies.runs import read_record, write_record
from multibodies.sweep.plan import Stage
from multibodies.sweep.state import DONE_FILE

LEFT = shutil.ignore_patterns("*.lock", "*.tmp", "ray", "checkpoints", DONE_FILE)


def find_same(stage: Stage, runs: Path, own: Path) -> Iterator[Path]:
    """Yield the finished folders of the same stage in the runs of a folder, but for our own."""
    within = PurePath(stage.directory)
    pattern = str(PurePath("*") / within.parent / "*" / DONE_FILE)
    for path in sorted(runs.resolve().glob(pattern)):
        wanted = stage.kind, stage.fingerprint
        foreign = not path.is_relative_to(own.resolve())
        if foreign and _made_by(path) == wanted and _readable(path.parent):
            yield path.parent


def run_of(folder: Path, stage: Stage) -> Path:
    """Return the run that a found stage is in."""
    return folder.parents[len(PurePath(stage.directory).parts) - 1]


def link_tree(found: Path, place: Path) -> bool:
    """Put another run's finished folder at `place`, whole or not at all; say whether it is there.

    Files are hard links, or copies checked by SHA-256 where another disk allows none. A place that
    already has files is left alone.
    """
    temporary = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(found, temporary, symlinks=True, ignore=LEFT, copy_function=link_file)
        write_record(temporary / DONE_FILE, {**read_record(found / DONE_FILE), "from": str(found)})
        os.replace(temporary, place)  # refused where the place has files
    except (OSError, UserError):  # it was removed meanwhile, or the place is ours: make our own
        return False
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True


def link_file(source: str, target: str) -> None:
    """Make a hard link, or a copy that has the same bytes. Raises OSError if it has not."""
    with suppress(OSError):
        os.link(source, target)
        return
    shutil.copy2(source, target)
    if sha256(source) != sha256(target):
        raise OSError(f"{target}: not copied whole")


def _readable(folder: Path) -> bool:
    """Say whether this version can read a folder, which matters where it is a dataset."""
    try:
        return not (folder / MANIFEST).exists() or bool(read_manifest(folder).splits)
    except UserError:
        return False


def _made_by(path: Path) -> tuple[object, object] | None:
    try:
        record = read_record(path)
    except UserError:  # another run's damage is not ours
        return None
    return record.get("kind"), record.get("fingerprint")
