"""The road of real data at the smallest size: look-alikes of SMPL and of every set, imported,
prepared, verified, mixed, trained on and scored by every protocol, as a cluster would.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibodies.cluster.prepare import sort_out
from multibodies.config import load_config
from multibodies.data.manifest import read_manifest
from multibodies.data.plan import make_plan
from multibodies.data.shards import read_split
from multibodies.data.sources.importer import SourceOptions
from multibodies.data.tasks import make_shard

ROOT = Path(__file__).parents[2]
PROFILE = "paper-smoke"
pytestmark = [pytest.mark.slow, pytest.mark.drill, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def dry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("paper")
    command = [sys.executable, "jobs/paper_dry_run.py", str(out), PROFILE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out


def test_every_set_and_protocol_is_scored(dry: Path) -> None:
    result = json.loads((dry / "table2" / "table2.json").read_text())
    assert {row["dataset"]: row["protocol"] for row in result["rows"]} == {
        "3dpw": "3dpw@1",
        "a3dpw": "a3dpw@1",
        "h36m": "h36m-p2@1",
        "h36m-p1": "h36m-p1@1",
        "ah36m": "ah36m@1",
    }
    assert {row["n"] for row in result["rows"]} == {1, 5, 10, 25}
    assert all(np.isfinite(row["mpjpe_mm"]) for row in result["rows"])


def test_the_mix_has_all_sets_and_knows_what_they_lack(dry: Path) -> None:
    manifest = read_manifest(dry / "data")
    trains = {split for split in manifest.splits if split.endswith("-train")}
    names = ("h36m", "mpii3d", "lsp", "lspet", "mpii", "coco")
    assert trains == {f"{name}-train" for name in names}
    known = {
        split: tuple(
            bool(np.all(read_split(dry / "data", split, [column])[column]))
            for column in ("has_2d", "has_3d", "has_smpl")
        )
        for split in ("h36m-train", "mpii3d-train", "lsp-train")
    }
    assert known == {
        "h36m-train": (True, True, True),
        "mpii3d-train": (True, True, False),
        "lsp-train": (True, False, False),
    }


def test_ambiguous_splits_show_the_same_people_by_other_crops(dry: Path) -> None:
    columns = ["image_id", "h36m17", "crop", "occlusion", "keypoints_2d"]
    plain, hidden = (
        read_split(dry / "data", f"{name}-test", columns) for name in ("3dpw", "a3dpw")
    )
    assert plain["image_id"].tolist() == hidden["image_id"].tolist()
    np.testing.assert_array_equal(plain["h36m17"], hidden["h36m17"])
    assert set(plain["occlusion"]) == {"none"} != set(hidden["occlusion"])
    for row, name in enumerate(hidden["occlusion"]):
        fewer = hidden["keypoints_2d"][row, :, 2].sum() < plain["keypoints_2d"][row, :, 2].sum()
        assert fewer == (name != "none")


def test_a_lost_shard_is_made_again_to_the_same_bytes(
    dry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MULTIBODIES_BODIES", str(dry / "bodies"))
    data = dry / "data" / "3dpw"
    config = load_config(PROFILE, {"data.source": "3dpw"})
    splits = list(read_manifest(data).splits)
    plan = make_plan(config, splits, 12, SourceOptions(str((dry / "sets/3dpw").resolve())))
    kept, todo = sort_out(plan, data)
    assert (len(kept), todo) == (len(plan.tasks), [])
    task = plan.tasks[-1]
    (data / task.name).unlink()
    assert sort_out(plan, data)[1] == [task]
    made = make_shard(task, plan.make, data, plan.recipe_of(task), plan.pictures)
    assert made == kept[task.name]


def test_the_run_says_that_it_is_no_experiment(dry: Path) -> None:
    page = (dry / "table2" / "table2.md").read_text()
    assert "look-alikes" in page or "paper-smoke" in page
    meta: dict[str, Any] = json.loads((dry / "table2" / "table2.json").read_text())
    assert meta["profile"] == PROFILE
