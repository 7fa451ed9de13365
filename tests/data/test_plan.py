"""Plans and folders: what is asked is checked before anything is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multibodies.config import AMBIGUOUS, SPLITS, load_config
from multibodies.core.body_arrays import load_body
from multibodies.data.folder import claim, owned
from multibodies.data.plan import make_plan
from multibodies.data.sources.importer import SourceOptions
from multibodies.errors import UserError
from row_samples import SIDE, annotation, sample_plan, write_coco

COCO = load_config("smoke", {"data.source": "coco", "data.rows_per_shard": 2})


def test_all_splits_are_planned_with_their_rows() -> None:
    plan = make_plan(load_config("smoke"))
    rows: dict[str, int] = {}
    for task in plan.tasks:
        rows[task.split] = rows.get(task.split, 0) + task.count
    assert tuple(rows) == SPLITS + AMBIGUOUS
    assert rows == dict.fromkeys(rows, 32) | {"lab-train": 256}
    assert plan.rows == 256 + 8 * 32
    assert plan.recipe["body_sha256"] == load_body().sha256


def test_a_limit_caps_every_split_and_is_part_of_the_recipe() -> None:
    config = load_config("smoke")
    plan = make_plan(config, ["wild-val", "lab-train", "wild-val"], 40)
    assert [(t.split, t.count) for t in plan.tasks] == [("wild-val", 32), ("lab-train", 40)]
    assert plan.fingerprint != make_plan(config, ["wild-val"]).fingerprint


def test_splits_do_not_change_the_recipe_but_every_data_setting_does() -> None:
    config = load_config("smoke")
    recipe = make_plan(config).fingerprint
    assert make_plan(config, ["wild-val"]).fingerprint == recipe
    for key, value in {"data.seed": 1, "data.image_size": 32, "data.clutter": 0.1}.items():
        assert make_plan(load_config("smoke", {key: value})).fingerprint != recipe
    assert make_plan(load_config("smoke", {"loss.ri": 0.0})).fingerprint == recipe


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"splits": ["lab-tran"]}, "unknown split 'lab-tran'; did you mean 'lab-train'"),
        ({"limit": 0}, "limit is 0; expected at least 1"),
        ({"source": SourceOptions("x.json")}, "data.source is 'embedded'; name its set"),
    ],
)
def test_impossible_requests_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(load_config("smoke"), **arguments)


def test_a_missing_body_is_refused(tmp_path: Path) -> None:
    config = load_config("smoke", {"body.path": str(tmp_path / "absent.npz")})
    with pytest.raises(UserError, match=r"absent\.npz: cannot read the body model"):
        make_plan(config)


def source_of(path: Path | str, **changes: Any) -> SourceOptions:
    return SourceOptions(str(path), **changes)


def test_persons_are_spread_over_shards(tmp_path: Path) -> None:
    path = write_coco(tmp_path, [annotation(k) for k in range(1, 6)])
    plan = make_plan(COCO, source=source_of(tmp_path))
    assert [(t.name, [p.start for p in t.pieces]) for t in plan.tasks] == [
        ("coco-train/part-00000.parquet", [0]),
        ("coco-train/part-00001.parquet", [2]),
        ("coco-train/part-00002.parquet", [4]),
    ]
    assert make_plan(COCO, ["coco-train"], 3, source_of(path)).rows == 3
    path.write_text(path.read_text() + " ")
    again = make_plan(COCO, source=source_of(path))
    assert again.fingerprint == plan.fingerprint
    assert again.recipe_of(again.tasks[0]) != plan.recipe_of(plan.tasks[0])


@pytest.mark.parametrize(
    ("splits", "source", "message"),
    [
        (None, None, "no files are given; name them: --root"),
        (["lab-train"], source_of("."), "unknown split 'lab-train'; did you mean 'coco-train'"),
        (["../up"], source_of("."), "unknown split '../up'"),
        (None, source_of(".", min_visible=13), "no person has 13 of keypoints 5..16 labelled"),
    ],
)
def test_impossible_imports_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    splits: list[str] | None,
    source: SourceOptions | None,
    message: str,
) -> None:
    write_coco(tmp_path, [annotation(1)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        make_plan(COCO, splits, source=source)


def test_occluded_versions_of_splits_are_planned_with_the_same_records(tmp_path: Path) -> None:
    write_coco(tmp_path, [annotation(k) for k in range(1, 4)])
    plan = make_plan(COCO, ["coco-train", "acoco-train"], source=source_of(tmp_path))
    pieces = {split: [t.pieces for t in plan.tasks if t.split == split] for split in plan.labels}
    assert pieces["coco-train"] == pieces["acoco-train"]


def test_a_folder_gets_further_splits_but_no_other_labels(tmp_path: Path) -> None:
    recipe = {"schema_version": 2, "limit": None}
    claim(tmp_path, recipe, {"3dpw-test": {"sha256": "a"}})
    both = claim(tmp_path, recipe, {"3dpw-val": {"sha256": "b"}})
    assert both["labels"] == {"3dpw-test": {"sha256": "a"}, "3dpw-val": {"sha256": "b"}}
    assert claim(tmp_path, recipe, {"3dpw-val": {"sha256": "b"}}) == both
    with pytest.raises(UserError, match=r"labels\.3dpw-test\.sha256 is 'a', asked 'c'"):
        claim(tmp_path, recipe, {"3dpw-test": {"sha256": "c"}})


def test_a_folder_of_another_recipe_is_refused_with_what_differs(tmp_path: Path) -> None:
    claim(tmp_path, sample_plan({}, 4, seed=0).recipe)
    claim(tmp_path, sample_plan({}, 4, seed=0).recipe)
    asked = sample_plan({}, 8, seed=5).recipe
    with pytest.raises(UserError, match=r"data\.rows_per_shard is 4, asked 8; data\.seed is 0, as"):
        claim(tmp_path, asked)


def test_a_folder_of_another_schema_version_is_refused(tmp_path: Path) -> None:
    recipe = sample_plan({}, 4).recipe
    (tmp_path / "recipe.json").write_text(json.dumps({**recipe, "schema_version": 99}))
    with pytest.raises(UserError, match="schema_version is 99, asked 2"):
        claim(tmp_path, recipe)


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="not empty and no dataset"):
        claim(tmp_path, sample_plan({}, SIDE).recipe)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with owned(tmp_path), pytest.raises(UserError, match="another prepare is writing here"):
        owned(tmp_path).__enter__()
    with owned(tmp_path):
        assert tmp_path.is_dir()


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    half = tmp_path / "data/lab-val/part-00000.parquet.123.tmp"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"PAR1")
    with owned(tmp_path / "data"):
        assert not half.exists()


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot make this folder"), owned(tmp_path / "file"):
        pass
