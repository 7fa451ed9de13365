"""What a training step needs in memory, by arithmetic: parameters, gradients, moments, activations.

Shapes: B image, M hypothesis, S side in pixels, H hidden. Counted are numbers; bytes at the end.

Assumed: everything trains; Adam's two moments are float32 like the master weights; activations, one
number of `activation_bytes` each, are what autograd keeps: of a convolution its output (for the
batch norm) and the rectified one (for the next layer), of a block its sum; of the head what each
iteration reads; of every hypothesis POSED numbers for its rotations, joints and projection. Left
out: the backward pass' own buffers (about twice the largest map), the mesh of the best hypothesis
(some 10 MB an image with all vertices), libraries' workspaces.
"""

from __future__ import annotations

from typing import NamedTuple

from multibodies.core.resnet import ARCHITECTURES, Bottleneck
from multibodies.core.spec import STATE, RegressorSpec

POSED = 1500  # numbers that autograd keeps of one hypothesis, from its 157 to eq. 5 over 24 joints
POOLED_INDEX = 8  # bytes of max pooling's index
FLOAT32 = 4


class StepMemory(NamedTuple):
    """Bytes of one training step."""

    parameters: int
    gradients: int
    moments: int
    activations: int

    @property
    def total(self) -> int:
        """Their sum."""
        return sum(self)


def training_step(
    spec: RegressorSpec, image_size: int, batch: int, activation_bytes: int = FLOAT32
) -> StepMemory:
    """Return the bytes of a step in which everything trains; pooling "average" only.

    Raises ValueError on another pooling.
    """
    if spec.pooling != "average":
        raise ValueError(f"counted for pooling 'average', not '{spec.pooling}'")
    weights = FLOAT32 * parameters(spec)
    index = POOLED_INDEX * spec.width * (image_size // 4) ** 2
    kept = batch * (activation_bytes * activations(spec, image_size) + index)
    return StepMemory(weights, weights, 2 * weights, kept)


def parameters(spec: RegressorSpec) -> int:
    """Count the network's parameters."""
    stem = 3 * 49 * spec.width + 2 * spec.width
    stages = sum(_stage_parameters(spec, i) for i in range(4))
    return stem + stages + _widened(spec)[0] + _head_parameters(spec)


def activations(spec: RegressorSpec, image_size: int) -> int:
    """Count the numbers that autograd keeps of one image and its hypotheses."""
    stem = 3 * image_size**2 + (2 * 4 + 1) * spec.width * (image_size // 4) ** 2
    stages = sum(_stage_activations(spec, i, image_size // 2 ** (i + 2)) for i in range(4))
    wide = _widened(spec)[1] * (image_size // 32) ** 2
    return stem + stages + wide + _head_activations(spec) + POSED * spec.num_hypotheses


def _blocks(spec: RegressorSpec, i: int) -> tuple[int, int, int, int]:
    """Return planes, channels in, channels out and depth of stage i."""
    block, depths = ARCHITECTURES[spec.trunk]
    planes = spec.width * 2**i
    inside = planes // 2 * block.expansion if i else spec.width
    return planes, inside, planes * block.expansion, depths[i]


def _is_bottleneck(spec: RegressorSpec) -> bool:
    return ARCHITECTURES[spec.trunk][0] is Bottleneck


def _stage_parameters(spec: RegressorSpec, i: int) -> int:
    planes, inside, out, depth = _blocks(spec, i)
    shortcut = 0 if (inside == out and i == 0) else inside * out + 2 * out

    def block(channels: int) -> int:
        if _is_bottleneck(spec):
            return channels * planes + 9 * planes**2 + planes * out + 4 * planes + 2 * out
        return 9 * planes * (channels + planes) + 4 * planes

    return shortcut + block(inside) + (depth - 1) * block(out)


def _stage_activations(spec: RegressorSpec, i: int, side: int) -> int:
    """Two numbers per output of an inner convolution, two per block, one per shortcut."""
    planes, inside, out, depth = _blocks(spec, i)
    before = 2 * side if i else side  # the first 1x1 of a bottleneck sees the larger map
    shortcut = 0 if (inside == out and i == 0) else out * side**2
    inner = 2 * planes * side**2 * (2 if _is_bottleneck(spec) else 1)
    larger = 2 * planes * (before**2 - side**2) if _is_bottleneck(spec) else 0
    return depth * (inner + 2 * out * side**2) + larger + shortcut


def _widened(spec: RegressorSpec) -> tuple[int, int]:
    """Return the parameters, and the numbers kept per place of the map, that layer5 has beyond
    layer4."""
    if spec.head == "stacked":
        return 0, 0
    planes, _, out, _ = _blocks(spec, 3)
    kernel = planes if _is_bottleneck(spec) else 9 * planes
    more = spec.num_hypotheses - 1
    return more * (kernel * out + 2 * out), more * 2 * out


def _head_parameters(spec: RegressorSpec) -> int:
    m, hidden = (spec.num_hypotheses if spec.head == "stacked" else 1), spec.hidden
    seen = STATE * (m if spec.feedback == "all" else 1)
    fc = hidden * (_blocks(spec, 3)[2] + seen + hidden) + 2 * hidden
    if spec.rank and spec.head == "stacked":
        return fc + STATE * (hidden + m * spec.rank + m) + 3 * spec.rank * hidden
    return fc + m * STATE * (hidden + 1)


def _head_activations(spec: RegressorSpec) -> int:
    """What fc1 reads, and both hidden layers with their dropouts' masks, in each iteration."""
    loops, m = (1, spec.num_hypotheses) if spec.head == "stacked" else (spec.num_hypotheses, 1)
    seen = STATE * (m if spec.feedback == "all" else 1)
    relu = 2 if spec.activation == "relu" else 0
    hidden = spec.hidden * (2 + relu + (2 if spec.dropout else 0))
    return loops * spec.iterations * (_blocks(spec, 3)[2] + seen + hidden)
