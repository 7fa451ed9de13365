"""Key maps as data: which tensor of somebody's checkpoint is which of ours.

Source names were read from torchvision's and SPIN's files' layout and from the released code
(benjiebob/3D-Multibodies, src/model.py and src/networks/spin/hmr_condspin.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

NORM: Final = r"(?:weight|bias|running_mean|running_var|num_batches_tracked)"
BLOCK: Final = (
    rf"\d+\.(?:conv[1-3]\.weight|bn[1-3]\.{NORM}|downsample\.0\.weight|downsample\.1\.{NORM})"
)
WIDENED: Final = "pooling.widened"  # the convolution and norm of layer5 that grow with M
COUNTERS: Final = r".*\.num_batches_tracked"  # files older than PyTorch 0.4.1 lack them
CONSTANTS: Final = r"mean|std"  # ImageNet's, which ours holds in its state
Rules = tuple[tuple[str, str], ...]
Settings = Mapping[str, str | int | float]


def trunk_rules(prefix: str = "") -> Rules:
    """Map torchvision's ResNet, found under a prefix, to our trunk."""
    p = re.escape(prefix)
    return (
        (rf"{p}(conv1\.weight|bn1\.{NORM})", r"trunk.\1"),
        (rf"{p}(layer[1-4]\.{BLOCK})", r"trunk.\1"),
    )


def head_rules(prefix: str = "") -> Rules:
    """Map HMR's iterative head, found under a prefix, to ours; the names are the same."""
    layers = "fc1|fc2|decpose|decshape|deccam"
    return ((rf"{re.escape(prefix)}((?:{layers})\.(?:weight|bias))", r"head.\1"),)


def start_of(prefix: str = "") -> dict[str, tuple[str, ...]]:
    """Join HMR's start: 144 pose, 10 shape, 3 camera, the order of fc1's inputs in both."""
    return {"head.init_state": tuple(f"{prefix}init_{part}" for part in ("pose", "shape", "cam"))}


@dataclass(frozen=True)
class KeyMap:
    """How one kind of checkpoint becomes ours. Patterns match whole names."""

    kind: str
    version: int
    trunk: str = ""
    rules: Rules = ()  # (pattern of a source name, our name)
    containers: tuple[str, ...] = ()  # keys under which the file may hold its state dict
    joined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # ours: flat parts, in turn
    absent: str = f"{COUNTERS}|{CONSTANTS}"  # ours that such a file may lack
    unused: Rules = ()  # (pattern of a source name, why it has no place)
    settings: Mapping[str, str | int | float] = field(
        default_factory=dict
    )  # of the `model` section
    image_size: int | None = None  # pixels, what the weights expect

    def target(self, name: str) -> str | None:
        """Return our name of a source name, or None."""
        matches = ((re.fullmatch(pattern, name), ours) for pattern, ours in self.rules)
        return next((match.expand(ours) for match, ours in matches if match), None)

    def why_unused(self, name: str) -> str:
        """Return why a source name is left over."""
        known = (why for pattern, why in self.unused if re.fullmatch(pattern, name))
        return next(known, "unknown to the map")

    def may_lack(self, ours: str) -> bool:
        """Whether the file may lack one of our tensors, which then keeps its initial value."""
        return re.fullmatch(self.absent, ours) is not None


HMR_SETTINGS: Final[Settings] = {
    "pooling": "average",
    "dropout": 0.5,
    "iterations": 3,
    "activation": "none",
    "rank": 0,
}
UNUSED_OF_RELEASED: Final = (
    (r"model\.model\.layer4\..*", "SPIN's own prediction, which is no hypothesis"),
    (r"model\.model\.(fc[3-6]|decflow_(mu|logsigma))\..*", "the flow's head, which no loss reads"),
    (r"model_realnvp\..*", "the prior"),
    (r"smpl_mini\..*", "the body model"),
)


def _torchvision(trunk: str) -> KeyMap:
    return KeyMap(
        kind=f"torchvision-{trunk}",
        version=1,
        trunk=trunk,
        rules=trunk_rules(),
        containers=("state_dict", "model"),
        absent=rf"head\..*|pooling\..*|{COUNTERS}|{CONSTANTS}",
        unused=((r"fc\.(weight|bias)", "ImageNet's classifier"),),
    )


KEYMAPS: Final = {
    keymap.kind: keymap
    for keymap in (
        _torchvision("resnet18"),
        _torchvision("resnet50"),
        KeyMap(
            kind="spin",
            version=1,
            trunk="resnet50",
            rules=trunk_rules() + head_rules(),
            containers=("model",),
            joined=start_of(),
            settings={**HMR_SETTINGS, "head": "stacked", "feedback": "all"},
            image_size=224,
        ),
        KeyMap(
            kind="multibodies",
            version=1,
            trunk="resnet50",
            rules=(
                *trunk_rules("model.model."),
                (r"model\.model\.layer5\.2\.conv3\.(weight)", rf"{WIDENED}.conv.\1"),
                (rf"model\.model\.layer5\.2\.bn3\.({NORM})", rf"{WIDENED}.norm.\1"),
                (rf"model\.model\.layer5\.({BLOCK})", r"pooling.blocks.\1"),
                *head_rules("model.model."),
            ),
            joined=start_of("model.model."),
            unused=UNUSED_OF_RELEASED,
            settings={**HMR_SETTINGS, "head": "layer5"},
            image_size=224,
        ),
    )
}
