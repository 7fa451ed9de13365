"""From stage 1's one hypothesis to the M-hypothesis network that starts as M copies of it.

Shapes: M hypothesis, C channels, F features, H hidden.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import torch
from torch import Generator, Tensor

from multibodies.core.regressor import Regressor, RegressorSpec
from multibodies.core.resnet import ARCHITECTURES
from multibodies.core.spec import STATE

State = dict[str, Tensor]
# With one hypothesis all values of these settings are one network.
AT_ONE: Final[dict[str, Any]] = {"feedback": "mean", "head": "stacked", "rank": 0}


def expand(
    stage1: Regressor, spec: RegressorSpec, spread: float, generator: Generator
) -> Regressor:
    """Make the network `spec` that starts as M copies of a one-hypothesis network (appendix D).

    What grows with M is repeated with Gaussian noise of standard deviation `spread` times the
    weights' own, without which every copy would receive the same gradient. Raises ValueError if
    `stage1` has M > 1, or is another network than `spec` is at M = 1.
    """
    check_start(stage1, spec)
    model = Regressor(spec)
    state = dict(stage1.state_dict())
    model.load_state_dict(GROWN[spec.head](state, model, spread, generator))
    return model


def check_start(stage1: Regressor, spec: RegressorSpec) -> None:
    """Refuse another start than the one-hypothesis network of `spec`. Raises ValueError."""
    if stage1.spec.num_hypotheses != 1:
        raise ValueError(f"stage 1 must have one hypothesis, got {stage1.spec.num_hypotheses}")
    if at_one(stage1.spec) != at_one(spec):
        raise ValueError(f"stage 1 is {stage1.spec}, which does not expand to {spec}")


def at_one(spec: RegressorSpec) -> RegressorSpec:
    """Return the one-hypothesis network that a network expands from."""
    return replace(spec, num_hypotheses=1, system="ours", options={}, **AT_ONE)


def _grown_decoders(state: State, model: Regressor, spread: float, generator: Generator) -> State:
    """Repeat the decoders, and the state that fc1 reads back where that is every hypothesis'."""
    for name in ("decpose", "decshape", "deccam"):
        weight, bias = (state.pop(f"head.{name}.{leaf}") for leaf in ("weight", "bias"))
        copies = getattr(model.head, name).copies(weight, bias, spread, generator)
        state |= {f"head.{name}.{leaf}": tensor for leaf, tensor in copies.items()}
    state["head.fc1.weight"] = grown_feedback(state["head.fc1.weight"], model.spec)
    return state


def grown_feedback(weight: Tensor, spec: RegressorSpec) -> Tensor:
    """Let fc1 [H, F + 157] read every hypothesis' state with an M-th of the weight, if it does."""
    if spec.feedback != "all":
        return weight
    m = spec.num_hypotheses
    features, seen = weight.tensor_split([-STATE], 1)
    return torch.cat([features, *[seen / m] * m], 1)


def _grown_layer5(state: State, model: Regressor, spread: float, generator: Generator) -> State:
    """Make layer5 of layer4, its last convolution and batch norm repeated."""
    m = model.spec.num_hypotheses
    block, depths = ARCHITECTURES[model.spec.trunk]
    state = {name.replace("trunk.layer4.", "pooling.blocks."): x for name, x in state.items()}
    for new, old in (("conv", block.last_conv), ("norm", block.last_norm)):
        start = f"pooling.blocks.{depths[3] - 1}.{old}."
        for name in [name for name in state if name.startswith(start)]:
            tensor, leaf = state.pop(name), name.removeprefix(start)
            own = spread if leaf in ("weight", "bias") else 0.0  # not the running statistics
            copies = _repeated(tensor, m, own, generator)
            state[f"pooling.widened.{new}.{leaf}"] = copies
    return state


def _repeated(tensor: Tensor, m: int, spread: float, generator: Generator) -> Tensor:
    """Return M noisy copies [M C, ...] of [C, ...]; a lone number stays."""
    if tensor.ndim == 0:
        return tensor
    copies = tensor.repeat(m, *[1] * (tensor.ndim - 1))
    if spread == 0:
        return copies
    return copies + spread * tensor.std() * torch.randn(copies.shape, generator=generator)


GROWN = {"stacked": _grown_decoders, "layer5": _grown_layer5}
