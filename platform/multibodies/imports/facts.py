"""Which network a renamed state dict holds: trunk, width, hidden size, M."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from multibodies.core.resnet import ARCHITECTURES, Bottleneck
from multibodies.errors import UserError
from multibodies.imports.convert import Renamed
from multibodies.imports.keymaps import WIDENED, KeyMap

NAMES = {(block is Bottleneck, depths): name for name, (block, depths) in ARCHITECTURES.items()}

LAST_CONV = "trunk.layer4.2.conv3"


@dataclass(frozen=True)
class Facts:
    """What the shapes tell; hidden is None where the file has no head."""

    trunk: str
    width: int
    hidden: int | None
    num_hypotheses: int


def facts_of(renamed: Renamed, keymap: KeyMap, where: object) -> Facts:
    """Read the facts from tensors under our names.

    Raises UserError naming `where`, what was expected and what was found.
    """
    tensors = renamed.tensors
    if "trunk.conv1.weight" not in tensors:
        found = ", ".join(f"'{name}'" for name in list(renamed.left_over)[:3])
        raise UserError(
            f"{where}: no {keymap.trunk} named as a {keymap.kind} checkpoint names it; "
            f"found {found or 'a part of one'}; is it of another kind?"
        )
    trunk = _trunk(tensors)
    if trunk != keymap.trunk:
        raise UserError(f"{where}: holds a {trunk}, expected a {keymap.trunk} ({keymap.kind})")
    head = tensors.get("head.fc1.weight")
    return Facts(
        trunk=trunk,
        width=len(tensors["trunk.conv1.weight"]),
        hidden=None if head is None else len(head),
        num_hypotheses=_num_hypotheses(tensors, keymap, where),
    )


def _trunk(tensors: Mapping[str, Tensor]) -> str:
    """Name the ResNet by its blocks."""
    found = {re.match(r"trunk\.layer([1-4])\.(\d+)\.", name) for name in tensors}
    blocks = {(int(match[1]), int(match[2])) for match in found if match}
    depths = tuple(sum(stage == s for stage, _ in blocks) for s in (1, 2, 3, 4))
    deep = "trunk.layer1.0.conv3.weight" in tensors
    kind = "bottleneck" if deep else "basic"
    counts = ", ".join(str(depth) for depth in depths)
    return NAMES.get((deep, depths), f"ResNet of {counts} {kind} blocks")  # type: ignore[arg-type]


def _num_hypotheses(tensors: Mapping[str, Tensor], keymap: KeyMap, where: object) -> int:
    """Return M: how many times wider layer5's last convolution is than layer4's."""
    if keymap.settings.get("head") != "layer5":
        return 1
    wide, narrow = (tensors.get(f"{name}.weight") for name in (f"{WIDENED}.conv", LAST_CONV))
    if wide is None or narrow is None:
        raise UserError(f"{where}: no conv3 in layer4.2 or layer5.2, whose rows tell M")
    if len(wide) % len(narrow):
        raise UserError(
            f"{where}: layer5.2.conv3 has {len(wide)} rows, expected a multiple of {len(narrow)}"
        )
    return len(wide) // len(narrow)
