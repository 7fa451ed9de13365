"""What a regressor is made of: a checkpoint's recipe, and the state that a head gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass

POSE, SHAPE, CAMERA = 144, 10, 3
STATE = POSE + SHAPE + CAMERA  # 24 rotations in 6D, beta, (s, tx, ty)


@dataclass(frozen=True)
class RegressorSpec:
    """What a checkpoint must say so that its network can be built again (plain JSON values)."""

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

    def to_json(self) -> dict[str, str | int | float]:
        """Return the fields as plain values."""
        return asdict(self)
