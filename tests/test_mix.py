"""The mix of sets and the augmentation in a training: who is drawn when, resuming, refusals."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from collection_samples import SIZE, STORED, save_collection, save_set
from multibodies import fitting, local, mixing, priors, runs
from multibodies.augmenting import augmented, ranges_of
from multibodies.checkpoints import identity
from multibodies.cli import main
from multibodies.config import AugmentConfig, load_config
from multibodies.core.body import load_body
from multibodies.data.manifest import read_manifest, write_manifest
from multibodies.data.training_rows import open_source, read_paths, read_rows
from multibodies.errors import UserError
from multibodies.fitting import Task
from multibodies.local import fit_local
from multibodies.mixing import RowStream, held_batches, positions, streamed_batches
from multibodies.training import Batch, Batches
from training_samples import largest_difference, tiny_config

pytestmark = pytest.mark.slow

SPIN = {"augment.flip": 0.5, "augment.rotation_deg": 30, "augment.scale": 0.25}
SPIN["augment.noise"] = 0.4


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_collection(tmp_path_factory.mktemp("sets") / "data")


def _parts(*sizes: int) -> list[Batch]:
    """Return sets whose rows are their set and number."""
    return [
        {"set": torch.full((rows,), k), "row": torch.arange(rows)} for k, rows in enumerate(sizes)
    ]


def _take(batches: Batches, steps: int, start: int = 0) -> list[Batch]:
    return list(itertools.islice(batches(start), steps))


def _equal(first: Batch, second: Batch) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_sets_are_seen_at_their_shares_however_small() -> None:
    """4 rows that are to be half of every batch are: nothing drops repeated rows."""
    parts, shares = _parts(4, 300, 50), [0.5, 0.3, 0.2]
    seen = torch.cat([b["set"] for b in _take(held_batches(parts, shares, 16, 0), 1500)])
    found = seen.bincount(minlength=3) / len(seen)
    assert found.tolist() == pytest.approx(shares, abs=0.01)


def test_each_set_is_gone_through_whole_before_a_row_comes_again() -> None:
    parts = _parts(5, 30)
    batches = _take(held_batches(parts, [0.6, 0.4], 8, 1), 200)
    for k, rows in enumerate((5, 30)):
        order = torch.cat([b["row"][b["set"] == k] for b in batches])
        epochs = order[: len(order) // rows * rows].view(-1, rows)
        assert (epochs.sort(1).values == torch.arange(rows)).all()
        assert len({tuple(epoch.tolist()) for epoch in epochs}) > 3


def test_a_batch_is_of_drawn_sets_not_of_fixed_numbers() -> None:
    batches = _take(held_batches(_parts(50, 50), [0.5, 0.5], 8, 0), 50)
    assert len({int(batch["set"].sum()) for batch in batches}) > 3


@pytest.mark.parametrize("start", [1, 7, 40, 41, 79, 80, 200])
def test_a_resumed_mix_goes_on_with_the_very_next_batch(
    monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    monkeypatch.setattr(mixing, "CHUNK", 40)
    batches = held_batches(_parts(5, 30, 9), [0.2, 0.5, 0.3], 6, seed=3)
    whole, resumed = _take(batches, start + 50), _take(batches, 50, start)
    assert all(_equal(a, b) for a, b in zip(whole[start:], resumed, strict=True))


@pytest.mark.parametrize("world", [2, 4])
def test_any_number_of_workers_sees_the_same_global_batches(world: int) -> None:
    parts, shares = _parts(5, 30, 9), [0.2, 0.5, 0.3]
    alone = _take(held_batches(parts, shares, 8, 3), 30)
    workers = [_take(held_batches(parts, shares, 8, 3, r, world), 30) for r in range(world)]
    for step, batch in enumerate(alone):
        for rank in range(world):
            mine = {name: column[rank::world] for name, column in batch.items()}
            assert _equal(workers[rank][step], mine)


def test_seeds_differ_and_places_only_grow() -> None:
    first, second = (list(itertools.islice(positions([0.5, 0.5], 8, s, 0), 20)) for s in (0, 1))
    assert any(not torch.equal(a[0], b[0]) for a, b in zip(first, second, strict=True))
    for k in (0, 1):
        places = torch.cat([place[sets == k] for sets, place in first])
        assert torch.equal(places, torch.arange(len(places)))


def test_half_a_million_steps_are_counted_in_seconds() -> None:
    counts = mixing.counts_before([0.3, 0.6, 0.1], 64, 0, 500_000)
    assert int(counts.sum()) == 64 * 500_000
    assert (counts / counts.sum()).tolist() == pytest.approx([0.3, 0.6, 0.1], abs=1e-3)


def _endless(part: Batch, piece: int) -> Any:
    rows = len(part["row"])
    for _ in itertools.count():
        yield from (
            {name: column[k : k + piece] for name, column in part.items()}
            for k in range(0, rows, piece)
        )


def test_a_stream_gives_any_number_of_rows_in_order() -> None:
    stream = RowStream(_endless(_parts(10)[0], 4))
    taken = [torch.cat([p["row"] for p in stream.take(n)]).tolist() for n in (1, 2, 9, 4)]
    assert taken == [[0], [1, 2], [3, 4, 5, 6, 7, 8, 9, 0, 1], [2, 3, 4, 5]]
    assert stream.take(0) == []


def test_streams_are_mixed_by_the_same_draws_as_memory() -> None:
    parts, shares = _parts(5, 30), [0.25, 0.75]
    streams = streamed_batches(lambda _: [_endless(p, 4) for p in parts], shares, 8, 2)
    batches, held = _take(streams, 40), _take(held_batches(parts, shares, 8, 2), 40)
    for one, other in zip(batches, held, strict=True):
        assert one["set"].bincount().tolist() == other["set"].bincount().tolist()
    small = torch.cat([b["row"][b["set"] == 0] for b in batches])
    assert torch.equal(small, torch.arange(len(small)) % 5)  # it keeps cycling


def _augmented(rows: Batch, world: int = 1, rank: int = 0, **changes: float) -> Batches:
    ranges = ranges_of(AugmentConfig(**{"flip": 0.5, "scale": 0.25, **changes}))
    held = held_batches([rows], [1.0], 8, 5, rank, world)
    return augmented(held, ranges, SIZE, 5, rank, world)


@pytest.fixture(scope="module")
def whole_rows(collection: Path) -> Batch:
    return read_rows(open_source(collection, "h36m-train", whole=True))


def test_augmented_batches_are_a_function_of_seed_and_step(whole_rows: Batch) -> None:
    batches = _augmented(whole_rows, rotation_deg=30.0, noise=0.4)
    whole, resumed = _take(batches, 8), _take(batches, 5, 3)
    assert whole[0]["image"].shape == (8, SIZE, SIZE, 3)
    assert all(_equal(a, b) for a, b in zip(whole[3:], resumed, strict=True))
    plain = _take(held_batches([whole_rows], [1.0], 8, 5), 1)[0]
    assert not torch.equal(whole[0]["theta"], plain["theta"])
    again = _take(batches, 11, 0)
    first, second = (b["beta"][:, 0].argsort() for b in (again[0], again[5]))
    assert not torch.equal(again[0]["theta"][first], again[5]["theta"][second])


def test_two_workers_augment_as_one(whole_rows: Batch) -> None:
    alone = _take(_augmented(whole_rows), 3)
    for rank in (0, 1):
        for step, batch in enumerate(_take(_augmented(whole_rows, 2, rank), 3)):
            mine = {name: column[rank::2] for name, column in alone[step].items()}
            assert _equal(batch, mine)


def test_no_augmentation_is_the_same_batches(whole_rows: Batch) -> None:
    held = held_batches([whole_rows], [1.0], 8, 5)
    assert augmented(held, ranges_of(AugmentConfig()), SIZE, 5) is held


def _task(collection: Path, split: str, changes: dict[str, Any] | None = None) -> Task:
    return Task(tiny_config(changes), "stage1", collection, Path("out"), split=split)


def test_the_recipe_has_what_matters(collection: Path) -> None:
    plain, other = {"augment.upright": 0.2}, {"mix.h36m": 0.5}
    task = _task(collection, "h36m-train")
    today = fitting.recipe_of(task, fitting.open_rows(task))
    assert "augment" not in today
    assert "mix" not in today
    for changes in (plain, other):
        again = _task(collection, "h36m-train", changes)
        assert fitting.recipe_of(again, fitting.open_rows(again)) == today
    mixed = _task(collection, "mix-train", {**other, **SPIN})
    recipe = fitting.recipe_of(mixed, fitting.open_rows(mixed))
    assert recipe["mix"] == {"h36m": 0.5, "mpii3d": 0.1, "wild": 0.6, "others": 0.0}
    assert recipe["augment"]["rotation_deg"] == 30
    assert recipe["split"] == "mix-train"


@pytest.mark.parametrize(
    ("changes", "whole"),
    [({}, False), ({"augment.noise": 0.4, "augment.flip": 0.5}, False), (SPIN, True)],
)
def test_only_what_turns_or_scales_reads_around_the_crop(
    collection: Path, changes: dict[str, Any], whole: bool
) -> None:
    source = fitting.open_rows(_task(collection, "mix-train", changes))
    held = [read_paths(source, part.paths) for part in source.parts]
    side = STORED if whole else SIZE
    assert [part["image"].shape for part in held] == [(rows, side, side, 3) for rows in (40, 6, 12)]
    assert source.size == sum(t.numel() * t.element_size() for part in held for t in part.values())


def test_features_cannot_be_augmented(collection: Path, stage1: Path, tmp_path: Path) -> None:
    folder = save_set(tmp_path / "data", {"lab-train": [8]}, image_format="raw")
    source = open_source(folder, "lab-train")
    source = type(source)(source.parts, "features", 0, source.fingerprint, made_by=identity(stage1))
    for changes, refused in (({}, False), ({"augment.flip": 0.5}, True)):
        task = Task(tiny_config(changes), "stage2", folder, tmp_path, stage1)
        if refused:
            with pytest.raises(UserError, match=r"holds features.*set augment's flip"):
                fitting.recipe_of(task, source)
        else:
            fitting.recipe_of(task, source)


class _Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_a_killed_training_of_an_augmented_mix_ends_like_an_undisturbed_one(
    collection: Path, stage1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Any
) -> None:
    changes = {**SPIN, "loss.heatmap": 8.0, "model.pooling": "keypoints", "model.trains": "all"}
    config = tiny_config(changes)
    start = stage1 if stage == "stage2" else None

    def fit(out: Path) -> Path:
        return fit_local(
            config, stage, collection, out, start_from=start, split="mix-train", progress=False
        )

    calm = fit(tmp_path / "calm")
    save = local._save

    def save_and_die(*args: Any) -> None:
        save(*args)
        raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(local, "_save", save_and_die)
        with pytest.raises(_Killed):
            fit(tmp_path / "hit")
    assert largest_difference(calm, fit(tmp_path / "hit")) == 0
    lines = runs.read_journal(tmp_path / "hit" / runs.JOURNAL)
    assert all(torch.isfinite(torch.tensor(line["total"])) for line in lines)


@pytest.mark.slow
def test_another_mix_or_augmentation_under_an_old_name_is_refused(
    collection: Path, tmp_path: Path
) -> None:
    def fit(changes: dict[str, Any]) -> None:
        config = tiny_config({"stage1.steps": 1, **changes})
        fit_local(config, "stage1", collection, tmp_path, split="mix-train", progress=False)

    fit({})
    with pytest.raises(UserError, match=r"mix\.wild (was 0\.6, now 0\.2|is 0\.6, asked 0\.2)"):
        fit({"mix.wild": 0.2})
    with pytest.raises(UserError, match=r'augment was "absent", now .*"flip": 0\.5'):
        fit({"augment.flip": 0.5})
    fit({"augment.upright": 0.1})  # of no rotation


def test_a_prior_sees_the_bodies_of_a_collection_alone(collection: Path) -> None:
    """Sets without bodies give none."""
    source = open_source(collection, "mix-train")
    rows = read_rows(source)
    assert source.rows == 58
    assert int(rows["has_smpl"].sum()) == 40
    skeletons = priors.skeletons_of(rows, load_body())
    assert skeletons.shape == (40, 24, 3)
    alone = read_rows(open_source(collection, "h36m-train"))
    assert torch.equal(skeletons, priors.skeletons_of(alone, load_body()))
    priors.check_bodies(source)
    with pytest.raises(UserError, match="0 rows with has_smpl"):
        priors.check_bodies(open_source(collection, "lsp-train"))


def test_the_paper_s_profile_augments_as_spin_does() -> None:
    augment = load_config("paper").augment
    assert augment.model_dump() == {
        "flip": 0.5,
        "rotation_deg": 30.0,
        "upright": 0.6,
        "scale": 0.25,
        "noise": 0.4,
    }
    assert not ranges_of(load_config("embedded").augment).active


def test_the_merged_manifest_is_a_whole_one(collection: Path, tmp_path: Path) -> None:
    merged = read_manifest(collection)
    write_manifest(tmp_path, merged)
    assert read_manifest(tmp_path) == merged


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "58 rows of mix-train"), (["--split", "lsp-train"], "6 rows of lsp-train")],
)
def test_train_takes_all_sets_of_a_collection_unless_told(
    collection: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    command = ["train", "--data", str(collection), "--out", "out", "--dry-run", *arguments]
    command += ["--set", "splits.train=mix-train"]
    assert main(command) == 0
    assert said in capsys.readouterr().out
