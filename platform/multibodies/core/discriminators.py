"""HMR's adversarial prior: 25 small networks that tell real bodies from estimated ones.

Kanazawa et al., "End-to-end Recovery of Human Shape and Pose", CVPR 2018, section 3.3, with the
layers of its released code. Shapes: J = 23 relative joint rotations, D = 25 discriminators.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from multibodies.core.losses import check
from multibodies.core.spec import SHAPE

JOINTS, CHANNELS, DISCRIMINATORS = 23, 32, 25


class Discriminators(nn.Module):
    """One discriminator per joint, which share their first two layers, one of all joints together
    and one of the shape. `hidden` is the width of the one of all joints, in HMR 1024."""

    def __init__(self, hidden: int = 1024) -> None:
        super().__init__()
        self.shared = mlp(9, CHANNELS, CHANNELS)
        self.joint_weight = nn.Parameter(torch.empty(JOINTS, CHANNELS))
        self.joint_bias = nn.Parameter(torch.zeros(JOINTS))
        self.pose = nn.Sequential(mlp(JOINTS * CHANNELS, hidden, hidden), linear(hidden, 1))
        self.shape = nn.Sequential(mlp(SHAPE, 10, 5), linear(5, 1))
        bound = (6 / (CHANNELS + 1)) ** 0.5  # Xavier's, of 23 layers with one output each
        nn.init.uniform_(self.joint_weight, -bound, bound)

    def forward(self, rotations: Tensor, beta: Tensor) -> Tensor:
        """Judge bodies: rotations [..., 24, 3, 3], of which the first, global one is not looked at,
        and beta [..., 10] -> [..., 25], near 1 for what looks real."""
        features = self.shared(rotations[..., 1:, :, :].flatten(-2))
        joints = (features * self.joint_weight).sum(-1) + self.joint_bias
        return torch.cat([joints, self.pose(features.flatten(-2)), self.shape(beta)], -1)


class Critic(nn.Module):
    """The discriminators as one optimiser trains them beside the regressor, `rate` times as fast.

    It holds their weights divided by `rate`, so that a step of Adam moves them `rate` times as far
    ("equalised learning rate" of Karras et al., ICLR 2018); gradients are `rate` times as large.
    """

    def __init__(self, hidden: int = 1024, rate: float = 1.0) -> None:
        super().__init__()
        self.rate = rate
        self.discriminators = Discriminators(hidden)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.div_(rate)

    def forward(self, rotations: Tensor, beta: Tensor) -> Tensor:
        """Judge bodies as `Discriminators` does, for the discriminators' own loss."""
        return self._judge(dict(self.discriminators.named_parameters()), rotations, beta)

    def frozen(self, rotations: Tensor, beta: Tensor) -> Tensor:
        """Judge with weights that get no gradient, for the regressor's loss."""
        weights = {name: p.detach() for name, p in self.discriminators.named_parameters()}
        return self._judge(weights, rotations, beta)

    def _judge(self, weights: dict[str, Tensor], rotations: Tensor, beta: Tensor) -> Tensor:
        whole = {name: self.rate * weight for name, weight in weights.items()}
        judged: Tensor = torch.func.functional_call(self.discriminators, whole, (rotations, beta))
        return judged


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a layer as TF-Slim makes it: Xavier's uniform weights and no bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def mlp(inputs: int, *outputs: int) -> nn.Sequential:
    """Return layers of the given widths, a ReLU after each."""
    widths = (inputs, *outputs)
    layers = [linear(a, b) for a, b in zip(widths[:-1], outputs, strict=True)]
    return nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())])


def adversarial_loss(fake: Tensor) -> Tensor:
    """The regressor's: sum_i (D_i(fake) - 1)^2. fake [..., 25] -> [...]."""
    check("fake", fake, (*fake.shape[:-1], DISCRIMINATORS))
    return (fake - 1).square().sum(-1)


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminators': sum_i (D_i(real) - 1)^2 + D_i(fake)^2. real, fake [..., 25] -> [...]."""
    check("fake", fake, (*fake.shape[:-1], DISCRIMINATORS))
    check("real", real, tuple(fake.shape))
    return (real - 1).square().sum(-1) + fake.square().sum(-1)
