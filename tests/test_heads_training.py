"""Stage 2 with every head: what trains, what it starts from, mean parameters, dropped rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multibodies import fitting
from multibodies.checkpoints import load_module, load_regressor
from multibodies.config import StageConfig, load_config
from multibodies.core.heads import mean_state
from multibodies.data.training_rows import open_source
from multibodies.errors import UserError
from multibodies.local import fit_local
from multibodies.training import build_stage2, learning_rate, regressor_spec
from training_samples import save_rows, save_stage1, tiny_config

pytestmark = pytest.mark.slow

SHIPPED = Path(fitting.__file__).parent / "assets" / "stage1"
AVERAGE = {"model.pooling": "average"}
LAYER5 = {**AVERAGE, "model.head": "layer5"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_rows(tmp_path_factory.mktemp("rows") / "data")


def _task(changes: dict[str, Any], rows: Path, start: Path | None, **more: Any) -> fitting.Task:
    stage: fitting.StageName = "stage1" if start is None else "stage2"
    return fitting.Task(tiny_config(changes), stage, rows, rows / "out", start, **more)


@pytest.mark.parametrize(
    "changes",
    [
        {"model.feedback": feedback, "model.rank": rank}
        for feedback in ("all", "mean")
        for rank in (0, 8)
    ],
    ids=str,
)
def test_the_shipped_stage_1_expands_to_every_stacked_head(changes: dict[str, Any]) -> None:
    few = {"stage2.num_hypotheses": 5, "stage2.spread": 0.0, "evaluation.n": [1]}
    config = load_config("embedded", {**changes, **few})
    stage1 = load_regressor(SHIPPED)
    fitting.check_spec(stage1.spec, regressor_spec(config.model, 1), SHIPPED)
    images = torch.rand(2, 3, 64, 64)
    many, one = build_stage2(stage1, config).eval()(images), stage1(images)
    assert many.beta.shape == (2, 5, 10)
    for mine, its in zip(many[:4], one[:4], strict=True):
        torch.testing.assert_close(mine, its.expand_as(mine), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "trained"),
    [
        ({**AVERAGE, "model.trains": "all"}, ("trunk.", "head.")),
        ({**AVERAGE, "model.trains": "head"}, ("head.",)),
        ({**AVERAGE, "model.trains": "widened"}, ("head.dec",)),
        ({**AVERAGE, "model.trains": "widened", "model.rank": 2}, ("head.dec",)),
        ({**LAYER5, "model.trains": "all"}, ("trunk.", "pooling.", "head.")),
        ({**LAYER5, "model.trains": "head"}, ("pooling.", "head.")),
        ({**LAYER5, "model.trains": "widened"}, ("pooling.widened.",)),
    ],
    ids=str,
)
def test_only_what_trains_changes_batch_norms_included(
    rows: Path, tmp_path: Path, changes: dict[str, Any], trained: tuple[str, ...]
) -> None:
    settings = {**changes, "stage2.steps": 2}
    start = save_stage1(tmp_path / "stage1", tiny_config(AVERAGE))
    task = _task(settings, rows, start)
    before = {k: x.clone() for k, x in fitting.build_state(task).model.state_dict().items()}
    weights = fit_local(
        task.config, "stage2", rows, tmp_path / "run", start_from=start, progress=False
    )
    after = load_module(weights)[0]
    changed = {name for name, x in before.items() if not torch.equal(x, after[name])}
    assert {name for name in before if name.startswith(trained)} - changed <= {"head.init_state"}
    assert all(name.startswith(trained) for name in changed)
    assert load_regressor(weights).spec.head == task.config.model.head


def test_a_stage_1_is_trained_as_hmr_whatever_the_head(rows: Path) -> None:
    for changes in (LAYER5, {**AVERAGE, "model.rank": 4}):
        spec = fitting.build_state(_task(changes, rows, None)).model.spec
        assert (spec.head, spec.rank, spec.num_hypotheses) == ("stacked", 0, 1)


def test_features_are_of_no_use_to_layer5() -> None:
    assert tiny_config({**AVERAGE, "model.trains": "widened"}).model.caches_features
    assert not tiny_config({**LAYER5, "model.trains": "widened"}).model.caches_features


def test_layer5_needs_average_pooling_and_has_no_rank() -> None:
    with pytest.raises(UserError, match=r"set model\.pooling to 'average'"):
        tiny_config({"model.head": "layer5"})
    with pytest.raises(UserError, match=r"model\.rank must be 0"):
        tiny_config({**LAYER5, "model.rank": 4})


def _mean_params(path: Path, scale: float = 0.7) -> Path:
    start = mean_state().numpy()
    cam = np.array([scale, 0.0, 0.1])
    np.savez(path, pose=start[:144], shape=np.ones(10), cam=cam)
    return path


def test_mean_params_are_the_start_and_part_of_the_checkpoint(rows: Path, tmp_path: Path) -> None:
    path = _mean_params(tmp_path / "mean.npz")
    settings = {"model.mean_params": str(path)}
    weights = fit_local(
        tiny_config(settings | {"stage1.fresh_rows": 0}), "stage1", rows, tmp_path / "one",
        progress=False,
    )  # fmt: skip
    expected = torch.tensor([*mean_state()[:144].tolist(), *[1.0] * 10, 0.7, 0.0, 0.1])
    torch.testing.assert_close(load_regressor(weights).head.init_state, expected)
    for changes in (settings, {}):
        model = fitting.build_state(_task(changes, rows, weights)).model
        torch.testing.assert_close(model.head.init_state, expected)
    other = _mean_params(tmp_path / "other.npz", 0.8)
    with pytest.raises(UserError, match=r"other mean parameters than .*other\.npz"):
        fitting.build_state(_task({"model.mean_params": str(other)}, rows, weights))


def test_the_recipe_counts_the_content_of_mean_params(rows: Path, tmp_path: Path) -> None:
    source, recipes = open_source(rows, "lab-train"), []
    (tmp_path / "moved").mkdir()
    for path in (
        _mean_params(tmp_path / "mean.npz"),
        _mean_params(tmp_path / "moved" / "mean.npz"),
        _mean_params(tmp_path / "other.npz", 0.8),
    ):
        recipes.append(
            fitting.recipe_of(_task({"model.mean_params": str(path)}, rows, None), source)
        )
    assert recipes[0] == recipes[1]
    assert recipes[0] != recipes[2]
    with pytest.raises(UserError, match=r"gone\.npz: cannot be read"):
        fitting.recipe_of(_task({"model.mean_params": "gone.npz"}, rows, None), source)


def test_the_rate_drops_to_a_tenth_at_an_epoch() -> None:
    stage = StageConfig(steps=100, learning_rate=2.0, drop_epoch=3)
    rates = [learning_rate(stage, step, 7) for step in range(40)]
    assert rates == pytest.approx([2.0] * 21 + [0.2] * 19)
    cosine = stage.model_copy(update={"cosine": True})
    plain = cosine.model_copy(update={"drop_epoch": 0})
    assert learning_rate(cosine, 20, 7) == learning_rate(plain, 20, 7)
    assert learning_rate(cosine, 21, 7) == pytest.approx(learning_rate(plain, 21, 7) / 10)


def test_a_training_drops_its_rate_after_whole_epochs(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """32 rows in batches of 8: epoch 1 begins with step 4."""
    seen: list[float] = []
    step = torch.optim.Adam.step

    def spy(self: torch.optim.Adam, *args: Any) -> Any:
        seen.append(self.param_groups[0]["lr"])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    flat = {"stage2.cosine": False, "stage2.warmup_steps": 0, "stage2.drop_epoch": 1}
    start = save_stage1(tmp_path / "stage1", tiny_config())
    fit_local(tiny_config(flat), "stage2", rows, tmp_path / "run", start_from=start, progress=False)
    assert seen == pytest.approx([0.01] * 4 + [0.001] * 2)
