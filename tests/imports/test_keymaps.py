"""Key maps at full size, without the weights: every name and shape of ours is found or allowed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import checkpoint_lookalikes as lookalikes
from multibodies.commands.import_checkpoint import KINDS
from multibodies.core.regressor import Regressor, RegressorSpec
from multibodies.imports.adopt import initial_state
from multibodies.imports.convert import Report, compare, rename
from multibodies.imports.facts import Facts, facts_of
from multibodies.imports.keymaps import KEYMAPS

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
        spec = RegressorSpec(trunk=facts.trunk, width=64, num_hypotheses=m)
        return facts, compare(renamed, initial_state(spec, facts, keymap, 0))


def test_the_command_offers_every_kind() -> None:
    assert tuple(KEYMAPS) == KINDS == tuple(FULL)


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_of_the_trunk_is_taken(kind: str) -> None:
    facts, report = reports(kind)
    with torch.device("meta"):
        trunk = Regressor(RegressorSpec(trunk=FULL[kind][0])).trunk.state_dict()
    assert {f"trunk.{name}" for name in trunk} <= set(report.taken)
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
    assert report.taken["head.layer5.2.conv3.weight"] == "model.model.layer5.2.conv3.weight"
    assert report.taken["head.init_state"].startswith("model.model.init_pose, ")
    left = sorted(set(report.left_over.values()))
    assert left == ["the body model", "the flow's head, which no loss reads", "the prior"]


def test_layer5_is_layer4_with_a_last_norm_m_times_as_wide() -> None:
    with torch.device("meta"):
        spec = RegressorSpec(num_hypotheses=M)
        state = initial_state(spec, Facts("resnet50", 64, 1024, M), KEYMAPS["multibodies"], 0)
    wide = {"2.conv3.weight", *(f"2.bn3.{x}" for x in ("weight", "bias"))}
    wide |= {f"2.bn3.running_{x}" for x in ("mean", "var")}
    assert state["head.layer5.2.conv3.weight"].shape == (2048 * M, 512, 1, 1)
    for name, tensor in state.items():
        if name.startswith("trunk.layer4."):
            leaf = name.removeprefix("trunk.layer4.")
            rows = tensor.shape[0] * M if leaf in wide else tensor.shape[:1]
            found = state[f"head.layer5.{leaf}"].shape
            assert found[0] == rows if leaf in wide else found == tensor.shape
