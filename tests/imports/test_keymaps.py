"""Key maps at full size, without the weights: every name and shape of ours is found or allowed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import checkpoint_lookalikes as lookalikes
from multibodies.commands.import_checkpoint import KINDS, PRIOR
from multibodies.core.regressor import Regressor, RegressorSpec
from multibodies.imports.adopt import initial_state
from multibodies.imports.convert import Report, compare, rename
from multibodies.imports.facts import Facts, facts_of
from multibodies.imports.keymaps import KEYMAPS

pytestmark = pytest.mark.slow

M = 25
FULL: dict[str, tuple[str, int]] = {  # trunk, features
    "torchvision-resnet18": ("resnet18", 512),
    "torchvision-resnet50": ("resnet50", 2048),
    "spin": ("resnet50", 2048),
    "multibodies": ("resnet50", 2048),
}


def lookalike(kind: str) -> dict[str, Any]:
    if kind.startswith("torchvision"):
        return lookalikes.torchvision(FULL[kind][0], 64)
    if kind == "spin":
        return lookalikes.hmr(64, 1024)
    whole = lookalikes.multibodies(64, 1024, M)
    return {name.removeprefix("module."): tensor for name, tensor in whole.items()}


def reports(kind: str) -> tuple[Facts, Report]:
    keymap, m = KEYMAPS[kind], M if kind == "multibodies" else 1
    with torch.device("meta"):
        renamed = rename(lookalike(kind), keymap)
        facts = facts_of(renamed, keymap, kind)
        head = "layer5" if kind == "multibodies" else "stacked"
        spec = RegressorSpec(trunk=facts.trunk, width=64, head=head, num_hypotheses=m)
        return facts, compare(renamed, initial_state(spec, 0), keymap)


def test_the_command_offers_every_kind() -> None:
    assert (*KEYMAPS, PRIOR) == KINDS == (*FULL, PRIOR)


@pytest.mark.parametrize("kind", KEYMAPS)
def test_every_tensor_of_the_trunk_is_taken(kind: str) -> None:
    facts, report = reports(kind)
    with torch.device("meta"):
        trunk = Regressor(RegressorSpec(trunk=FULL[kind][0])).trunk.state_dict()
    own = {name for name in trunk if kind != "multibodies" or not name.startswith("layer4.")}
    assert {f"trunk.{name}" for name in own} <= set(report.taken)
    assert report.wrong_shape == {}
    assert (facts.trunk, facts.width) == (FULL[kind][0], 64)


@pytest.mark.parametrize("kind", ["torchvision-resnet18", "torchvision-resnet50"])
def test_torchvision_lacks_the_head_and_leaves_its_classifier(kind: str) -> None:
    _, report = reports(kind)
    assert report.left_over == dict.fromkeys(("fc.weight", "fc.bias"), "ImageNet's classifier")
    head = {"fc1", "fc2", "decpose", "decshape", "deccam"}
    weights = {f"head.{layer}.{leaf}" for layer in head for leaf in ("weight", "bias")}
    assert set(report.missing) == weights | {"head.init_state", "mean", "std"}


def test_spin_is_whole() -> None:
    facts, report = reports("spin")
    assert facts == Facts("resnet50", 64, 1024, 1)
    assert set(report.missing) == {"mean", "std"}
    assert report.left_over == {}
    assert report.taken["head.init_state"] == "init_pose, init_shape, init_cam"


def test_the_released_codes_is_whole() -> None:
    facts, report = reports("multibodies")
    assert facts == Facts("resnet50", 64, 1024, M)
    assert set(report.missing) == {"mean", "std"}
    assert report.taken["pooling.widened.conv.weight"] == "model.model.layer5.2.conv3.weight"
    assert report.taken["pooling.blocks.2.bn2.bias"] == "model.model.layer5.2.bn2.bias"
    assert report.taken["head.init_state"].startswith("model.model.init_pose, ")
    left = sorted(set(report.left_over.values()))
    assert left == [
        "SPIN's own prediction, which is no hypothesis",
        "the body model",
        "the flow's head, which no loss reads",
        "the prior",
    ]
