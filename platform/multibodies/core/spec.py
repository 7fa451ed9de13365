"""What a regressor is made of: a checkpoint's recipe, and the state that a head gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

POSE, SHAPE, CAMERA = 144, 10, 3
STATE = POSE + SHAPE + CAMERA  # 24 rotations in 6D, beta, (s, tx, ty)

LATER = ("system", "options")  # fields that older checkpoints do not have


@dataclass(frozen=True)
class RegressorSpec:
    """What a checkpoint must say so that its network can be built again (plain JSON values).

    `system` is whose network it is, `options` what else decides its shapes.
    """

    trunk: str = "resnet50"
    width: int = 64
    pooling: str = "average"
    hidden: int = 1024
    dropout: float = 0.5
    iterations: int = 3
    feedback: str = "all"
    activation: str = "none"
    num_hypotheses: int = 1
    head: str = "stacked"
    rank: int = 0
    system: str = "ours"
    options: Mapping[str, int | float | str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values; those of LATER only where they are not as usual."""
        usual = RegressorSpec()
        later = {name for name in LATER if getattr(self, name) == getattr(usual, name)}
        return {name: value for name, value in asdict(self).items() if name not in later}
