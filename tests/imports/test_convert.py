"""Imported weights are the same function, and every kind of misfit is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import checkpoint_lookalikes as lookalikes
from multibodies.core.regressor import Regressor, RegressorSpec
from multibodies.errors import UserError
from multibodies.imports.adopt import Adopted, adopt, open_source

pytestmark = pytest.mark.slow

State = dict[str, Any]


def imported(tmp_path: Path, kind: str, content: Any, **options: Any) -> tuple[Adopted, Regressor]:
    file = tmp_path / "given.pt"
    file.write_bytes(lookalikes.saved(content))
    source = open_source(kind, file)
    hidden = source.facts.hidden or 16
    facts = source.facts
    spec = RegressorSpec(
        trunk=facts.trunk,
        width=facts.width,
        hidden=hidden,
        head=str(source.settings.get("head", "stacked")),
        num_hypotheses=facts.num_hypotheses,
    )
    adopted = adopt(source, spec, **options)
    model = Regressor(spec)
    model.load_state_dict(adopted.state)
    return adopted, model.eval()


def doubled(state: State) -> State:
    return {k: v.double() if v.is_floating_point() else v for k, v in state.items()}


def test_spin_imported_is_the_same_function(tmp_path: Path) -> None:
    content = lookalikes.spin()
    adopted, model = imported(tmp_path, "spin", content)
    images, state = torch.rand(2, 3, 64, 64, dtype=torch.float64), doubled(content["model"])
    pose, shape, camera = lookalikes.run_head(
        state, lookalikes.run_stages(state, images).mean((2, 3))
    )
    with torch.no_grad():
        found = model.double()(images)
    assert float((shape - state["init_shape"]).abs().max()) > 0.01  # the image matters
    assert float(shape.std(0).max()) > 1e-3
    pairs = {
        "pose": (found.rotation_6d[:, 0].flatten(1), pose),
        "shape": (found.beta[:, 0], shape),
        "camera": (found.camera[:, 0], camera),
        "rotations": (found.rotations[:, 0], lookalikes.rotations_of(pose)),
    }
    for name, (ours, theirs) in pairs.items():
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5, msg=name)
    assert adopted.meta["imported"]["notes"] == [
        "read its 'model'; beside it lay dataset_perm, epoch, optimizer"
    ]


def test_a_torchvision_trunk_gives_the_same_features(tmp_path: Path) -> None:
    content = lookalikes.torchvision()
    adopted, model = imported(tmp_path, "torchvision-resnet50", content, seed=3)
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        found = model.double().pooled(images).features
    expected = lookalikes.run_stages(doubled(content), images).mean((2, 3))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    torch.manual_seed(3)
    fresh = Regressor(model.spec).head.state_dict()
    assert all(torch.equal(adopted.state[f"head.{name}"], fresh[name]) for name in fresh)
    assert adopted.meta["imported"]["head"] == "untrained, from seed 3: a start for stage 1"


def test_resnet18_imports_and_files_without_counters_do(tmp_path: Path) -> None:
    content = lookalikes.torchvision("resnet18")
    old = {k: v for k, v in content.items() if not k.endswith("num_batches_tracked")}
    adopted, model = imported(tmp_path, "torchvision-resnet18", old)
    torch.testing.assert_close(model.trunk.conv1.weight, content["conv1.weight"])
    assert "trunk.bn1.num_batches_tracked" in adopted.report.missing
    assert int(adopted.state["trunk.bn1.num_batches_tracked"]) == 0


def test_the_released_code_imported_is_the_same_function(tmp_path: Path) -> None:
    content = lookalikes.multibodies(num_hypotheses=3)
    _, model = imported(tmp_path, "multibodies", content)
    inner = {name.removeprefix("module.model.model."): tensor for name, tensor in content.items()}
    images, state = torch.rand(2, 3, 64, 64, dtype=torch.float64), doubled(inner)
    maps = lookalikes.run_stages(state, images, range(1, 4))
    features = lookalikes.run_stage(state, "layer5", maps, 2).mean((2, 3)).view(2, 3, -1)
    with torch.no_grad():
        found = model.double()(images)
    for m in range(3):
        pose, shape, camera = lookalikes.run_head(state, features[:, m])
        ours = found.rotation_6d[:, m].flatten(1)
        torch.testing.assert_close(ours, pose, rtol=0, atol=1e-5)
        torch.testing.assert_close(found.beta[:, m], shape, rtol=0, atol=1e-5)
        torch.testing.assert_close(found.camera[:, m], camera, rtol=0, atol=1e-5)
    assert float(found.beta.std(1).max()) > 1e-3  # the hypotheses differ


def test_the_released_codes_tensors_arrive_unchanged(tmp_path: Path) -> None:
    content = lookalikes.multibodies(num_hypotheses=3)
    adopted, _ = imported(tmp_path, "multibodies", content)
    for ours, theirs in adopted.report.taken.items():
        if ours != "head.init_state":
            assert torch.equal(adopted.state[ours], content[f"module.{theirs}"]), ours
    layer5 = {name for name in content if ".layer5." in name}
    assert {f"module.{t}" for t in adopted.report.taken.values()} >= layer5
    assert len(layer5) == 60
    assert adopted.meta["spec"]["head"] == "layer5"
    assert adopted.meta["image_size"] == 224
    assert adopted.meta["imported"]["notes"] == ["took off the prefix 'module.' (DataParallel)"]


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    content = {k: v.half() if v.ndim > 1 else v for k, v in lookalikes.torchvision().items()}
    adopted, _ = imported(tmp_path, "torchvision-resnet50", content)
    kernel = adopted.state["trunk.conv1.weight"]
    assert kernel.dtype is torch.float32
    assert torch.equal(kernel, content["conv1.weight"].float())
    assert adopted.state["trunk.bn1.num_batches_tracked"].dtype is torch.int64


def _drop(name: str) -> Callable[[State], None]:
    return lambda state: state.pop(name)


def _put(name: str, tensor: Tensor) -> Callable[[State], None]:
    return lambda state: state.update({name: tensor})


MISFITS: dict[str, tuple[Callable[[State], None], str]] = {
    "no trunk": (_drop("conv1.weight"), "no resnet50 named as a spin checkpoint names it"),
    "no decoder": (_drop("decpose.bias"), r"nothing for our 'head\.decpose\.bias' \(1 such\)"),
    "no start": (_drop("init_cam"), r"nothing for our 'head\.init_state'"),
    "axis-angle": (
        _put("init_pose", torch.zeros(1, 72)),
        r"'init_pose, .*shape \(85,\), expected \(157,\)",
    ),
    "other inputs": (
        _put("fc1.weight", torch.zeros(16, 300)),
        r"'fc1.weight' has shape \(16, 300\), expected \(16, 413\)",
    ),
    "a NaN": (_put("fc2.bias", torch.full((16,), torch.nan)), "'fc2.bias' holds a NaN"),
    "too large for float32": (
        _put("fc2.bias", torch.full((16,), 1e300, dtype=torch.float64)),
        "'fc2.bias' holds a NaN or an infinity",
    ),
    "sparse": (_put("fc2.weight", torch.zeros(16, 16).to_sparse()), "expected a dense, real"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_misfits_are_named(tmp_path: Path, misfit: str) -> None:
    change, message = MISFITS[misfit]
    content = lookalikes.spin()
    change(content["model"])
    with pytest.raises(UserError, match=rf"given\.pt: .*{message}"):
        imported(tmp_path, "spin", content)


def test_strangers_are_left_over_by_name(tmp_path: Path) -> None:
    content = lookalikes.spin()
    content["model"] |= {"extra.weight": torch.zeros(2), "layer4.2.bn4.bias": torch.zeros(2)}
    content["model"]["version"] = 3
    adopted, _ = imported(tmp_path, "spin", content)
    assert adopted.report.left_over == {
        "extra.weight": "unknown to the map",
        "layer4.2.bn4.bias": "unknown to the map",
        "version": "not a tensor",
    }


@pytest.mark.parametrize(
    ("trunk", "found"),
    [("resnet18", "resnet18"), ("resnet101", "ResNet of 3, 4, 23, 3 bottleneck blocks")],
)
def test_another_trunk_is_named(tmp_path: Path, trunk: str, found: str) -> None:
    with pytest.raises(UserError, match=f"holds a {found}, expected a resnet50"):
        imported(tmp_path, "torchvision-resnet50", lookalikes.torchvision(trunk))


def test_another_m_is_named(tmp_path: Path) -> None:
    file = tmp_path / "given.pth"
    file.write_bytes(lookalikes.saved(lookalikes.multibodies(num_hypotheses=3)))
    with pytest.raises(UserError, match="holds M = 3 hypotheses, expected 5"):
        open_source("multibodies", file, 5)
    assert open_source("multibodies", file, 3).facts.num_hypotheses == 3
    content = lookalikes.multibodies(num_hypotheses=2)
    content["module.model.model.layer5.2.conv3.weight"] = torch.zeros(300, 64, 1, 1)
    file.write_bytes(lookalikes.saved(content))
    with pytest.raises(UserError, match=r"conv3 has 300 rows, expected a multiple of 256"):
        open_source("multibodies", file)


def test_a_file_of_another_kind_says_what_it_found(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found 'conv1\.weight', 'bn1\.weight'"):
        imported(tmp_path, "multibodies", lookalikes.hmr())
