"""`prepare` on Ray: whole shards, resumed after a kill to the same bytes, bad rows set apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from multibodies.cluster.prepare import prepare, write_dataset
from multibodies.config import load_config
from multibodies.data.manifest import verify
from multibodies.data.shards import read_split, shard_paths
from multibodies.data.sources.importer import SourceOptions
from multibodies.data.tasks import Made, RowMaker, ShardTask
from multibodies.errors import UserError
from multibodies.files import sha256
from row_samples import SIDE, annotation, sample_plan, sample_rows, write_coco

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_local")]
ROWS = {"lab-train": 10, "lab-val": 3}
REAL = Path(__file__).parents[2] / "../shared/real/coco"


def contents(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a dataset."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def failing_on(split: str, index: int) -> RowMaker:
    """Return a maker that stops at one shard, as a full disk would."""

    def make(task: ShardTask) -> Made:
        if (task.split, task.index) == (split, index):
            raise UserError(f"{task.name}: no space left on the disk")
        import row_samples

        return row_samples.sample_maker(task)

    return make


def spoiling(every: int) -> RowMaker:
    """Return a maker of which each `every`-th row has NaN keypoints."""

    def make(task: ShardTask) -> Made:
        import row_samples

        rows = row_samples.sample_rows(task.count, task.start, task.split)
        for row in range(task.count):
            if (task.start + row) % every == 0:
                rows["keypoints_2d"][row] = float("nan")
        return rows, []

    return make


def test_a_dataset_holds_its_rows_in_order(tmp_path: Path) -> None:
    manifest = write_dataset(sample_plan(ROWS, 4), tmp_path, progress=False)
    assert {split: [s.rows for s in shards] for split, shards in manifest.splits.items()} == {
        "lab-train": [4, 4, 2],
        "lab-val": [3],
    }
    assert manifest.counts["lab-train"].strategies == {
        "arms_head": 3,
        "head": 2,
        "legs": 2,
        "none": 3,
    }
    assert verify(tmp_path) == manifest
    for split, count in ROWS.items():
        expected = sample_rows(count, split=split)
        for name, values in read_split(tmp_path, split).items():
            np.testing.assert_array_equal(values, np.array(expected[name], values.dtype))


def test_ray_data_reads_the_shards_with_their_shapes(tmp_path: Path, ray_local: Any) -> None:
    write_dataset(sample_plan({"lab-val": 5}, 3), tmp_path, progress=False)
    paths = [str(path) for path in shard_paths(tmp_path, "lab-val")]
    data = ray_local.data.read_parquet(paths, partitioning=None)
    (batch,) = data.iter_batches(batch_size=5, batch_format="numpy")
    order = np.argsort(batch["image_id"])
    expected = sample_rows(5, split="lab-val")
    for name in ("image", "theta", "camera", "has_3d"):
        np.testing.assert_array_equal(batch[name][order], np.asarray(expected[name]))


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    write_dataset(sample_plan(ROWS, 2), tmp_path / "whole", progress=False)
    broken = sample_plan(ROWS, 2, failing_on("lab-val", 0))
    with pytest.raises(UserError, match=r"lab-val/part-00000\.parquet: no space left"):
        write_dataset(broken, tmp_path / "stopped", progress=False)
    assert not (tmp_path / "stopped/manifest.json").exists()
    shards = sorted((tmp_path / "stopped").rglob("*.parquet"))
    before = {path: path.stat().st_mtime_ns for path in shards}
    assert before
    write_dataset(sample_plan(ROWS, 2), tmp_path / "stopped", progress=False)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_spoiled_shards_are_made_again_and_the_others_kept(tmp_path: Path) -> None:
    manifest = write_dataset(sample_plan(ROWS, 4), tmp_path, progress=False)
    whole = contents(tmp_path)
    first, second, third = shard_paths(tmp_path, "lab-train")
    first.write_bytes(first.read_bytes()[:100])
    second.with_suffix(".json").unlink()
    kept = third.stat().st_mtime_ns
    assert write_dataset(sample_plan(ROWS, 4), tmp_path, progress=False) == manifest
    assert contents(tmp_path) == whole
    assert third.stat().st_mtime_ns == kept


def test_splits_may_be_prepared_one_after_the_other(tmp_path: Path) -> None:
    write_dataset(sample_plan({"lab-val": 3}, 4), tmp_path / "two", progress=False)
    write_dataset(sample_plan({"lab-train": 10}, 4), tmp_path / "two", progress=False)
    write_dataset(sample_plan(ROWS, 4), tmp_path / "one", progress=False)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_recipe_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    write_dataset(sample_plan({"lab-val": 3}, 4), tmp_path, progress=False)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"holds another dataset: data\.seed is 0, asked 1"):
        write_dataset(sample_plan({"lab-val": 3}, 4, seed=1), tmp_path, progress=False)
    assert contents(tmp_path) == before


def test_a_few_bad_rows_go_to_quarantine_and_are_counted(tmp_path: Path) -> None:
    plan = sample_plan({"lab-train": 30, "lab-val": 20}, 12, spoiling(25))
    manifest = write_dataset(plan, tmp_path, max_quarantined=0.08, progress=False)
    counts = {split: (c.rows, c.quarantined) for split, c in manifest.counts.items()}
    assert counts == {"lab-train": (28, 2), "lab-val": (19, 1)}
    refused = [
        row for t in manifest.quarantine for row in pq.read_table(tmp_path / t.path).to_pylist()
    ]
    assert sorted((row["split"], row["row"]) for row in refused) == [
        ("lab-train", 0),
        ("lab-train", 25),
        ("lab-val", 0),
    ]
    assert {row["reason"] for row in refused} == {"keypoints_2d: NaN or infinite value"}
    rows = read_split(tmp_path, "lab-train", ["frame"])["frame"]
    assert sorted(rows) == [i for i in range(30) if i % 25]


def test_too_many_bad_rows_stop_it_and_name_the_table(tmp_path: Path) -> None:
    message = (
        r"quarantine/part-lab-val-0000\d\.parquet: \d+ of 20 rows refused, more than 5%, "
        "such as 'keypoints_2d: NaN or infinite value'"
    )
    with pytest.raises(UserError, match=message):
        write_dataset(sample_plan({"lab-val": 20}, 5, spoiling(4)), tmp_path, progress=False)
    assert not (tmp_path / "manifest.json").exists()


DRIVER = """
import sys, time
from pathlib import Path
import row_samples
from multibodies.cluster.prepare import write_dataset
def slow(task):
    time.sleep(0.0 if task.index < 2 else 60.0)
    return row_samples.sample_maker(task)
