"""State dicts with the names and shapes of others' checkpoints, and their forward passes, written
from what their sources say and not from ours. `width` 64 is the real size.
"""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as tf

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
State = dict[str, Tensor]


def conv(state: State, name: str, out: int, into: int, kernel: int) -> None:
    """Add a convolution without a bias."""
    state[f"{name}.weight"] = torch.randn(out, into, kernel, kernel) / (into * kernel**2) ** 0.5


def norm(state: State, name: str, channels: int) -> None:
    """Add a batch norm that has seen something."""
    state[f"{name}.weight"] = 0.5 + torch.rand(channels)
    state[f"{name}.bias"] = 0.1 * torch.randn(channels)
    state[f"{name}.running_mean"] = 0.1 * torch.randn(channels)
    state[f"{name}.running_var"] = 0.5 + torch.rand(channels)
    state[f"{name}.num_batches_tracked"] = torch.tensor(1000)


def linear(state: State, name: str, out: int, into: int, gain: float = 1.0) -> None:
    """Add a linear layer."""
    state[f"{name}.weight"] = gain * torch.randn(out, into) / into**0.5
    state[f"{name}.bias"] = 0.1 * torch.randn(out)


def stage(
    state: State, name: str, into: int, planes: int, depth: int, deep: bool, first: bool
) -> int:
    """Add one of a ResNet's four stages; return the channels it gives."""
    wide = planes * 4 if deep else planes
    for j in range(depth):
        block = f"{name}.{j}"
        if deep:
            shapes = [(planes, into, 1), (planes, planes, 3), (wide, planes, 1)]
        else:
            shapes = [(planes, into, 3), (planes, planes, 3)]
        for k, (out, source, kernel) in enumerate(shapes, 1):
            conv(state, f"{block}.conv{k}", out, source, kernel)
            norm(state, f"{block}.bn{k}", out)
        if j == 0 and (deep or not first):
            conv(state, f"{block}.downsample.0", wide, into, 1)
            norm(state, f"{block}.downsample.1", wide)
        into = wide
    return wide


def resnet(trunk: str = "resnet50", width: int = 8) -> State:
    """Build torchvision's ResNet without its classifier."""
    state: State = {}
    conv(state, "conv1", width, 3, 7)
    norm(state, "bn1", width)
    into, deep = width, trunk != "resnet18"
    for i, depth in enumerate(DEPTHS[trunk]):
        into = stage(state, f"layer{i + 1}", into, width * 2**i, depth, deep, i == 0)
    return state


def torchvision(trunk: str = "resnet50", width: int = 8) -> State:
    """Build torchvision's ResNet with its classifier of ImageNet's 1000 classes."""
    state = resnet(trunk, width)
    linear(state, "fc", 1000, width * (8 if trunk == "resnet18" else 32))
    return state


def hmr(width: int = 8, hidden: int = 16) -> State:
    """Build the network of SPIN: ResNet-50, two layers, three decoders, the start as buffers."""
    state = resnet("resnet50", width)
    linear(state, "fc1", hidden, 32 * width + 144 + 13)
    linear(state, "fc2", hidden, hidden)
    for name, out in (("decpose", 144), ("decshape", 10), ("deccam", 3)):
        linear(state, name, out, hidden, 0.1)
    state["init_pose"] = torch.randn(1, 144)
    state["init_shape"] = torch.randn(1, 10)
    state["init_cam"] = torch.tensor([[0.9, 0.0, 0.0]])
    return state


def spin(width: int = 8, hidden: int = 16) -> dict[str, Any]:
    """Build what SPIN's saver writes."""
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1}]}
    state = hmr(width, hidden)
    return {"model": state, "optimizer": optimizer, "epoch": 1, "dataset_perm": [2, 0, 1]}


def layer5(width: int, num_hypotheses: int) -> State:
    """Build the released code's copy of layer4, its last convolution and norm M times wider."""
    state: State = {}
    wide = stage(state, "layer5", 16 * width, 8 * width, 3, True, False)
    conv(state, "layer5.2.conv3", wide * num_hypotheses, 8 * width, 1)
    norm(state, "layer5.2.bn3", wide * num_hypotheses)
    return state


def multibodies(width: int = 8, hidden: int = 16, num_hypotheses: int = 3) -> State:
    """Build what the released code's `save_model` writes: the model within DataParallel."""
    flow: State = {}
    for name in ("fc3", "fc4", "fc5", "fc6", "decflow_mu", "decflow_logsigma"):
        linear(flow, name, 4, 4)
    inner = {**hmr(width, hidden), **layer5(width, num_hypotheses), **flow}
    beside = {**realnvp(), "smpl_mini.faces": torch.zeros(3, 3).long()}
    whole = {**{f"model.model.{name}": tensor for name, tensor in inner.items()}, **beside}
    return {f"module.{name}": tensor for name, tensor in whole.items()}


