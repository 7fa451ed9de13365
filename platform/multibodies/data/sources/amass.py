"""Motions in AMASS' layout: .npz files with `poses` and `betas`, read without pickles.

Shapes: N body, T frame of a file, F frame that is taken. Rotations are axis-angle, radians.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multibodies.data.sources.npz.safe_npz import NUMBERS, SafeArray, SafeNpz, open_npz
from multibodies.errors import UserError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

SMPL, BODY, SHAPE = 72, 66, 10  # numbers of a pose, of its part without hands, of a shape
SUBJECT_FILES = ("shape.npz", "*_stagei.npz")  # who moved, without a motion
LAYOUT = f"expected axis-angle poses [T, {SMPL}] (SMPL) or longer ones (SMPL-H, SMPL-X)"


def read_amass(path: Path, count: int) -> tuple[Floats, Floats]:
    """Read theta [N, 24, 3] and beta [N, 10] of a file or of every .npz below a folder: `count`
    frames, or all if there are fewer.

    A file has `poses` [T, 72 or more] and `betas` [10 or more] or [T, 10 or more]; of longer poses
    the first 66 numbers count and hands are at rest. Which frames are taken depends on the files'
    order and lengths alone. Raises UserError naming the file and key that is missing, damaged, not
    finite or of another shape.
    """
    files = _files(path)
    lengths = [_clip(open_npz(file))[0].shape[0] for file in files]
    if not sum(lengths):
        raise UserError(f"{path}: 'poses' has no frame; give files with motions")
    chosen = _spread(sum(lengths), count)
    ends = np.cumsum(lengths)
    clips = []
    for file, length, end in zip(files, lengths, ends, strict=True):
        frames = chosen[(chosen >= end - length) & (chosen < end)] - (end - length)
        if len(frames):
            clips.append(_read(open_npz(file), frames))
    theta, beta = (np.concatenate(parts) for parts in zip(*clips, strict=True))
    return theta, beta


def _files(path: Path) -> list[Path]:
    """Return the files with motions at a path, in the order of their names."""
    if not path.is_dir():
        return [path]
    found = sorted(path.rglob("*.npz"))
    files = [file for file in found if not any(file.match(name) for name in SUBJECT_FILES)]
    if not files:
        raise UserError(f"{path}: no .npz with motions below it; give AMASS-like files")
    return files


def _spread(total: int, count: int) -> Ints:
    """Choose up to `count` of `total` frames, in order, by a seed of its own."""
    if total <= count:
        return np.arange(total)
    return np.sort(np.random.default_rng(0).choice(total, count, replace=False))


def _clip(npz: SafeNpz) -> tuple[SafeArray, SafeArray]:
    """Return a file's poses and betas. Raises UserError on other shapes."""
    poses, betas = npz.array("poses"), npz.array("betas")
    if len(poses.shape) != 2 or poses.shape[1] < SMPL or poses.dtype.kind not in NUMBERS:
        raise UserError(f"{poses.label}: {poses.dtype} of shape {poses.shape}; {LAYOUT}")
    lengths = {1: (), 2: poses.shape[:1]}
    if (
        lengths.get(len(betas.shape)) != betas.shape[:-1]
        or betas.shape[-1] < SHAPE
        or betas.dtype.kind not in NUMBERS
    ):
        raise UserError(
            f"{betas.label}: {betas.dtype} of shape {betas.shape}; expected [{SHAPE} or more], or "
            f"one such row for each of the {poses.shape[0]} frames"
        )
    return poses, betas


def _read(npz: SafeNpz, frames: Ints) -> tuple[Floats, Floats]:
    """Return theta [F, 24, 3] and beta [F, 10] of the given frames of a file, in order."""
    poses, betas = _clip(npz)
    numbers = SMPL if poses.shape[1] == SMPL else BODY
    theta = np.zeros((len(frames), SMPL), np.float32)
    theta[:, :numbers] = _rows(poses, frames)[:, :numbers]
    if len(betas.shape) == 2:
        beta = _rows(betas, frames)[:, :SHAPE]
    else:
        beta = np.tile(_finite(betas, betas.rows(0, betas.shape[0]))[:SHAPE], (len(frames), 1))
    return theta.reshape(-1, 24, 3), beta


def _rows(array: SafeArray, frames: Ints) -> Floats:
    """Read the given rows, which are in order."""
    first = int(frames[0])
    return _finite(array, array.rows(first, int(frames[-1]) - first + 1)[frames - first])


def _finite(array: SafeArray, values: NDArray[Any]) -> Floats:
    found = values.astype(np.float32)
    if not np.isfinite(found).all():
        raise UserError(f"{array.label}: holds numbers that are not finite; leave such frames out")
    return found
