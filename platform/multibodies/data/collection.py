"""A collection: a folder without a manifest whose subfolders are datasets, one for each set.

Its manifest is made of theirs, so that what reads a dataset reads a collection too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from multibodies.config import fingerprint
from multibodies.data.described import Manifest, Shard
from multibodies.errors import UserError

MANIFEST, RECIPE = "manifest.json", "recipe.json"
COLLECTION = "collection"
ALIKE = ("image_size", "image_format")  # besides the schema's version, which reading checks


def is_collection(folder: Path) -> bool:
    """Whether a folder is a collection; one dataset in it makes it one."""
    return bool(subfolders(folder))


def subfolders(folder: Path) -> list[Path]:
    """Return the datasets of a collection by name, finished or not; none if it is no collection.

    Other subfolders, without a recipe and a manifest, are not ours.
    """
    if (folder / MANIFEST).exists() or (folder / RECIPE).exists() or not folder.is_dir():
        return []
    found = [
        path
        for path in sorted(folder.iterdir())
        if (path / MANIFEST).is_file() or (path / RECIPE).is_file()
    ]
    return found if any((path / MANIFEST).is_file() for path in found) else []


def merge(folder: str | Path, parts: Mapping[str, Manifest]) -> Manifest:
    """Return one manifest of datasets by the name of their subfolder, which begins their paths.

    Raises UserError naming two datasets that differ in the size or format of their crops, or that
    have a split in common, and one that holds features.
    """
    first_name, first = next(iter(parts.items()))
    homes: dict[str, str] = {}
    for name, part in parts.items():
        _check_alike(folder, first_name, first, name, part)
        for split in part.splits:
            if split in homes:
                raise UserError(
                    f"{folder}: split '{split}' is in {homes[split]} and in {name}; move one of "
                    "them out of the collection"
                )
            homes[split] = name
    return first.model_copy(
        update={
            "source": COLLECTION,
            "fingerprint": fingerprint({name: part.fingerprint for name, part in parts.items()}),
            "recipe": {COLLECTION: {name: part.recipe for name, part in parts.items()}},
            "splits": {
                split: _moved(name, shards)
                for name, part in parts.items()
                for split, shards in part.splits.items()
            },
            "counts": {k: v for part in parts.values() for k, v in part.counts.items()},
            "quarantine": tuple(
                shard for name, part in parts.items() for shard in _moved(name, part.quarantine)
            ),
            "skipped": {k: v for part in parts.values() for k, v in part.skipped.items()},
        }
    )


def _check_alike(
    folder: str | Path, first_name: str, first: Manifest, name: str, part: Manifest
) -> None:
    if "features" in part.recipe:
        raise UserError(f"{folder}: {name} holds features; a collection is of images")
    for field in ALIKE:
        one, other = getattr(first, field), getattr(part, field)
        if one != other:
            raise UserError(
                f"{folder}: {first_name} has data.{field} = {one}, {name} has {other}; prepare one "
                "of them anew as the other is"
            )


def _moved(name: str, shards: Iterable[Shard]) -> tuple[Shard, ...]:
    return tuple(s.model_copy(update={"path": f"{name}/{s.path}"}) for s in shards)
