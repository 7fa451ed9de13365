"""ResNet-18 and ResNet-50 with torchvision's parameter names, so that everyone's weights load.

Shapes: B image, S side in pixels, C channels of a stage, h x w its map.
Written out because torchvision's wheel does not import beside a CPU build of torch.
"""

from __future__ import annotations

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (He et al. 2016, fig. 5 left)."""

    expansion = 1
    last_conv, last_norm = "conv2", "bn2"

    def __init__(self, inplanes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inplanes, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, h, w] to [B, C', h/stride, w/stride]."""
        return self.relu(self.residual(x) + self.shortcut(x))

    def residual(self, x: Tensor) -> Tensor:
        """Return the block's own part, [B, C', h/stride, w/stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(out))

    def shortcut(self, x: Tensor) -> Tensor:
        """Return what the block adds to, [B, C', h/stride, w/stride]."""
        return x if self.downsample is None else self.downsample(x)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions; the stride sits in the 3x3 as in torchvision (ResNet v1.5)."""

    expansion = 4
    last_conv, last_norm = "conv3", "bn3"

    def __init__(self, inplanes: int, planes: int, stride: int) -> None:
        super().__init__()
        wide = planes * self.expansion
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inplanes, wide, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, h, w] to [B, C', h/stride, w/stride]."""
        return self.relu(self.residual(x) + self.shortcut(x))

    def residual(self, x: Tensor) -> Tensor:
        """Return the block's own part, [B, C', h/stride, w/stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.bn3(self.conv3(out))

    def shortcut(self, x: Tensor) -> Tensor:
        """Return what the block adds to, [B, C', h/stride, w/stride]."""
        return x if self.downsample is None else self.downsample(x)


def _shortcut(inplanes: int, planes: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inplanes == planes:
        return None
    return nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))


Block = BasicBlock | Bottleneck
ARCHITECTURES: dict[str, tuple[type[Block], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}


def stage(block: type[Block], inplanes: int, planes: int, depth: int, stride: int) -> nn.Sequential:
    """Make one of a ResNet's stages; the first of its blocks has the stride."""
    wide = planes * block.expansion
    first = block(inplanes, planes, stride)
    return nn.Sequential(first, *[block(wide, planes, 1) for _ in range(depth - 1)])


class ResNet(nn.Module):
    """A trunk without its classifier; `width` is the first stage's channels (64 in torchvision)."""

    def __init__(self, architecture: str, width: int = 64, stages: int = 4) -> None:
        super().__init__()
        block, depths = ARCHITECTURES[architecture]
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.channels = tuple(width * 2**i * block.expansion for i in range(stages))
        for i in range(stages):
            inplanes = self.channels[i - 1] if i else width
            made = stage(block, inplanes, width * 2**i, depths[i], 2 if i else 1)
            setattr(self, f"layer{i + 1}", made)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map [B, 3, S, S] to the stages' maps, of sides S/4, S/8, S/16, S/32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = []
        for i in range(len(self.channels)):
            x = getattr(self, f"layer{i + 1}")(x)
            maps.append(x)
        return maps
