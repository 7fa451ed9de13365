"""The manifest: what it says is checked against the bytes on the disk before anything trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multibodies.config import DataConfig
from multibodies.data.manifest import (
    Counts,
    Manifest,
    build_manifest,
    differences,
    read_manifest,
    verify,
    write_manifest,
)
from multibodies.data.schema import SCHEMA_VERSION, table_from_rows
from multibodies.data.shards import shard_name, write_shard
from multibodies.errors import UserError
from row_samples import SIDE, sample_rows

RECIPE: dict[str, Any] = {
    "schema_version": SCHEMA_VERSION,
    "data": DataConfig(image_size=SIDE, seed=3).model_dump(mode="json"),
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    shards = [
        write_shard(
            tmp_path, shard_name("lab-val", i), table_from_rows(sample_rows(2, 2 * i), SIDE)
        )
        for i in range(2)
    ]
    counts = {"lab-val": Counts(rows=4, strategies={"none": 4})}
    write_manifest(tmp_path, build_manifest(RECIPE, {"lab-val": shards}, counts))
    return tmp_path


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_it_is_read_back_as_written(dataset: Path) -> None:
    manifest = verify(dataset)
    assert (manifest.source, manifest.seed, manifest.image_size) == ("embedded", 3, SIDE)
    assert [(s.path, s.rows) for s in manifest.shards("lab-val")] == [
        ("lab-val/part-00000.parquet", 2),
        ("lab-val/part-00001.parquet", 2),
    ]
    assert manifest.rows == 4
    assert manifest.columns["theta"]["unit"] == "radians, axis-angle"
    write_manifest(dataset, manifest)
    assert read_manifest(dataset) == manifest


@pytest.mark.parametrize("place", [0, 0.3, 0.7, 0.999])
def test_one_flipped_bit_names_the_shard(dataset: Path, place: float) -> None:
    path = dataset / "lab-val/part-00001.parquet"
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"lab-val/part-00001\.parquet: shard is damaged"):
        verify(dataset)


def test_a_missing_shard_is_named(dataset: Path) -> None:
    (dataset / "lab-val/part-00000.parquet").unlink()
    with pytest.raises(UserError, match=r"part-00000\.parquet: shard is missing"):
        verify(dataset, ["lab-val"])


def test_only_the_asked_splits_are_hashed(dataset: Path) -> None:
    (dataset / "lab-val/part-00000.parquet").unlink()
    assert verify(dataset, []).rows == 4


def test_another_schema_version_is_refused(dataset: Path) -> None:
    edit(dataset, schema_version=SCHEMA_VERSION + 1)
    with pytest.raises(UserError, match=f"schema version {SCHEMA_VERSION + 1}, this program reads"):
        read_manifest(dataset)


def test_an_unfinished_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no finished dataset"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", ["", '{"schema_version": 1, "spl', "[1]", "\x00\x01"])
def test_a_torn_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json: .*(JSON|object)"):
        read_manifest(tmp_path)


def shard(path: str = "lab-val/part-00000.parquet", rows: int = 4, sha256: str = "a" * 64) -> Any:
    return {"path": path, "rows": rows, "sha256": sha256}


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"lab-val": [shard(rows=3)]}, "the counts of split 'lab-val' disagree"),
        ({"lab-val": [shard(rows=2), shard(rows=2)]}, "a shard is listed twice"),
        ({"lab-val": [shard("../other/part-00000.parquet")]}, "leads out of the dataset"),
        ({"lab-val": [shard("/etc/part-00000.parquet")]}, "leads out of the dataset"),
        ({"lab-val": [shard(sha256="12")]}, r"splits\.lab-val\.0\.sha256"),
        ({"wild-val": [shard()]}, "the counts of split 'wild-val' disagree"),
        ({"lab-val": [{"path": "x"}]}, r"splits\.lab-val\.0\.rows"),
    ],
)
def test_an_inconsistent_manifest_is_refused(dataset: Path, splits: Any, message: str) -> None:
    edit(dataset, splits=splits)
    with pytest.raises(UserError, match=message):
        read_manifest(dataset)


def test_an_unknown_split_names_the_nearest(dataset: Path) -> None:
    with pytest.raises(UserError, match="no split 'lab-vl'; did you mean 'lab-val'"):
        verify(dataset, ["lab-vl"])


def test_recipes_differ_by_dotted_name() -> None:
    stored = {"schema_version": 1, "data": {"seed": 0, "clutter": 0.5}, "limit": None}
    asked = {"schema_version": 1, "data": {"seed": 1, "clutter": 0.5}, "limit": 3, "coco": {"x": 1}}
    assert differences(stored, asked) == [
        "coco.x is None, asked 1",
        "data.seed is 0, asked 1",
        "limit is None, asked 3",
    ]
    assert differences(stored, stored) == []


def test_the_fingerprint_follows_the_recipe() -> None:
    def made(**data: Any) -> Manifest:
        return build_manifest({**RECIPE, "data": RECIPE["data"] | data}, {}, {})

    assert made().fingerprint == made().fingerprint
    assert made(seed=4).fingerprint != made().fingerprint
