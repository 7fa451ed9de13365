"""Builders shared by the tests of training: a tiny configuration, its dataset, its stage 1."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from model_samples import save_dataset
from multibodies.checkpoints import load_module, save_module
from multibodies.config import Config, load_config
from multibodies.core.regressor import Regressor
from multibodies.data import fresh
from multibodies.local import fit_local
from multibodies.training import regressor_spec

GOLDEN = Path(__file__).parent / "golden" / "training_curve.json"
TINY: dict[str, Any] = {
    "model.width": 8,
    "model.hidden": 16,
    "model.dropout": 0.0,
    "loss.vertices_sampled": 32,
    "stage1.steps": 4,
    "stage1.batch_size": 8,
    "stage1.checkpoint_every": 2,
    "stage2.num_hypotheses": 3,
    "stage2.steps": 6,
    "stage2.batch_size": 8,
    "stage2.learning_rate": 0.01,
    "stage2.checkpoint_every": 2,
    "evaluation.n": [1, 3],
}


def tiny_config(changes: dict[str, Any] | None = None) -> Config:
    """Return the smoke profile at width 8, hidden 16, M = 3."""
    return load_config("smoke", {**TINY, **(changes or {})})


def golden_config() -> Config:
    """Return the configuration of the golden curve: twenty steps of best-of-M."""
    return tiny_config({"stage2.steps": 20, "stage2.checkpoint_every": 4})


def golden_curve() -> list[float]:
    """Return the loss of each of its steps."""
    losses: list[float] = json.loads(GOLDEN.read_text())["total"]
    return losses


def render_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render fresh images in a thread: starting a process and importing torch takes seconds."""
    monkeypatch.setattr(fresh, "ProcessPoolExecutor", lambda n, **_: ThreadPoolExecutor(n))


def save_rows(folder: Path, sizes: tuple[int, ...] = (8, 8, 8, 8)) -> Path:
    """Write a dataset of random rows in shards of the given sizes; return its folder."""
    save_dataset(folder, {"lab-train": list(sizes)})
    return folder


def save_stage1(folder: Path, config: Config, seed: int = 0) -> Path:
    """Save an untrained one-hypothesis network of the configuration; return its folder."""
    torch.manual_seed(seed)
    model = Regressor(regressor_spec(config.model, 1))
    save_module(folder, model.state_dict(), {"spec": model.spec.to_json()})
    return folder


def largest_difference(first: Path, second: Path) -> float:
    """Return the largest difference between two checkpoints' numbers."""
    a, b = load_module(first)[0], load_module(second)[0]
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def flip_byte(path: Path, position: float = 0.5) -> None:
    """Change one byte of a file, at a share of its length."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * position)] ^= 0xFF
    path.write_bytes(bytes(content))


def go(rows: Path, stage1: Path, out: Path) -> Path:
    """Train the tiny stage 2 on one device; return its weights."""
    return fit_local(tiny_config(), "stage2", rows, out, start_from=stage1, progress=False)
