"""Sets whose labels lie in one file: each split is one unit, named as the file is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multibodies.data.sources.importer import Listing, Unit
from multibodies.data.sources.record import Item
from multibodies.errors import UserError, nearest
from multibodies.files import sha256


@dataclass(frozen=True)
class Labelled:
    """A split's records, made one at a time; what was left out; what else decides the labels."""

    count: int
    make: Callable[[int], Item]
    skipped: Mapping[str, int]
    rules: Mapping[str, Any]


@dataclass(eq=False)
class SingleFile:
    """An importer of one label file. `read` gives a split's records and remembers the file."""

    splits: tuple[str, ...]
    path: Path
    read: Callable[[str], Labelled]

    def listing(self, split: str) -> Listing:
        """List a split. Raises UserError on an unknown split and as `read` does."""
        labelled = self._labelled(split)
        identity = {"sha256": sha256(self.path), **labelled.rules}
        return Listing((Unit(self.path.name, labelled.count),), labelled.skipped, identity)

    def records(self, split: str, unit: str, start: int, count: int) -> Iterator[Item]:
        """Give records start..start+count-1. Raises UserError where the file has fewer."""
        labelled = self._labelled(split)
        if unit != self.path.name or not 0 <= start <= start + count <= labelled.count:
            raise UserError(
                f"{self.path}: records {start}..{start + count - 1} of '{unit}' in {split}: there "
                f"are {labelled.count} in '{self.path.name}'; did the file change? List it again"
            )
        return map(labelled.make, range(start, start + count))

    def _labelled(self, split: str) -> Labelled:
        if split not in self.splits:
            raise UserError(f"unknown split '{split}'{nearest(split, self.splits)}")
        return self.read(split)


def stamp(path: Path) -> tuple[str, int, int]:
    """Return a label file's path, time and size: what a process may remember its content by."""
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return str(path), status.st_mtime_ns, status.st_size