def realnvp(couplings: int = 3, hidden: int = 8, dimension: int = 72) -> State:
    """Build the released code's flow within its model."""
    state: State = {"model_realnvp.mask": (torch.rand(couplings, dimension) < 0.5).float()}
    sizes = {0: (hidden, dimension), 3: (hidden, hidden), 6: (dimension, hidden)}
    for net in ("t", "s"):
        for i in range(couplings):
            for layer, (out, into) in sizes.items():
                linear(state, f"model_realnvp.{net}.{i}.{layer}", out, into)
    return state


def saved(content: Any, *, zipped: bool = True) -> bytes:
    """Return the bytes of `torch.save`, in today's format or in that of 2019."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def run_stages(state: State, images: Tensor, stages: range = range(1, 5)) -> Tensor:
    """Run a deep ResNet's stem and stages on images [B, 3, S, S] in [0, 1]."""
    x = (images - images.new_tensor(MEAN)[:, None, None]) / images.new_tensor(STD)[:, None, None]
    x = tf.conv2d(x, state["conv1.weight"], stride=2, padding=3)
    x = tf.max_pool2d(tf.relu(run_norm(state, "bn1", x)), 3, 2, 1)
    for i in stages:
        x = run_stage(state, f"layer{i}", x, 1 if i == 1 else 2)
    return x


def run_stage(state: State, name: str, x: Tensor, stride: int) -> Tensor:
    """Run one stage; where the last block is M times wider, so is its shortcut."""
    j = 0
    while f"{name}.{j}.conv1.weight" in state:
        block = f"{name}.{j}"
        out = tf.relu(run_norm(state, f"{block}.bn1", tf.conv2d(x, state[f"{block}.conv1.weight"])))
        step = stride if j == 0 else 1
        out = tf.conv2d(out, state[f"{block}.conv2.weight"], stride=step, padding=1)
        out = tf.relu(run_norm(state, f"{block}.bn2", out))
        out = run_norm(state, f"{block}.bn3", tf.conv2d(out, state[f"{block}.conv3.weight"]))
        if j == 0:
            x = tf.conv2d(x, state[f"{block}.downsample.0.weight"], stride=step)
            x = run_norm(state, f"{block}.downsample.1", x)
        x = tf.relu(out + x.repeat(1, out.shape[1] // x.shape[1], 1, 1))
        j += 1
    return x


def run_norm(state: State, name: str, x: Tensor) -> Tensor:
    """Run a batch norm in evaluation mode."""
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return tf.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"])


def run_head(state: State, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Run HMR's three iterations on features [B, F]: pose [B, 144], shape [B, 10], camera."""

    def layer(name: str, x: Tensor) -> Tensor:
        return tf.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    start = (state[f"init_{part}"] for part in ("pose", "shape", "cam"))
    pose, shape, camera = (tensor.expand(len(features), -1) for tensor in start)
    for _ in range(3):
        x = layer("fc2", layer("fc1", torch.cat([features, pose, shape, camera], 1)))
        pose = pose + layer("decpose", x)
        shape = shape + layer("decshape", x)
        camera = camera + layer("deccam", x)
    return pose, shape, camera


def rotations_of(pose: Tensor) -> Tensor:
    """Make SPIN's 24 rotations of a pose [B, 144]: two columns, interleaved."""
    columns = pose.view(-1, 3, 2)
    first = tf.normalize(columns[..., 0])
    second = tf.normalize(columns[..., 1] - (first * columns[..., 1]).sum(1, keepdim=True) * first)
    third = torch.linalg.cross(first, second)
    return torch.stack([first, second, third], -1).view(len(pose), 24, 3, 3)


def run_realnvp(state: State, x: Tensor) -> Tensor:
    """Run the released flow on x [N, D]: log density [N], couplings taken from the last to the
    first.
    """
    mask, log_det, z = state["model_realnvp.mask"], x.new_zeros(len(x)), x

    def net(name: str, inputs: Tensor) -> Tensor:
        for layer in (0, 3, 6):
            weight = state[f"model_realnvp.{name}.{layer}.weight"]
            inputs = tf.linear(inputs, weight, state[f"model_realnvp.{name}.{layer}.bias"])
            inputs = inputs if layer == 6 else tf.leaky_relu(inputs)
        return inputs

    for i in reversed(range(len(mask))):
        kept, free = mask[i] * z, 1 - mask[i]
        scale, shift = torch.tanh(net(f"s.{i}", kept)) * free, net(f"t.{i}", kept) * free
        z = free * (z - shift) * torch.exp(-scale) + kept
        log_det = log_det - scale.sum(1)
    identity = torch.eye(x.shape[1], dtype=x.dtype)
    normal = torch.distributions.MultivariateNormal(x.new_zeros(x.shape[1]), identity)
    return normal.log_prob(z) + log_det