import ray
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
         _node_ip_address="127.0.0.1")
write_dataset(row_samples.sample_plan({"lab-train": 10}, 2, slow), Path(sys.argv[1]))
"""


@pytest.mark.drill
def test_a_killed_process_leaves_whole_shards_that_the_next_run_keeps(tmp_path: Path) -> None:
    out = tmp_path / "killed"
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(out)], stderr=subprocess.DEVNULL, start_new_session=True
    )
    done = out / "lab-train/part-00001.json"
    try:
        for _ in range(2400):
            if done.exists() or driver.poll() is not None:
                break
            time.sleep(0.1)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    assert done.exists()
    kept = (out / "lab-train/part-00001.parquet").stat().st_mtime_ns
    (out / "lab-train/part-00002.parquet.99.tmp").write_bytes(b"PAR1 half")
    write_dataset(sample_plan({"lab-train": 10}, 2), out, progress=False)
    write_dataset(sample_plan({"lab-train": 10}, 2), tmp_path / "whole", progress=False)
    assert contents(out) == contents(tmp_path / "whole")
    assert (out / "lab-train/part-00001.parquet").stat().st_mtime_ns == kept


def test_progress_tells_rows_and_what_was_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(sample_plan({"lab-val": 4}, 2), tmp_path)
    assert "prepare: 4 rows in" in capsys.readouterr().err
    write_dataset(sample_plan({"lab-val": 4}, 2), tmp_path)
    assert capsys.readouterr().err == "prepare: 2 whole shards kept, 0 to make\n"


def test_coco_goes_through_prepare(tmp_path: Path) -> None:
    people = [annotation(k, image_id=1 + k % 2) for k in range(1, 6)]
    people += [annotation(6, iscrowd=1)]
    source = SourceOptions(str(write_coco(tmp_path / "coco", people, images=2)))
    config = load_config(
        "smoke",
        {
            "data.source": "coco",
            "data.image_size": SIDE,
            "data.rows_per_shard": 2,
            "data.occlusion_share": 0.0,
        },
    )
    (tmp_path / "coco/000000000002.png").rename(tmp_path / "away.png")
    with pytest.raises(UserError, match=r"of 5 rows refused.*000000000002\.png: no such image"):
        prepare(config, tmp_path / "out", source=source, progress=False)
    (tmp_path / "away.png").rename(tmp_path / "coco/000000000002.png")
    manifest = prepare(config, tmp_path / "out", source=source, progress=False)
    assert (manifest.source, manifest.rows) == ("coco", 5)
    assert manifest.skipped["coco-train"] == {"crowd": 1, "few_visible": 0}
    rows = read_split(tmp_path / "out", "coco-train")
    assert sorted(rows["image_id"]) == sorted(f"coco-{1 + k % 2:012d}-{k}" for k in range(1, 6))
    assert not rows["has_3d"].any()


@pytest.mark.skipif(not REAL.is_dir(), reason="the four real COCO photographs are not here")
@pytest.mark.parametrize(("min_visible", "expected"), [(12, 7), (1, 12)])
def test_real_photographs_go_through_prepare(
    tmp_path: Path, min_visible: int, expected: int
) -> None:
    config = load_config("smoke", {"data.source": "coco", "data.occlusion_share": 0.0})
    source = SourceOptions(str(REAL), min_visible=min_visible)
    manifest = prepare(config, tmp_path, source=source, progress=False)
    assert (manifest.rows, manifest.quarantine) == (expected, ())
    rows = read_split(tmp_path, "coco-train")
    assert rows["image"].shape == (expected, 64, 64, 3)
    assert (rows["keypoints_2d"][..., 2].sum(1) >= min_visible).all()


def test_rendered_data_go_through_prepare(tmp_path: Path) -> None:
    config = load_config("smoke", {"data.image_size": SIDE, "data.rows_per_shard": 2})
    splits = ["wild-val", "awild-val"]
    manifest = prepare(config, tmp_path, splits, limit=3, progress=False)
    assert {split: counts.rows for split, counts in manifest.counts.items()} == dict.fromkeys(
        splits, 3
    )
    scenes = [read_split(tmp_path, split, ["theta"])["theta"] for split in splits]
    np.testing.assert_array_equal(scenes[0], scenes[1])
