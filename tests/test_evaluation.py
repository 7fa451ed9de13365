"""Shards inferred and scored one by one: what is written, what is skipped, what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from model_samples import SIZE, save_dataset, save_prior, save_regressor
from multibodies.checkpoints import load_prior, load_regressor, save_module
from multibodies.config import Config, load_config
from multibodies.core.body import load_body
from multibodies.errors import UserError
from multibodies.evaluation import (
    KINDS,
    InferTask,
    ScoreTask,
    collect_scores,
    infer_tasks,
    score_tasks,
)
from multibodies.hypotheses import read_hypotheses
from multibodies.inference import Inference, infer_images
from multibodies.scoring import Cell, score_hypotheses
from multibodies.sidecars import read_sidecar
from multibodies.truth import truth_from_rows

pytestmark = pytest.mark.slow

SPLIT, M = "wild-test", 4


class World:
    """A dataset of three shards, two checkpoints, two priors, and folders for what is made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data, self.hypotheses, self.scores = (
            root / "data",
            root / "hypotheses",
            root / "scores",
        )
        self.rows = save_dataset(self.data, {SPLIT: [3, 2, 1], "wild-val": [2], "lab-val": [0]})
        save_regressor(root / "model", M)
        save_prior(root / "prior")

    def config(self, **overrides: Any) -> Config:
        return load_config("embedded", {"evaluation.n": [1, 2, 4], "loss.ri": 0.5, **overrides})

    def infers(self, splits: str | list[str] = SPLIT, **overrides: Any) -> list[InferTask]:
        root, config = self.root, self.config(**overrides)
        return infer_tasks(
            config, self.data, root / "model", splits, self.hypotheses, prior=root / "prior"
        )

    def inferred(self) -> World:
        for task in self.infers():
            task.run()
        return self

    def scored(self, splits: str = SPLIT, **settings: Any) -> list[ScoreTask]:
        config = settings.pop("config", self.config())
        return score_tasks(config, self.data, self.hypotheses, splits, self.scores, **settings)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world")).inferred()


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    """A copy of the inferred world that a test may damage."""
    shutil.copytree(made.root, tmp_path / "world")
    copy = object.__new__(World)
    copy.__dict__ |= {**made.__dict__, "root": tmp_path / "world"}
    for name in ("data", "hypotheses", "scores"):
        setattr(copy, name, copy.root / name)
    return copy


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_hypotheses_of_every_shard_are_those_of_the_whole_split(world: World) -> None:
    parts = [read_hypotheses(task.out) for task in world.infers()]
    assert [len(part) for part in parts] == [3, 2, 1]
    assert all(read_sidecar(task.out)["seconds"] > 0 for task in world.infers())
    rows = world.rows[SPLIT]
    model = Inference(
        load_regressor(world.root / "model"), load_prior(world.root / "prior"), load_body()
    )
    whole = infer_images(model, rows["image_id"], rows["image"])
    assert sum((part.image_id for part in parts), ()) == whole.image_id
    for name, array in whole.arrays().items():
        together = np.concatenate([part.arrays()[name] for part in parts])
        np.testing.assert_allclose(together, array, rtol=1e-4, atol=1e-4)


def test_done_shards_are_known_and_only_what_changed_is_made_again(world: World) -> None:
    assert [task.done for task in world.infers()] == [True] * 3
    second = Path(world.infers()[1].out)
    second.unlink()
    assert [task.done for task in world.infers()] == [True, False, True]
    world.infers()[1].run()
    flip(second)
    assert [task.done for task in world.infers()] == [True, False, True]
    second.with_suffix(".json").unlink()
    assert [task.done for task in world.infers()] == [True, False, True]


@pytest.mark.parametrize("changed", ["model", "prior"])
def test_another_checkpoint_or_prior_is_another_recipe(world: World, changed: str) -> None:
    if changed == "model":
        save_regressor(world.root / "model", M, seed=1)
    else:
        save_prior(world.root / "prior", seed=1)
    before = read_hypotheses(world.infers()[0].out)
    assert [task.done for task in world.infers()] == [False] * 3
    world.infers()[0].run()
    after = read_hypotheses(world.infers()[0].out)
    assert np.array_equal(before.beta, after.beta) == (changed == "prior")
    assert not np.array_equal(before.log_density, after.log_density)


def test_settings_of_scoring_do_not_cost_an_inference(world: World) -> None:
    overrides: dict[str, Any] = {
        "evaluation.flow_weight": 0.25,
        "evaluation.n": [3],
        "evaluation.restarts": 2,
    }
    assert all(task.done for task in world.infers(**overrides))


def test_several_splits_go_together(world: World) -> None:
    tasks = world.infers([SPLIT, "wild-val"])
    assert [task.path for task in tasks][-2:] == [
        "wild-test/part-00002.parquet",
        "wild-val/part-00000.parquet",
    ]


