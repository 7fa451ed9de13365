"""Low-rank decoders against dense ones, layer5 against a loop over hypotheses, what trains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from multibodies.core.decoders import LowRankDecoder
from multibodies.core.expansion import expand
from multibodies.core.heads import SharedHead, StackedHead
from multibodies.core.layer5 import Layer5
from multibodies.core.regressor import TRAINED, Regressor, RegressorSpec
from multibodies.core.resnet import ResNet

M = 3
SMALL = RegressorSpec("resnet18", width=8, hidden=16, dropout=0.0, iterations=2, num_hypotheses=M)
LAYER5 = replace(SMALL, head="layer5")


def _dense(low: LowRankDecoder) -> torch.Tensor:
    size = len(low.weight)
    rows = [low.weight + low.factors[m * size : (m + 1) * size] @ low.basis for m in range(M)]
    return torch.cat(rows)


@pytest.mark.parametrize("feedback", ["all", "mean"])
def test_a_low_rank_head_equals_the_dense_one_with_its_matrices(feedback: str) -> None:
    spec = replace(SMALL, feedback=feedback, rank=2, activation="relu")
    low, dense = StackedHead(20, spec).double(), StackedHead(20, replace(spec, rank=0)).double()
    state = {name: x for name, x in low.state_dict().items() if not name.startswith("dec")}
    for name in ("decpose", "decshape", "deccam"):
        part = getattr(low, name)
        nn.init.normal_(part.factors, std=0.1)
        nn.init.normal_(part.bias, std=0.1)
        state |= {f"{name}.weight": _dense(part).detach(), f"{name}.bias": part.bias.detach()}
    dense.load_state_dict(state)
    features = torch.randn(4, 20, dtype=torch.float64)
    torch.testing.assert_close(low(features), dense(features))
    assert (low(features)[:, 0] - low(features)[:, 1]).abs().max() > 0.01


def test_copies_of_low_rank_differ_by_as_much_as_dense_ones() -> None:
    weight, bias = 0.3 * torch.randn(144, 512), torch.randn(144)
    low = LowRankDecoder(512, 144, 40, rank=8)
    state = low.copies(weight, bias, 0.02, torch.Generator().manual_seed(0))
    low.load_state_dict(state)
    noise = (low.factors @ low.basis).std().item()
    assert noise == pytest.approx(0.02 * 0.3, rel=0.1)
    shift = (low.bias.view(40, 144) - bias).std().item()
    assert shift == pytest.approx(0.02 * 0.3, rel=0.1)


def test_a_low_rank_head_has_the_announced_parameters() -> None:
    spec = replace(SMALL, feedback="mean", hidden=512, num_hypotheses=100, rank=8)
    parts = StackedHead(20, spec).decoders()
    count = sum(p.numel() for part in parts for p in part.parameters())
    assert count == 157 * (512 + 100 * 8) + 3 * 8 * 512 + 100 * 157


@pytest.mark.parametrize("trunk", ["resnet18", "resnet50"])
def test_layer5_is_layer4_once_per_hypothesis(trunk: str) -> None:
    """Each chunk of the widened layers, put into a layer4 of its own, gives its features."""
    layer5 = Layer5(trunk, 8, M).eval()
    norm: Any = layer5.widened.norm
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.running_mean)
    resnet = ResNet(trunk, 8).eval()
    layer4: Any = resnet.layer4
    maps = resnet(torch.rand(2, 3, 64, 64))
    found = layer5(maps[:3]).features
    layer4.load_state_dict(layer5.blocks.state_dict(), strict=False)
    last, names = layer4[-1], ("conv3", "bn3") if trunk == "resnet50" else ("conv2", "bn2")
    for m, one in enumerate(found.unbind(1)):
        rows = slice(m * layer5.num_features, (m + 1) * layer5.num_features)
        for name, wide in zip(names, layer5.widened, strict=True):
            chunk = {k: x[rows] if x.ndim else x for k, x in wide.state_dict().items()}
            getattr(last, name).load_state_dict(chunk)
        torch.testing.assert_close(one, layer4(maps[2]).mean((2, 3)))


def test_one_shared_head_decodes_every_hypothesis_by_itself() -> None:
    shared, features = SharedHead(20, LAYER5).eval(), torch.randn(2, M, 20)
    alone = StackedHead(20, replace(SMALL, num_hypotheses=1)).eval()
    alone.load_state_dict(shared.state_dict())
    for m in range(M):
        torch.testing.assert_close(shared(features)[:, m], alone(features[:, m])[:, 0])


def test_layer5_gives_every_hypothesis_its_own_camera_and_shape() -> None:
    model = Regressor(LAYER5).eval()
    hypotheses = model(torch.rand(2, 3, 64, 64))
    assert hypotheses.rotations.shape == (2, M, 24, 3, 3)
    for field in (hypotheses.camera, hypotheses.beta):
        assert (field[:, 0] - field[:, 1]).abs().max() > 0


def test_layer5_without_its_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="average"):
        Regressor(replace(LAYER5, pooling="keypoints"))


@pytest.mark.parametrize("trunk", ["resnet18", "resnet50"])
def test_a_gradient_reaches_every_parameter_of_layer5(trunk: str) -> None:
    model = Regressor(replace(LAYER5, trunk=trunk))
    model(torch.rand(2, 3, 64, 64)).rotation_6d.square().sum().backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in dead if not name.startswith(("head.decshape", "head.deccam"))] == []


@pytest.mark.parametrize("spec", [SMALL, replace(SMALL, rank=2), LAYER5])
def test_what_trains(spec: RegressorSpec) -> None:
    model = Regressor(spec)
    names = {id(p): name for name, p in model.named_parameters()}
    trained = {which: {names[id(p)] for p in model.trained(which)} for which in TRAINED}
    assert trained["all"] == set(names.values())
    assert trained["widened"] < trained["head"] < trained["all"]
    assert {name.split(".")[0] for name in trained["head"]} == (
        {"head"} if spec.head == "stacked" else {"head", "pooling"}
    )
    one = Regressor(replace(spec, num_hypotheses=1))
    sizes = {name: p.shape for name, p in one.named_parameters()}
    grown = {name for name, p in model.named_parameters() if p.shape != sizes[name]}
    grown -= {"head.fc1.weight"}  # its feedback columns are tiled and stay
    assert grown <= trained["widened"]
    leaves = {name.rpartition(".")[0] for name in trained["widened"]}
    assert leaves == {name.rpartition(".")[0] for name in grown}


def test_layer5_with_spread_tells_hypotheses_apart_and_is_seeded() -> None:
    stage1 = Regressor(replace(SMALL, num_hypotheses=1)).eval()
    images = torch.rand(1, 3, 64, 64)
    first, again = (
        expand(stage1, LAYER5, 0.1, torch.Generator().manual_seed(5)).eval()(images)
        for _ in range(2)
    )
    assert torch.equal(first.rotation_6d, again.rotation_6d)
    assert (first.camera[:, 0] - first.camera[:, 1]).abs().max() > 0
