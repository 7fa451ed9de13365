"""`multibodies import-checkpoint`: a folder that loads, a report, refusals that write nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import checkpoint_lookalikes as lookalikes
from multibodies import cli
from multibodies.checkpoints import load_regressor, read_meta
from multibodies.core.regressor import RegressorSpec
from multibodies.files import sha256

Capture = pytest.CaptureFixture[str]


def call(tmp_path: Path, kind: str, content: Any, *options: str) -> int:
    file = tmp_path / "given.pt"
    if content is not None:
        file.write_bytes(lookalikes.saved(content))
    return cli.main(
        ["import-checkpoint", kind, str(file), "--out", str(tmp_path / "out"), *options]
    )


def test_spin_gives_spins_recipe(tmp_path: Path, capsys: Capture) -> None:
    assert call(tmp_path, "spin", lookalikes.spin()) == 0
    model = load_regressor(tmp_path / "out")
    assert model.spec == RegressorSpec(trunk="resnet50", width=8, hidden=16)
    meta = read_meta(tmp_path / "out")
    assert meta["image_size"] == 224
    assert meta["imported"]["sha256"] == sha256(tmp_path / "given.pt")
    assert (meta["imported"]["kind"], meta["imported"]["key_map"]) == ("spin", 1)
    assert meta["imported"]["missing"] == ["mean", "std"]
    text = capsys.readouterr().out
    assert "given.pt: resnet50, M = 1" in text
    assert "missing    2: mean, std" in text
    assert "left over" not in text


def test_torchvision_starts_a_head_of_the_configuration(tmp_path: Path, capsys: Capture) -> None:
    mean = tmp_path / "smpl_mean_params.npz"
    np.savez(mean, pose=np.arange(144.0), shape=np.zeros(10), cam=np.array([0.9, 0, 0]))
    options = ("--mean-params", str(mean), "--set", "model.hidden=32", "--seed", "4")
    assert call(tmp_path, "torchvision-resnet18", lookalikes.torchvision("resnet18"), *options) == 0
    model, meta = load_regressor(tmp_path / "out"), read_meta(tmp_path / "out")
    assert (model.spec.trunk, model.spec.width, model.spec.hidden) == ("resnet18", 8, 32)
    assert model.spec.pooling == "keypoints"  # the profile's
    assert model.head.init_state[:144].tolist() == list(range(144))
    assert meta["imported"]["mean_params_sha256"] == sha256(mean)
    assert meta["imported"]["head"].startswith("untrained, from seed 4")
    assert meta["imported"]["left_over"] == {
        "fc.weight": "ImageNet's classifier",
        "fc.bias": "ImageNet's classifier",
    }
    text = capsys.readouterr().out
    assert "left over  2: fc.weight, fc.bias (ImageNet's classifier)" in text
    assert "a start for stage 1" in text


def test_the_released_codes_checkpoint_is_written(tmp_path: Path, capsys: Capture) -> None:
    assert call(tmp_path, "multibodies", lookalikes.multibodies(), "--num-hypotheses", "3") == 0
    spec = read_meta(tmp_path / "out")["spec"]
    assert (spec["head"], spec["num_hypotheses"], spec["activation"]) == ("layer5", 3, "none")
    assert "M = 3" in capsys.readouterr().out
    assert load_regressor(tmp_path / "out").spec.num_hypotheses == 3


def broken() -> dict[str, Any]:
    return {**lookalikes.torchvision(), "bn1.weight": torch.full((8,), torch.nan)}


@pytest.mark.parametrize(
    ("kind", "content", "options", "message"),
    [
        ("spin", None, (), "no such file"),
        ("spin", lookalikes.torchvision, (), "nothing for our 'head.init_state' (11 such)"),
        ("spin", lookalikes.spin, ("--num-hypotheses", "5"), "M = 1 hypotheses, expected 5"),
        ("spin", lookalikes.spin, ("--mean-params", "m.npz"), "has its own mean parameters"),
        (
            "spin",
            lookalikes.spin,
            ("--set", 'model.activation="relu"'),
            "model.activation = none, expected relu",
        ),
        (
            "torchvision-resnet50",
            partial(lookalikes.torchvision, "resnet18"),
            (),
            "holds a resnet18, expected a resnet50",
        ),
        (
            "torchvision-resnet50",
            lookalikes.torchvision,
            ("--set", "model.width=64"),
            "model.width = 8, expected 64",
        ),
        ("torchvision-resnet50", broken, (), "'bn1.weight' holds a NaN"),
        ("torchvison", None, (), "invalid choice"),
    ],
)
def test_refusals_are_one_line_and_write_nothing(
    tmp_path: Path,
    capsys: Capture,
    kind: str,
    content: Callable[[], Any] | None,
    options: tuple[str, ...],
    message: str,
) -> None:
    assert call(tmp_path, kind, content and content(), *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_is_not_replaced(tmp_path: Path, capsys: Capture) -> None:
    assert call(tmp_path, "spin", lookalikes.spin()) == 0
    before = sha256(tmp_path / "out" / "weights.safetensors")
    assert call(tmp_path, "spin", lookalikes.spin()) == 2
    assert "holds a checkpoint already" in capsys.readouterr().err
    assert sha256(tmp_path / "out" / "weights.safetensors") == before


def test_torchvision_is_not_imported(tmp_path: Path) -> None:
    assert call(tmp_path, "torchvision-resnet50", lookalikes.torchvision()) == 0
    assert "torchvision" not in sys.modules
