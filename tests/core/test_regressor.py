"""The regressor: torchvision's and SPIN's names, HMR's iteration against a naive one, the M-fold
expansion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from multibodies.core.expansion import expand
from multibodies.core.heads import StackedHead, mean_state
from multibodies.core.pooling import KeypointPooling, grid
from multibodies.core.regressor import Regressor, RegressorSpec
from multibodies.core.resnet import ResNet
from multibodies.core.rotations import rotation_6d_to_matrix

SMALL = RegressorSpec(
    "resnet18",
    width=8,
    pooling="keypoints",
    hidden=16,
    dropout=0.0,
    iterations=2,
    activation="relu",
)

# torchvision 0.20, resnet18() and resnet50() without the classifier: parameters, tensors
PARAMETERS = {"resnet18": (11_176_512, 120), "resnet50": (23_508_032, 318)}


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_trunk_has_torchvisions_size_and_names(name: str) -> None:
    trunk = ResNet(name)
    parameters, tensors = PARAMETERS[name]
    assert sum(p.numel() for p in trunk.parameters()) == parameters
    assert len(trunk.state_dict()) == tensors
    assert {
        "conv1.weight",
        "bn1.running_mean",
        "layer1.0.conv1.weight",
        "layer2.0.downsample.1.weight",
    } <= set(trunk.state_dict())


def test_trunk_maps_shrink_by_two() -> None:
    maps = ResNet("resnet50", width=8)(torch.rand(2, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (32, 16, 16),
        (64, 8, 8),
        (128, 4, 4),
        (256, 2, 2),
    ]


def test_keypoint_pooling_finds_a_peak() -> None:
    pooling = KeypointPooling((4, 8, 16, 32))
    heat = torch.full((1, 24, 16, 16), -50.0)
    heat[:, :, 3, 12] = 50.0
    pooling.heat = torch.nn.Identity()  # type: ignore[assignment]
    pooling.smooth = torch.nn.Identity()  # type: ignore[assignment]
    position = heat.flatten(2).softmax(-1) @ grid(16, 16, heat)
    expected = torch.tensor([(12 + 0.5) / 8 - 1, (3 + 0.5) / 8 - 1])
    torch.testing.assert_close(position[0, 7], expected)


def test_features_have_the_announced_length() -> None:
    model = Regressor(SMALL)
    pooled = model.pooled(torch.rand(2, 3, 64, 64))
    assert pooled.features.shape == (2, model.pooling.num_features)
    assert pooled.heatmaps is not None
    assert pooled.heatmaps.shape == (2, 24, 16, 16)


@pytest.mark.parametrize("feedback", ["all", "mean"])
def test_head_iterates_as_hmr(feedback: str) -> None:
    spec = replace(SMALL, num_hypotheses=3, feedback=feedback)
    head = StackedHead(20, spec).eval()
    features = torch.randn(2, 20)
    state = mean_state().repeat(2, 3, 1)
    for _ in range(spec.iterations):
        back = state.reshape(2, -1) if feedback == "all" else state.mean(1)
        x = torch.relu(head.fc2(torch.relu(head.fc1(torch.cat([features, back], 1)))))
        new = state.clone()
        for m in range(3):
            new[:, m, :144] += (x @ head.decpose.weight.T + head.decpose.bias)[
                :, m * 144 : (m + 1) * 144
            ]
            new[:, m, 144:154] += (x @ head.decshape.weight.T + head.decshape.bias)[
                :, m * 10 : (m + 1) * 10
            ]
            new[:, m, 154:] += (x @ head.deccam.weight.T + head.deccam.bias)[:, m * 3 : (m + 1) * 3]
        state = new
    torch.testing.assert_close(head(features), state)


def test_start_is_an_upright_body_facing_the_camera() -> None:
    state = mean_state()
    rotations = rotation_6d_to_matrix(state[:144].view(24, 6))
    torch.testing.assert_close(rotations[0], torch.diag(torch.tensor([1.0, -1.0, -1.0])))
    torch.testing.assert_close(rotations[1:], torch.eye(3).expand(23, 3, 3))
    assert state[154].item() == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("head", "feedback", "rank"),
    [
        ("stacked", "all", 0),
        ("stacked", "all", 8),
        ("stacked", "mean", 0),
        ("stacked", "mean", 8),
        ("layer5", "all", 0),
    ],
)
@pytest.mark.parametrize("trained_with", ["all", "mean"])
def test_expansion_without_spread_repeats_stage_1(
    head: str, feedback: str, rank: int, trained_with: str
) -> None:
    pooling = "average" if head == "layer5" else "keypoints"
    stage1 = Regressor(replace(SMALL, feedback=trained_with, pooling=pooling)).eval()
    for part in stage1.head.decoders():
        torch.nn.init.normal_(part.weight, std=0.1)
    spec = replace(stage1.spec, head=head, feedback=feedback, rank=rank, num_hypotheses=4)
    images = torch.rand(2, 3, 64, 64)
    many, one = expand(stage1, spec, 0.0, torch.Generator()).eval()(images), stage1(images)
    for m in range(4):
        for mine, its in zip(many[:4], one[:4], strict=True):
            torch.testing.assert_close(mine[:, m], its[:, 0], atol=1e-5, rtol=1e-5)


def test_expansion_with_spread_tells_hypotheses_apart_and_is_seeded() -> None:
    stage1 = Regressor(SMALL).eval()
    images = torch.rand(1, 3, 64, 64)
    spec = replace(SMALL, num_hypotheses=3)
    first, again = (
        expand(stage1, spec, 0.1, torch.Generator().manual_seed(5)).eval()(images) for _ in range(2)
    )
    assert torch.equal(first.rotation_6d, again.rotation_6d)
    assert (first.rotation_6d[:, 0] - first.rotation_6d[:, 1]).abs().max() > 0


def test_expansion_refuses_a_model_of_many_hypotheses() -> None:
    with pytest.raises(ValueError, match="one hypothesis"):
        expand(Regressor(replace(SMALL, num_hypotheses=2)), SMALL, 0.1, torch.Generator())


@pytest.mark.parametrize("change", [{"hidden": 8}, {"iterations": 3}, {"pooling": "average"}])
def test_expansion_refuses_another_network(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="does not expand"):
        expand(Regressor(SMALL), replace(SMALL, num_hypotheses=4, **change), 0.1, torch.Generator())


def test_spec_round_trips_through_json_values() -> None:
    assert RegressorSpec(**SMALL.to_json()) == SMALL
