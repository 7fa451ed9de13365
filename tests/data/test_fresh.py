"""Fresh images: the rows of the generator itself, whichever step a stream starts at."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from multibodies.config import Config, load_config
from multibodies.core.body import load_body
from multibodies.data import fresh
from multibodies.data.embedded import embedded_rows
from multibodies.data.fresh import fresh_batches, fresh_source
from training_samples import TINY, render_in_a_thread

pytestmark = pytest.mark.slow

CHUNK = 8


@pytest.fixture(autouse=True)
def _in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    render_in_a_thread(monkeypatch)


@pytest.fixture(scope="module")
def config() -> Config:
    changes = {"stage1.fresh_rows": CHUNK, "stage1.batch_size": 4, "stage1.seed": 3}
    return load_config("smoke", {**TINY, **changes})


def _images(config: Config, chunk: int) -> list[bytes]:
    data = config.data.model_copy(update={"seed": config.data.seed + 1 + config.stage1.seed})
    rows = embedded_rows("lab-train", chunk * CHUNK, CHUNK, data, load_body(None))
    return [np.asarray(image).tobytes() for image in rows["image"]]


def test_a_stream_is_the_same_wherever_it_starts(config: Config) -> None:
    whole = list(islice(fresh_batches(config)(0), 20))
    for start in (1, 9, 17):  # 8 steps of 4 rows use a chunk of 8 rows 4 times
        for mine, other in zip(fresh_batches(config)(start), whole[start:], strict=False):
            assert torch.equal(mine["image"], other["image"])
            assert torch.equal(mine["theta"], other["theta"])


def test_batches_are_rows_of_the_newest_chunks(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh, "SLOTS", 2)
    chunks = [_images(config, index) for index in range(3)]
    for step, batch in enumerate(islice(fresh_batches(config)(0), 24)):
        newest = step // 8
        held = {image for chunk in chunks[max(0, newest - 1) : newest + 1] for image in chunk}
        assert {image.numpy().tobytes() for image in batch["image"]} <= held


def test_workers_render_images_of_their_own(config: Config) -> None:
    halves = [next(fresh_batches(config, rank, 2)(0))["image"] for rank in (0, 1)]
    for rank, half in enumerate(halves):
        assert len(half) == config.stage1.batch_size // 2
        assert {image.numpy().tobytes() for image in half} <= set(_images(config, rank))


def test_the_fingerprint_is_that_of_what_is_drawn(config: Config) -> None:
    def changed(key: str, value: object) -> bool:
        section, leaf = key.split(".")
        part = getattr(config, section).model_copy(update={leaf: value})
        other = config.model_copy(update={section: part})
        return fresh_source(other).fingerprint != fresh_source(config).fingerprint

    assert changed("data.clutter", 0.9)
    assert changed("data.seed", 9)
    assert changed("stage1.fresh_rows", 16)
    assert not changed("data.val_rows", 9)
    assert not changed("stage1.steps", 9)
