"""The training loop, alone and on one device: schedules, batches, resuming, refusals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from multibodies import fitting, local, runs, states
from multibodies.checkpoints import load_module, load_regressor, read_meta
from multibodies.config import StageConfig
from multibodies.core.body import load_body
from multibodies.data.training_rows import batch_of, open_source, read_rows
from multibodies.errors import UserError
from multibodies.local import fit_local
from multibodies.recorder import Recorder
from multibodies.stage1 import ship
from multibodies.training import (
    Forward,
    TrainingState,
    build_objective,
    epoch_batches,
    learning_rate,
    optimizer_tensors,
    restore_optimizer,
    train,
    train_step,
)
from training_samples import (
    flip_byte,
    golden_config,
    golden_curve,
    largest_difference,
    render_in_a_thread,
    save_rows,
    save_stage1,
    tiny_config,
)

pytestmark = pytest.mark.slow


def _state(**changes: Any) -> tuple[fitting.Task, TrainingState]:
    task = fitting.Task(tiny_config(changes), "stage1", Path("data"), Path("out"))
    return task, fitting.build_state(task)


def test_learning_rate_warms_up_then_follows_half_a_cosine() -> None:
    stage = StageConfig(steps=100, learning_rate=2.0, warmup_steps=4, cosine=True)
    assert learning_rate(stage, 0) == pytest.approx(0.5)
    assert learning_rate(stage, 1) == pytest.approx(1.0 * (1 + math.cos(math.pi / 100)) / 2)
    assert learning_rate(stage, 50) == pytest.approx(1.0)
    assert learning_rate(stage, 100) == pytest.approx(0.0)
    assert learning_rate(StageConfig(steps=100, learning_rate=2.0), 77) == 2.0


@pytest.mark.parametrize("world", [1, 2, 4])
def test_any_number_of_workers_sees_the_same_global_batches(world: int) -> None:
    data = {"x": torch.arange(26)}
    alone = epoch_batches(data, 8, seed=3)(0)
    shares = [epoch_batches(data, 8, 3, rank, world)(0) for rank in range(world)]
    for _ in range(7):
        parts = [next(share)["x"] for share in shares]
        assert {len(part) for part in parts} == {8 // world}
        assert sorted(torch.cat(parts).tolist()) == sorted(next(alone)["x"].tolist())


def test_an_epoch_sees_no_row_twice_and_epochs_differ() -> None:
    batches = epoch_batches({"x": torch.arange(24)}, 8, seed=0)(0)
    epochs = [torch.cat([next(batches)["x"] for _ in range(3)]).tolist() for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(24))
    assert epochs[0] != epochs[1]


def test_batches_from_a_later_step_are_those_of_a_run_from_the_start() -> None:
    make = epoch_batches({"x": torch.arange(20)}, 6, seed=1)
    whole = make(0)
    expected = [next(whole)["x"].tolist() for _ in range(9)]
    resumed = make(4)
    assert [next(resumed)["x"].tolist() for _ in range(5)] == expected[4:]


def test_optimizer_state_survives_the_way_through_named_tensors() -> None:
    layer, twin = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    twin.load_state_dict(layer.state_dict())
    first, second = (torch.optim.Adam(m.parameters(), lr=0.1) for m in (layer, twin))
    layer(torch.ones(1, 3)).sum().backward()
    first.step()
    twin.load_state_dict(layer.state_dict())
    restore_optimizer(second, {k: v.clone() for k, v in optimizer_tensors(first).items()})
    for optimizer, module in ((first, layer), (second, twin)):
        optimizer.zero_grad()
        module(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
    assert torch.equal(layer.weight, twin.weight)


def test_a_frozen_trunk_keeps_weights_and_statistics(
    rows: Path, stage1: Path, tmp_path: Path
) -> None:
    weights = fit_local(tiny_config(), "stage2", rows, tmp_path, start_from=stage1, progress=False)
    before, after = load_module(stage1)[0], load_module(weights)[0]
    for name, tensor in before.items():
        if not name.startswith("head."):
            assert torch.equal(tensor, after[name]), name
    assert not torch.equal(before["head.fc2.weight"], after["head.fc2.weight"])
    assert load_regressor(weights).spec.num_hypotheses == 3


def test_an_unfrozen_trunk_learns(rows: Path, stage1: Path, tmp_path: Path) -> None:
    config = tiny_config({"model.trains": "all", "stage2.steps": 1})
    weights = fit_local(config, "stage2", rows, tmp_path, start_from=stage1, progress=False)
    before, after = load_module(stage1)[0], load_module(weights)[0]
    assert not torch.equal(before["trunk.conv1.weight"], after["trunk.conv1.weight"])


def test_a_loss_that_is_not_finite_never_reaches_the_weights(rows: Path) -> None:
    task, state = _state()
    batch = read_rows(open_source(rows, "lab-train"))
    batch["theta"][0, 3] = float("nan")
    objective = build_objective(load_body(), task.config.loss)
    before = {name: tensor.clone() for name, tensor in state.model.named_parameters()}
    with pytest.raises(FloatingPointError, match="not finite: theta, vertices"):
        train_step(Forward(state.model), objective, state.optimizer, batch, 0.1)
    assert all(torch.equal(before[name], p) for name, p in state.model.named_parameters())


def test_rows_with_2d_keypoints_alone_train_the_camera_and_give_finite_losses(rows: Path) -> None:
    task, state = _state()
    batch = read_rows(open_source(rows, "lab-train"))
    batch["has_3d"][:], batch["has_smpl"][:] = False, False
    objective = build_objective(load_body(), task.config.loss)
    outcome = train_step(Forward(state.model), objective, state.optimizer, batch, 0.01)
    for name in ("best", "theta", "beta", "vertices"):
        assert float(outcome.terms[name].detach().abs().max()) == 0, name
    assert float(outcome.terms["rb"].detach().min()) > 0
    assert all(torch.isfinite(p).all() for p in state.model.parameters())


class _Killed(Exception):
    pass


def _kill_after(monkeypatch: pytest.MonkeyPatch, saves: int) -> None:
    """Let a local training die right after so many checkpoints."""
    save, left = local._save, [saves]

    def save_and_die(folder: Path, recipe: dict[str, Any], state: TrainingState) -> None:
        save(folder, recipe, state)
        left[0] -= 1
        if left[0] == 0:
            raise _Killed

    monkeypatch.setattr(local, "_save", save_and_die)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_killed_training_ends_like_an_undisturbed_one(
    rows: Path, stage1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    config = tiny_config({"model.dropout": dropout})
    start = stage1 if dropout == 0 else save_stage1(tmp_path / "stage1", config)
    calm = fit_local(config, "stage2", rows, tmp_path / "calm", start_from=start, progress=False)
    with monkeypatch.context() as patch:
        _kill_after(patch, 2)
        with pytest.raises(_Killed):
            fit_local(config, "stage2", rows, tmp_path / "hit", start_from=start, progress=False)
    assert not (tmp_path / "hit" / fitting.WEIGHTS).exists()
    assert len(states.states_in(tmp_path / "hit" / local.RESUME)) == local.KEPT
    hit = fit_local(config, "stage2", rows, tmp_path / "hit", start_from=start, progress=False)
    assert largest_difference(calm, hit) == 0
    assert (hit.parent / runs.JOURNAL).read_text() == (calm.parent / runs.JOURNAL).read_text()
    assert [line["step"] for line in runs.read_journal(hit.parent / runs.JOURNAL)] == [2, 4, 6]
    assert not (hit.parent / local.RESUME).exists()


def test_a_damaged_last_checkpoint_costs_its_steps_alone(
    rows: Path, stage1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, out = tiny_config(), tmp_path / "run"
    calm = fit_local(config, "stage2", rows, tmp_path / "calm", start_from=stage1, progress=False)
    with monkeypatch.context() as patch:
        _kill_after(patch, 2)
        with pytest.raises(_Killed):
            fit_local(config, "stage2", rows, out, start_from=stage1, progress=False)
    flip_byte(out / local.RESUME / states.name_of(4) / "optimizer" / "weights.safetensors", 0.9)
    assert states.newest(out / local.RESUME) == out / local.RESUME / states.name_of(2)
    weights = fit_local(config, "stage2", rows, out, start_from=stage1, progress=False)
    assert largest_difference(calm, weights) == 0


def test_a_finished_training_is_not_repeated(rows: Path, stage1: Path, tmp_path: Path) -> None:
    config, reported = tiny_config(), []

    def fit() -> Path:
        return fit_local(
            config,
            "stage2",
            rows,
            tmp_path,
            start_from=stage1,
            progress=False,
            on_report=lambda step, metrics: reported.append(step),
        )

    assert fit() == fit() == tmp_path / fitting.WEIGHTS
    assert reported == [2, 4, 6]
    meta = read_meta(tmp_path / fitting.WEIGHTS)
    assert (meta["step"], meta["seed"], meta["stage"]) == (6, 0, "stage2")
    assert meta["recipe"] == runs.read_record(tmp_path / runs.RECIPE)


def test_the_recipe_counts_contents_not_paths(rows: Path, stage1: Path, tmp_path: Path) -> None:
    config = tiny_config()
    moved = save_rows(tmp_path / "elsewhere")
    again = save_stage1(tmp_path / "stage1", config)
    first, second = (
        fitting.recipe_of(
            fitting.Task(config, "stage2", data, tmp_path, start), open_source(data, "lab-train")
        )
        for data, start in ((rows, stage1), (moved, again))
    )
    assert first == second


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage2.steps": 8}, r"stage2\.steps (was 6, now 8|is 6, asked 8)"),
        ({"loss.ri": 0.0}, r"loss\.ri (was 1\.0, now 0\.0|is 1\.0, asked 0\.0)"),
        ({"stage2.seed": 5}, r"stage2\.seed (was 0, now 5|is 0, asked 5)"),
    ],
)
def test_a_name_used_with_another_recipe_is_refused(
    rows: Path, stage1: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    fit_local(tiny_config(), "stage2", rows, tmp_path, start_from=stage1, progress=False)
    with pytest.raises(UserError, match=message):
        fit_local(tiny_config(changes), "stage2", rows, tmp_path, start_from=stage1, progress=False)


def test_settings_of_other_stages_do_not_bear_on_the_recipe(
    rows: Path, stage1: Path, tmp_path: Path
) -> None:
    fit_local(tiny_config(), "stage2", rows, tmp_path, start_from=stage1, progress=False)
    other = tiny_config({"prior.steps": 7, "stage1.steps": 9, "evaluation.restarts": 2})
    fit_local(other, "stage2", rows, tmp_path, start_from=stage1, progress=False)


def test_a_damaged_shard_is_refused_by_name_before_training(stage1: Path, tmp_path: Path) -> None:
    data = save_rows(tmp_path / "data")
    flip_byte(data / "lab-train" / "part-00002.parquet")
    with pytest.raises(UserError, match=r"part-00002\.parquet: shard is damaged"):
        fit_local(tiny_config(), "stage2", data, tmp_path / "run", start_from=stage1)
    assert not (tmp_path / "run" / runs.RECIPE).exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.hidden": 32}, "a network with hidden = 16; the configuration asks for 32"),
        ({"model.pooling": "average"}, "a network with pooling = keypoints"),
    ],
)
def test_a_start_of_another_network_is_refused(
    rows: Path, stage1: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = tiny_config(changes)
    with pytest.raises(UserError, match=message):
        fit_local(config, "stage2", rows, tmp_path, start_from=stage1, progress=False)


def test_stage_2_needs_a_start(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="stage2 starts from a stage-1 checkpoint"):
        fit_local(tiny_config(), "stage2", rows, tmp_path)


def test_a_split_without_rows_is_refused(tmp_path: Path) -> None:
    data = save_rows(tmp_path, (0,))
    with pytest.raises(UserError, match="split 'lab-train' has no rows"):
        open_source(data, "lab-train")


def test_rows_are_sorted_by_image_id_whatever_their_order() -> None:
    rows = {"image_id": np.array(["b", "c", "a"]), "beta": np.array([[1.0], [2.0], [0.0]])}
    assert batch_of(rows)["beta"].flatten().tolist() == [0.0, 1.0, 2.0]


def test_source_knows_its_size_in_memory(rows: Path) -> None:
    source = open_source(rows, "lab-train")
    batch = read_rows(source)
    assert source.rows == 32
    assert source.size == sum(t.numel() * t.element_size() for t in batch.values())


@pytest.mark.parametrize("every", [7, 50])
def test_a_recorder_writes_means_of_windows_that_end_at_checkpoints(every: int) -> None:
    seen: dict[int, float] = {}
    recorder = Recorder(45, every, None, on_report=lambda s, m: seen.update({s: m["total"]}))
    for step in range(1, 46):
        recorder(step, {"total": float(step)})
    ends = sorted({*range(20, 46, 20), *range(every, 46, every), 45})
    starts = [0, *ends]
    expected = {
        end: sum(range(start + 1, end + 1)) / (end - start)
        for start, end in zip(starts, ends, strict=False)
    }
    assert seen == expected


def _curve(rows: Path, stage1: Path) -> list[float]:
    """Return the loss of each step of the golden configuration on one device."""
    task = fitting.Task(golden_config(), "stage2", rows, Path("out"), stage1)
    state, losses = fitting.build_state(task), list[float]()
    train(
        state,
        Forward(state.model),
        fitting.objective_of(task),
        epoch_batches(read_rows(open_source(rows, "lab-train")), 8, task.settings.seed),
        task.settings,
        lambda _, means: losses.append(means["total"]),
        lambda _: None,
    )
    return losses


def test_twenty_steps_follow_the_golden_curve(rows: Path, stage1: Path) -> None:
    """Changes that do not mean to change the numbers must not; remake the file where one does."""
    assert _curve(rows, stage1) == pytest.approx(golden_curve(), rel=1e-3)


def test_stage_1_on_fresh_images_is_killed_and_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render_in_a_thread(monkeypatch)
    config = tiny_config({"stage1.fresh_rows": 8})
    calm = fit_local(config, "stage1", None, tmp_path / "calm", progress=False)
    with monkeypatch.context() as patch:
        _kill_after(patch, 1)
        with pytest.raises(_Killed):
            fit_local(config, "stage1", None, tmp_path / "run", progress=False)
    weights = fit_local(config, "stage1", None, tmp_path / "run", progress=False)
    assert largest_difference(calm, weights) == 0
    error = ship(weights, tmp_path / "shipped", config, "the command", rows=16)
    state, meta = load_module(tmp_path / "shipped")
    assert meta["command"] == "the command"
    assert 0 <= meta["seconds"] < 600
    assert meta["lab_val_mpjpe_mm"] == pytest.approx(error, abs=0.01)
    for name, tensor in load_module(weights)[0].items():
        assert torch.allclose(state[name].to(tensor.dtype), tensor, rtol=1e-3, atol=1e-6)
        assert state[name].dtype == (torch.float16 if tensor.ndim > 1 else tensor.dtype)


def test_only_stage_1_can_do_without_a_dataset(stage1: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="stage2: no dataset; give one"):
        fit_local(tiny_config(), "stage2", None, tmp_path, start_from=stage1)
    with pytest.raises(UserError, match=r"stage1: no dataset.*stage1\.fresh_rows > 0"):
        fit_local(tiny_config({"stage1.fresh_rows": 0}), "stage1", None, tmp_path)
    with pytest.raises(UserError, match=r"stage2\.fresh_rows must be 0"):
        tiny_config({"stage2.fresh_rows": 8})
