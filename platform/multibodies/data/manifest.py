"""The manifest of a dataset: recipe, shards with their SHA-256, counts.

A folder holds `recipe.json` (written first), `<split>/part-*.parquet` with a sidecar each,
`quarantine/part-*.parquet` and, once every shard is whole, `manifest.json`. A folder of such
folders is a collection, read as one dataset.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from multibodies.config import fingerprint
from multibodies.data.collection import MANIFEST, RECIPE, merge, subfolders
from multibodies.data.described import Counts, Manifest, Shard
from multibodies.data.schema import SCHEMA_VERSION, described_columns
from multibodies.errors import UserError
from multibodies.files import sha256, write_bytes

__all__ = [
    "MANIFEST",
    "RECIPE",
    "Counts",
    "Manifest",
    "Shard",
    "build_manifest",
    "check_shard",
    "differences",
    "read_json",
    "read_manifest",
    "verify",
    "write_json",
    "write_manifest",
]


def build_manifest(
    recipe: Mapping[str, Any],
    splits: Mapping[str, Iterable[Shard]],
    counts: Mapping[str, Counts],
    quarantine: Iterable[Shard] = (),
    skipped: Mapping[str, Mapping[str, int]] | None = None,
) -> Manifest:
    """Assemble a manifest from a recipe (`schema_version`, `data`, ...) and what was written."""
    data = recipe["data"]
    return Manifest(
        schema_version=recipe["schema_version"],
        source=data["source"],
        seed=data["seed"],
        image_size=data["image_size"],
        image_format=data["image_format"],
        fingerprint=fingerprint(dict(recipe)),
        recipe=dict(recipe),
        columns=described_columns(data["image_size"], data["image_format"]),
        splits={split: tuple(shards) for split, shards in splits.items()},
        counts=dict(counts),
        quarantine=tuple(quarantine),
        skipped={split: dict(counts) for split, counts in (skipped or {}).items()},
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` whole. Raises UserError when the disk refuses."""
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def write_json(path: Path, content: Any) -> None:
    """Write plain JSON values, indented, keys sorted. Raises UserError when the disk refuses."""
    write_bytes(path, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def read_manifest(folder: str | Path) -> Manifest:
    """Read `manifest.json`, or those of a collection's datasets as one.

    Raises UserError when it is missing, damaged or of another schema version, and when the datasets
    of a collection do not fit together.
    """
    parts = subfolders(Path(folder))
    if parts:
        return merge(folder, {part.name: _read_one(part) for part in parts})
    return _read_one(Path(folder))


def _read_one(folder: Path) -> Manifest:
    path = folder / MANIFEST
    content = read_json(
        path, f"{folder} is no finished dataset; run `multibodies prepare --out {folder}`"
    )
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path}: schema version {version}, this program reads {SCHEMA_VERSION}; "
            "prepare into a new folder"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "manifest"
        reason = problem["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {where}: {reason}; run prepare again to rebuild it") from None


def read_json(path: Path, missing: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises UserError: `missing` when there is no file, else what is wrong with it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: {missing}") from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as JSON ({error}); delete it and prepare again"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object; delete it and prepare again")
    return content


def verify(folder: str | Path, splits: Iterable[str] | None = None) -> Manifest:
    """Read the manifest and hash every shard, of all splits or some.

    Parquet itself reads flipped bits silently. Raises UserError naming the first shard that is
    missing or damaged.
    """
    manifest = read_manifest(folder)
    for split in manifest.splits if splits is None else splits:
        for shard in manifest.shards(split):
            check_shard(Path(folder), shard)
    return manifest


def check_shard(folder: Path, shard: Shard) -> None:
    """Raise UserError unless the shard's bytes are those that were written."""
    path = folder / shard.path
    if not path.is_file():
        raise UserError(f"{path}: shard is missing; run prepare again to make it anew")
    if sha256(path) != shard.sha256:
        raise UserError(
            f"{path}: shard is damaged (SHA-256 differs); run prepare again to make it anew"
        )


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return one phrase per setting in which two recipes differ: ``data.seed is 1, asked 0``."""
    old, new = _flat(stored), _flat(asked)
    return [
        f"{k} is {old.get(k)!r}, asked {new.get(k)!r}"
        for k in sorted({*old, *new})
        if old.get(k) != new.get(k)
    ]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(
            _flat(value, f"{prefix}{key}.")
            if isinstance(value, Mapping)
            else {f"{prefix}{key}": value}
        )
    return flat
