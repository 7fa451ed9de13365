"""The paper's occlusion on real pictures: which joints are hidden, and the box around the rest.

Legend: K joint. Boxes and points in pixels of the picture. Source: supplement B; the padding, what
"head" hides and the box's extra side are settings of `data`, with the released code's other values.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from multibodies.config import DataConfig
from multibodies.core.occlusion import draw_strategy, hidden_mask, hidden_openpose, visible_box
from multibodies.data.framing import MIN_KEPT
from multibodies.data.sources.record import Box, Record
from multibodies.data.sources.registry import base_split

Flags = npt.NDArray[np.bool_]
NOTHING = "none"


class Hidden(NamedTuple):
    """What of a record is to be seen: its box, the strategy, hidden joints [24] and [25]."""

    box: Box
    strategy: str
    joints: Flags
    openpose: Flags


def hide_record(record: Record, data: DataConfig, split: str, size: tuple[int, int]) -> Hidden:
    """Draw a strategy by (data.seed, image_id), hide its joints and re-crop to what stays visible.

    Every row of an ambiguous split, the share `data.occlusion_share` of a training split, no other.
    Nothing is hidden where fewer than 4 joints inside the picture would be left; the crop is made
    anew all the same. A row without keypoints stays as it is.
    """
    chance, kind = uniforms(data.seed, record.image_id)
    share = 1.0 if base_split(split) != split else data.occlusion_share if _trains(split) else 0.0
    if record.keypoints is None or chance >= share:
        return _whole(record)
    points = record.keypoints
    inside = (points[:, 2] > 0) & np.all((points[:, :2] >= 0) & (points[:, :2] <= size), axis=1)
    if not inside.any():
        return _whole(record)
    strategy = draw_strategy(torch.tensor([kind]))
    hidden = hidden_mask(strategy, data.occlusion_head).numpy()[0]
    if (inside & ~hidden).sum() < MIN_KEPT:
        strategy, hidden = [NOTHING], np.zeros(24, np.bool_)
    box = _box(points, inside & ~hidden, data)
    beside = hidden_openpose(strategy, data.occlusion_head).numpy()[0]
    return Hidden(box, strategy[0], hidden, beside)


def uniforms(seed: int, image_id: str) -> tuple[float, float]:
    """Return two numbers in [0, 1) that depend on the seed and the image's id alone."""
    digest = hashlib.sha256(f"{seed}:{image_id}".encode()).digest()
    first, second = (int.from_bytes(digest[k : k + 6]) / (1 << 48) for k in (0, 6))
    return first, second


def _trains(split: str) -> bool:
    return split.endswith("-train")


def _whole(record: Record) -> Hidden:
    return Hidden(record.box, NOTHING, np.zeros(24, np.bool_), np.zeros(25, np.bool_))


def _box(points: Any, seen: Flags, data: DataConfig) -> Box:
    flagged = torch.from_numpy(np.column_stack([points[:, :2], seen]))
    extra = data.crop_extra_px / data.image_size  # pixels of the crop, as a share of its side
    centre, half = visible_box(flagged, data.crop_padding, extra)
    return Box(float(centre[0]), float(centre[1]), 2 * float(half))
