"""Cached features: what the trunk says, whole shards, and what stage 2 learns from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from model_samples import save_dataset
from multibodies import caching
from multibodies.caching import FeatureTask, feature_tasks, features_manifest, features_of
from multibodies.checkpoints import identity, load_module, load_regressor, save_module
from multibodies.cluster.features import cache_features
from multibodies.data.manifest import read_manifest, write_manifest
from multibodies.data.training_rows import open_source, read_rows
from multibodies.errors import UserError
from multibodies.local import fit_local
from training_samples import flip_byte, largest_difference, save_rows, save_stage1, tiny_config

pytestmark = pytest.mark.slow

SIZES = (8, 4, 6)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_rows(tmp_path_factory.mktemp("rows") / "data", SIZES)


def _cache(stage1: Path, rows: Path, out: Path, dtype: str) -> list[FeatureTask]:
    """Cache without Ray."""
    tasks = feature_tasks(stage1, rows, "lab-train", out, dtype, gpu=False)
    for task in tasks:
        if not task.done:
            task.run()
    write_manifest(out, features_manifest(read_manifest(rows), "lab-train", tasks))
    return tasks


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 1e-3)])
def test_features_are_the_trunks_one_image_at_a_time(
    rows: Path, stage1: Path, tmp_path: Path, dtype: str, tolerance: float
) -> None:
    _cache(stage1, rows, tmp_path, dtype)
    images = read_rows(open_source(rows, "lab-train"))
    cached = read_rows(open_source(tmp_path, "lab-train"))
    model = load_regressor(stage1)
    assert str(cached["features"].dtype) == f"torch.{dtype}"
    for image, features in zip(images["image"], cached["features"], strict=True):
        with torch.no_grad():
            pixels = image.permute(2, 0, 1)[None].float() / 255
            expected = model.pooled(pixels).features[0]
        torch.testing.assert_close(features.float(), expected, rtol=tolerance, atol=tolerance)
    for name in cached.keys() - {"features"}:
        assert torch.equal(cached[name], images[name]), name
    assert "image" not in cached


def test_a_head_learns_the_same_from_features_as_from_images(
    rows: Path, stage1: Path, tmp_path: Path
) -> None:
    _cache(stage1, rows, tmp_path / "features", "float32")
    config = tiny_config({"stage2.batch_size": 6})
    first, second = (
        fit_local(config, "stage2", data, out, start_from=stage1, progress=False)
        for data, out in ((rows, tmp_path / "a"), (tmp_path / "features", tmp_path / "b"))
    )
    assert largest_difference(first, second) < 2e-5


def test_whole_shards_are_kept_and_a_damaged_one_is_made_again(
    rows: Path, stage1: Path, tmp_path: Path
) -> None:
    tasks = _cache(stage1, rows, tmp_path, "float16")
    before = [Path(task.out).read_bytes() for task in tasks]
    flip_byte(Path(tasks[1].out))
    assert [task.done for task in tasks] == [True, False, True]
    with pytest.raises(UserError, match=r"part-00001\.parquet: shard is damaged"):
        open_source(tmp_path, "lab-train")
    tasks[1].run()
    assert [Path(task.out).read_bytes() for task in tasks] == before


def test_features_of_another_checkpoint_are_made_again_and_refused_in_training(
    rows: Path, stage1: Path, tmp_path: Path
) -> None:
    _cache(stage1, rows, tmp_path / "features", "float16")
    other = save_stage1(tmp_path / "other", tiny_config(), seed=1)
    tasks = feature_tasks(other, rows, "lab-train", tmp_path / "features", "float16", gpu=False)
    assert not any(task.done for task in tasks)
    with pytest.raises(UserError, match="features were made by another checkpoint"):
        data, out = tmp_path / "features", tmp_path / "run"
        fit_local(tiny_config(), "stage2", data, out, start_from=other, progress=False)


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_features_train_nothing_but_the_head(
    rows: Path, stage1: Path, tmp_path: Path, stage: str
) -> None:
    _cache(stage1, rows, tmp_path / "features", "float16")
    config = tiny_config({"model.trains": "head" if stage == "stage1" else "all"})
    with pytest.raises(UserError, match="train only the head"):
        fit_local(config, stage, tmp_path / "features", tmp_path / "run", start_from=stage1)  # type: ignore[arg-type]


def test_features_too_large_for_float16_are_refused(
    rows: Path, stage1: Path, tmp_path: Path
) -> None:
    state, meta = load_module(stage1)
    state["pooling.value.bias"] += 1e5
    save_module(tmp_path / "loud", state, meta)
    task = feature_tasks(tmp_path / "loud", rows, "lab-train", tmp_path / "out", "float16", False)[
        0
    ]
    with pytest.raises(UserError, match="not finite in float16; cache them as float32"):
        task.run()
    assert not Path(task.out).exists()


def test_the_manifest_tells_which_checkpoint_made_the_features(
    rows: Path, stage1: Path, tmp_path: Path
) -> None:
    _cache(stage1, rows, tmp_path, "float16")
    manifest, images = read_manifest(tmp_path), read_manifest(rows)
    assert manifest.recipe["features"] == {"checkpoint": identity(stage1), "dtype": "float16"}
    assert manifest.recipe["images"] == images.fingerprint != manifest.fingerprint
    assert [shard.rows for shard in manifest.shards("lab-train")] == list(SIZES)
    schema = pq.read_schema(tmp_path / "lab-train" / "part-00000.parquet")
    assert list(schema.field("features").type.shape) == manifest.columns["features"]["shape"]


def test_batches_of_images_do_not_bear_on_features(
    stage1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    model = load_regressor(stage1)
    whole = features_of(model, images)
    monkeypatch.setattr(caching, "BATCH", 2)
    np.testing.assert_allclose(features_of(model, images), whole, rtol=1e-5, atol=1e-6)


def test_an_unknown_dtype_is_refused(rows: Path, stage1: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dtype 'int8': expected float16 or float32"):
        cache_features(tiny_config(), stage1, rows, "lab-train", tmp_path, dtype="int8")


def test_a_checkpoint_of_another_network_is_refused(
    rows: Path, stage1: Path, tmp_path: Path
) -> None:
    config = tiny_config({"model.pooling": "average"})
    with pytest.raises(UserError, match="a network with pooling = keypoints"):
        cache_features(config, stage1, rows, "lab-train", tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_local")
def test_ray_writes_the_same_bytes(stage1: Path, tmp_path: Path) -> None:
    save_dataset(tmp_path / "data", {"lab-train": [4, 0, 4], "lab-val": [4]})
    alone = _cache(stage1, tmp_path / "data", tmp_path / "alone", "float16")
    config, out = tiny_config(), tmp_path / "out"
    made = cache_features(config, stage1, tmp_path / "data", "lab-train", out, progress=False)
    assert [task.rows for task in alone] == [4, 4]
    assert made == read_manifest(tmp_path / "alone") == read_manifest(out)
    again = cache_features(config, stage1, tmp_path / "data", "lab-train", out, progress=False)
    assert again == made
