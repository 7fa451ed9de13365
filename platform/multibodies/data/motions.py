"""Real bodies for an adversarial prior: poses and shapes without images.

The embedded ones are widened from lab-train's keyframes as the generator draws them, never from a
val or test split's; others come from AMASS-like files. Shapes: N body, T frame.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multibodies.config import SPLITS, DataConfig, fingerprint
from multibodies.data.draws import draw_rows
from multibodies.data.poses import pose_bank, widen
from multibodies.data.sources.amass import read_amass
from multibodies.data.subjects import subject_pool

SPLIT = "lab-train"
FIRST_ROW = 2**40  # beyond any dataset's rows, and any stream's


class Motions(NamedTuple):
    """Bodies: theta [N, 24, 3] axis-angle, root first, and beta [N, 10]."""

    theta: Tensor
    beta: Tensor


def motions_of(path: str | None, count: int, data: DataConfig) -> Motions:
    """Return `count` bodies of the file or folder at `path`, None: of the embedded generator.

    Raises UserError as `read_amass`.
    """
    if path is not None:
        return Motions(*map(_tensor, read_amass(Path(path), count)))
    return embedded_motions(data.seed, data.lying_share, count)


def identity_of(path: str | None, count: int, data: DataConfig) -> str:
    """Return 16 hex digits that tell these bodies by content: files count, not where they lie.

    Raises UserError as `read_amass`.
    """
    if path is None:
        from multibodies.data.embedded import GENERATOR  # the renderer is slow to import

        return fingerprint("embedded", GENERATOR, data.seed, data.lying_share, count)
    bodies = motions_of(path, count, data)
    return fingerprint(*(hashlib.sha256(x.numpy().tobytes()).hexdigest() for x in bodies))


@lru_cache(maxsize=2)
def embedded_motions(seed: int, lying_share: float, count: int) -> Motions:
    """Draw bodies as the generator draws lab-train's, but none that an image of it shows."""
    split = SPLITS.index(SPLIT)
    draws = draw_rows(seed, split, range(FIRST_ROW, FIRST_ROW + count))
    theta, _ = widen(pose_bank(SPLIT, lying_share), draws, 0.0, (0.0, 0.0))
    people = subject_pool(seed, SPLIT, split)
    who = (draws.u("subject")[:, 0] * len(people.beta)).astype(int)
    return Motions(_tensor(theta), _tensor(people.beta[who]))


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