@pytest.mark.parametrize(
    ("splits", "overrides", "message"),
    [
        ("wild-tset", {}, "no split 'wild-tset'; did you mean 'wild-test'"),
        ("lab-val", {}, "split 'lab-val' has no rows"),
        (SPLIT, {"evaluation.n": [1, 25]}, r"model: evaluation\.n asks for 25 of M = 4 hypotheses"),
    ],
)
def test_impossible_inferences_are_refused_first(
    world: World, splits: str, overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        world.infers(splits, **overrides)


def test_missing_inputs_are_named(world: World) -> None:
    shutil.rmtree(world.root / "prior")
    with pytest.raises(UserError, match=r"prior/weights\.safetensors: no such checkpoint"):
        world.infers()
    (world.data / "manifest.json").unlink()
    save_prior(world.root / "prior")
    with pytest.raises(UserError, match=r"manifest\.json: no such file"):
        world.infers()


def test_a_damaged_shard_is_refused_by_name_and_nothing_is_written(world: World) -> None:
    flip(world.data / SPLIT / "part-00001.parquet")
    shutil.rmtree(world.hypotheses)
    world.infers()[0].run()
    with pytest.raises(UserError, match=r"part-00001\.parquet: shard is damaged"):
        world.infers()[1].run()
    written = [path.name for path in (world.hypotheses / SPLIT).iterdir()]
    assert sorted(written) == ["part-00000.json", "part-00000.parquet"]


def test_a_network_that_gives_nan_is_refused_by_image(world: World) -> None:
    model = load_regressor(world.root / "model")
    with torch.no_grad():
        model.head.decshape.bias[0] = torch.nan
    save_module(world.root / "model", model.state_dict(), {"spec": model.spec.to_json()})
    shutil.rmtree(world.hypotheses)
    with pytest.raises(
        UserError, match=r"part-00000\.parquet: '\w+' of image 'wild-test-00000000' is not finite"
    ):
        world.infers()[0].run()
    assert not world.hypotheses.exists()


def test_scores_of_shards_are_those_of_the_whole_split(world: World) -> None:
    tasks = world.scored(flow_weights=(0.0, 1.0))
    for task in tasks:
        task.run()
    assert all(task.done for task in tasks)
    scores = collect_scores(tasks)
    parts = [read_hypotheses(task.out) for task in world.infers()]
    rows = {name: np.asarray(column) for name, column in world.rows[SPLIT].items()}
    truth = truth_from_rows(rows, "wild", SIZE, "rows")
    arrays = {n: np.concatenate([p.arrays()[n] for p in parts]) for n in parts[0].arrays()}
    whole = replace(parts[0], image_id=truth.image_id, **arrays)
    config = world.config()
    expected = score_hypotheses(whole, truth, config.evaluation, (0.0, 1.0), Cell(0, 0.5))
    for kind in KINDS:
        keys = [(k, "ascending") for k in ("image_id", "flow_weight")]
        keys += [("n", "ascending")] if kind == "records" else []
        assert getattr(scores, kind).sort_by(keys).equals(getattr(expected, kind).sort_by(keys))


def test_the_configuration_says_the_default_flow_weight_and_the_cell(world: World) -> None:
    config = world.config(**{"evaluation.flow_weight": 0.25, "stage2.seed": 3})
    task = world.scored(config=config)[2]
    task.run()
    record = pq.ParquetFile(task.part("records")).read().to_pylist()[0]
    assert (record["flow_weight"], record["seed"], record["lambda_ri"]) == (0.25, 3, 0.5)
    assert record["dataset"] == "wild"


def test_another_prior_rescores_the_stored_parameters(world: World) -> None:
    other = save_prior(world.root / "other", seed=5)
    plain, rescored = world.scored()[0], world.scored(prior=world.root / "other")[0]
    assert plain.recipe != rescored.recipe
    same = world.scored(prior=world.root / "prior")[0]
    assert np.array_equal(same.stored().log_density, plain.stored().log_density)
    rows = world.rows[SPLIT]
    model = Inference(load_regressor(world.root / "model"), other, load_body())
    expected = infer_images(model, rows["image_id"][:3], rows["image"][:3])
    np.testing.assert_allclose(
        rescored.stored().log_density, expected.log_density, rtol=1e-4, atol=1e-2
    )


def test_impossible_scorings_are_refused_first(world: World) -> None:
    with pytest.raises(UserError, match=r"part-00000\.parquet: .*asks for 25 of M = 4"):
        world.scored(config=world.config(**{"evaluation.n": [25]}))
    with pytest.raises(UserError, match=r"wild-val/part-00000\.parquet: no such file"):
        world.scored("wild-val")
    flip(world.hypotheses / SPLIT / "part-00001.parquet")
    with pytest.raises(UserError, match=r"hypotheses/wild-test/part-00001\.parquet: damaged"):
        world.scored()
    assert not world.scores.exists()


def test_changed_hypotheses_are_scored_again(world: World) -> None:
    for task in world.scored():
        task.run()
    save_regressor(world.root / "model", M, seed=1)
    world.infers()[0].run()
    assert [task.done for task in world.scored()] == [False, True, True]


def test_images_without_3d_truth_are_named(tmp_path: Path) -> None:
    world = object.__new__(World)
    world.root, world.data = tmp_path, tmp_path / "data"
    world.hypotheses, world.scores = tmp_path / "hypotheses", tmp_path / "scores"
    save_dataset(world.data, {SPLIT: [2]}, scored=False)
    save_regressor(tmp_path / "model", M)
    save_prior(tmp_path / "prior")
    world.inferred()
    with pytest.raises(UserError, match="image 'wild-test-00000001' has no 3D truth"):
        world.scored()[0].run()
