"""The paper's synthetic occlusion: hide keypoints by one of four strategies, then crop to the rest.

Shapes: B image, K joint (24, the j24 order). Keypoints are [..., 24, 3] = x, y, visible (0 or 1).
Source: 3D Multi-bodies, supplement B and its footnote 3 (probabilities). Which joints make up arms,
legs and head is the released code's (src/datasets/base_dataset.py); its "head" removes the arms,
`head="arms"` does that, the default removes the head, as the paper says.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from multibodies.errors import UserError, nearest

STRATEGIES = {"arms_head": 0.3, "legs": 0.3, "head": 0.3, "none": 0.1}
LEGS = (0, 1, 2, 3, 4, 5)
ARMS = (6, 7, 8, 9, 10, 11)
HEAD = (12, 13, 17, 18, 19, 20, 21, 22, 23)
OPENPOSE_LEGS = (*range(9, 15), *range(19, 25))
OPENPOSE_ARMS = tuple(range(2, 8))
OPENPOSE_HEAD = (0, 1, *range(15, 19))
HIDDEN_J24: dict[str, tuple[int, ...]] = {
    "arms_head": ARMS + HEAD,
    "legs": LEGS,
    "head": HEAD,
    "none": (),
}
# The same parts among OpenPose's 25 joints; the middle hip (8) belongs to none, like j24's pelvis.
HIDDEN_OPENPOSE25: dict[str, tuple[int, ...]] = {
    "arms_head": OPENPOSE_ARMS + OPENPOSE_HEAD,
    "legs": OPENPOSE_LEGS,
    "head": OPENPOSE_HEAD,
    "none": (),
}
HEAD_HIDES = {"head": HEAD, "arms": ARMS}  # the paper's meaning of "head", the released code's
MIN_SIDE = 1e-3  # of the frame's unit; a single visible joint still gives a box


def draw_strategy(uniform: Tensor) -> list[str]:
    """Turn uniform numbers [B] in [0, 1) into strategy names with the paper's probabilities."""
    edges = torch.tensor(list(STRATEGIES.values()), dtype=torch.float64).cumsum(0)[:-1]
    names = list(STRATEGIES)
    return [names[int(i)] for i in torch.bucketize(uniform.double(), edges, right=True)]


def hidden_joints(strategy: str, head: str = "head") -> tuple[int, ...]:
    """Return the joints that a strategy hides; `head` is what the strategy "head" stands for.

    Raises UserError on an unknown name of either.
    """
    for name, known in ((strategy, HIDDEN_J24), (head, HEAD_HIDES)):
        if name not in known:
            raise UserError(f"unknown occlusion strategy '{name}'{nearest(name, known)}")
    return HEAD_HIDES[head] if strategy == "head" else HIDDEN_J24[strategy]


def hidden_mask(strategies: Sequence[str], head: str = "head") -> Tensor:
    """Return bool [B, 24], true where the image's strategy hides the joint (`hidden_joints`)."""
    mask = torch.zeros(len(strategies), 24, dtype=torch.bool)
    for row, name in enumerate(strategies):
        mask[row, list(hidden_joints(name, head))] = True
    return mask


def hidden_openpose(strategies: Sequence[str], head: str = "head") -> Tensor:
    """Return bool [B, 25]: what `hidden_mask` is for j24, for OpenPose's 25 joints."""
    mask = torch.zeros(len(strategies), 25, dtype=torch.bool)
    for row, name in enumerate(strategies):
        hidden_joints(name, head)  # refuses unknown names
        arms = name == "head" and head == "arms"
        mask[row, list(OPENPOSE_ARMS if arms else HIDDEN_OPENPOSE25[name])] = True
    return mask


def hide(keypoints: Tensor, strategy: str) -> Tensor:
    """Return keypoints [..., 24, 3] with the visible flag of the strategy's joints set to 0."""
    _check(keypoints)
    keep = (~hidden_mask([strategy])[0]).to(keypoints)
    return torch.cat([keypoints[..., :2], keypoints[..., 2:] * keep[:, None]], dim=-1)


def visible_box(keypoints: Tensor, padding: float, extra: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return the square box around visible keypoints: [..., 24, 3] -> centre [..., 2], half [...].

    half = max(width, height) / 2 * (1 + 2 * padding) * (1 + extra): padding is a share of the side
    added on every side, extra a share of the padded side added to it.
    Raises UserError naming the first row without a visible joint, or with one that is not finite.
    """
    _check(keypoints)
    seen = keypoints[..., 2:] > 0
    bad = ~seen.any(-2)[..., 0] | (seen & ~torch.isfinite(keypoints[..., :2])).flatten(-2).any(-1)
    if bool(bad.any()):
        row = int(bad.reshape(-1).nonzero()[0])
        raise UserError(
            f"keypoints of row {row}: no visible joint, or one without finite x and y, to crop "
            "around; drop the row"
        )
    low = torch.where(seen, keypoints[..., :2], torch.inf).amin(-2)
    high = torch.where(seen, keypoints[..., :2], -torch.inf).amax(-2)
    side = (high - low).amax(-1).clamp_min(MIN_SIDE)
    return (low + high) / 2, side / 2 * (1 + 2 * padding) * (1 + extra)


def _check(keypoints: Tensor) -> None:
    if keypoints.shape[-2:] != (24, 3):
        raise UserError(
            f"keypoints must be [..., 24, 3] (x, y, visible), got {list(keypoints.shape)}"
        )
