"""The released code's "layer5": a copy of ResNet's layer4 that gives each hypothesis its features.

Shapes: B image, M hypothesis, C3 and C4 channels of stages 3 and 4, h x w stage 4's map.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

from torch import Tensor, nn

from multibodies.core.pooling import Pooled
from multibodies.core.resnet import ARCHITECTURES, Block, stage


class Layer5(nn.Module):
    """layer4 with its last convolution and batch norm widened to C4 M channels.

    All before them is computed once; the block's shortcut is added to each of the M chunks.
    """

    def __init__(self, architecture: str, width: int, num_hypotheses: int) -> None:
        super().__init__()
        block, depths = ARCHITECTURES[architecture]
        self.num_hypotheses = num_hypotheses
        self.num_features = 8 * width * block.expansion
        self.blocks = stage(block, 4 * width * block.expansion, 8 * width, depths[3], 2)
        conv = getattr(self.blocks[-1], block.last_conv)
        wide = self.num_features * num_hypotheses
        for name in (block.last_conv, block.last_norm):
            setattr(self.blocks[-1], name, nn.Identity())
        layers = {
            "conv": nn.Conv2d(
                conv.in_channels, wide, conv.kernel_size, padding=conv.padding, bias=False
            ),
            "norm": nn.BatchNorm2d(wide),
        }
        self.widened = nn.Sequential(OrderedDict(layers))

    def forward(self, maps: list[Tensor]) -> Pooled:
        """Map the stages' maps, the last of them stage 3's, to features [B, M, C4]."""
        x = self.blocks[:-1](maps[-1])
        last = cast(Block, self.blocks[-1])
        wide = self.widened(last.residual(x)).unflatten(1, (self.num_hypotheses, -1))
        # in place: with M in the hundreds this is by far the largest map of the network
        wide = wide.add_(last.shortcut(x)[:, None]).relu_()
        return Pooled(wide.mean((-2, -1)), None)
