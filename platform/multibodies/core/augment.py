"""SPIN's augmentation of training images and of their labels (nkolot/SPIN, base_dataset.py).

Shapes: B row, K joint, L side of the stored picture, S of the crop in its middle. What is seen is
turned about the crop's centre, then the crop's side grows by the scale, then the crop is mirrored,
then its channels are multiplied. Frames: ndc x right, y down; camera x right, y down, z forward: a
positive angle turns x towards y in both, clockwise as seen. Labels keep their dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as tf

from multibodies.core.camera import crop_camera
from multibodies.core.joints import H36M_FLIP, J24_FLIP, OPENPOSE25_FLIP, SMPL_FLIP
from multibodies.core.rotations import axis_angle_to_matrix, matrix_to_axis_angle


class Ranges(NamedTuple):
    """What may be drawn.

    flip: share of mirrored rows; rotation: standard deviation in radians, clipped at twice that;
    upright: share of rows that are not turned; scale: standard deviation about 1, clipped at once
    that; noise: channels times 1 - noise to 1 + noise.
    """

    flip: float = 0.0
    rotation: float = 0.0
    upright: float = 0.0
    scale: float = 0.0
    noise: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether what lies around the crop can come into view."""
        return bool((self.rotation and self.upright < 1) or self.scale)

    @property
    def active(self) -> bool:
        """Whether anything but nothing can be drawn."""
        return bool(self.moves or self.flip or self.noise)


class Draws(NamedTuple):
    """flip [B] bool, angle [B] in radians, scale [B] of the crop's side, gain [B, 3] of channels;
    float64."""

    flip: Tensor
    angle: Tensor
    scale: Tensor
    gain: Tensor


def draw(ranges: Ranges, count: int, generator: torch.Generator) -> Draws:
    """Draw for so many rows; what is drawn of one kind does not depend on the others' ranges."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    def normal(spread: float, most: float) -> Tensor:
        numbers = torch.randn(count, generator=generator, dtype=torch.float64)
        return (spread * numbers).clamp(-most, most)

    flip, upright = uniform(count) < ranges.flip, uniform(count) < ranges.upright
    angle = normal(ranges.rotation, 2 * ranges.rotation).masked_fill(upright, 0.0)
    scale = 1 + normal(ranges.scale, ranges.scale)
    return Draws(flip, angle, scale, 1 + ranges.noise * (2 * uniform(count, 3) - 1))


def augment(
    batch: Mapping[str, Tensor], draws: Draws, size: int, pelvis: Tensor | None = None
) -> dict[str, Tensor]:
    """Apply draws to a batch of rows: `image` uint8 [B, L, L, 3] -> [B, S, S, 3], and its labels.

    Columns by the schema's names; unknown ones stay as they are. A `camera` is turned about the
    body's root, so it needs `pelvis` [B, 3], the root's place at rest. Raises ValueError without.
    """
    made = dict(batch)
    for name, change in CHANGES.items():
        if name in made:
            made[name] = change(made[name], draws)
    if "camera" in made:
        if pelvis is None:
            raise ValueError("a camera needs the pelvis about which its body is turned")
        made["camera"] = change_camera(made["camera"], pelvis, draws)
    if "image" in made:
        made["image"] = change_pictures(made["image"], draws, size)
    return made


def change_pictures(images: Tensor, draws: Draws, size: int) -> Tensor:
    """Resample pictures uint8 [B, L, L, 3] once, bilinearly, to crops [B, S, S, 3].

    Outside of a picture is black. Where nothing is drawn these are the central S x S pixels.
    """
    c, s = torch.cos(draws.angle), torch.sin(draws.angle)
    sign = 1 - 2 * draws.flip.to(c.dtype)
    zero = torch.zeros_like(c)
    back = torch.stack([c * sign, s, zero, -s * sign, c, zero], -1).unflatten(-1, (2, 3))
    back = back * (draws.scale * size / images.shape[1])[:, None, None]
    pixels = images.permute(0, 3, 1, 2).float()
    grid = tf.affine_grid(back.to(pixels), [len(images), 3, size, size], align_corners=False)
    seen = tf.grid_sample(pixels, grid, padding_mode="zeros", align_corners=False)
    lit = seen * draws.gain.to(seen)[:, :, None, None]
    return lit.clamp_(0, 255).round_().to(torch.uint8).permute(0, 2, 3, 1)


def change_keypoints(points: Tensor, draws: Draws, mirror: tuple[int, ...]) -> Tensor:
    """Move points [B, K, 3] as (x, y, visible) in ndc; what leaves the crop is not visible."""
    moved = _turned(points, draws.angle)
    xy = moved[..., :2] / draws.scale.to(points)[:, None, None]
    seen = torch.where((xy.abs() <= 1).all(-1), points[..., 2], 0.0)
    return _mirrored(torch.cat([xy, seen[..., None]], -1), draws.flip, mirror)


def change_joints(joints: Tensor, draws: Draws, mirror: tuple[int, ...]) -> Tensor:
    """Turn centred joints [B, K, 3 or 4] about the optical axis, and mirror them."""
    return _mirrored(_turned(joints, draws.angle), draws.flip, mirror)


def change_pose(theta: Tensor, draws: Draws) -> Tensor:
    """Turn the root of theta [B, 24, 3] about the optical axis; mirror: left and right change
    places, components 1 and 2 their sign."""
    root = axis_angle_to_matrix(theta[:, 0])
    turned = matrix_to_axis_angle(_turned(root.mT, draws.angle).mT)
    first = torch.where((draws.angle != 0)[:, None], turned, theta[:, 0])
    moved = torch.cat([first[:, None], theta[:, 1:]], 1)
    mirrored = moved[:, list(SMPL_FLIP)] * moved.new_tensor([1.0, -1.0, -1.0])
    return torch.where(draws.flip[:, None, None], mirrored, moved)


def change_camera(camera: Tensor, pelvis: Tensor, draws: Draws) -> Tensor:
    """Return the weak-perspective cameras [B, 3] of the augmented bodies, whose roots stay at
    `pelvis` [B, 3]: t' = R (t + pelvis) - pelvis, scale divided by the draws', x mirrored."""
    shift = _turned(camera[:, None, 1:] + pelvis[:, None, :2], draws.angle)[:, 0] - pelvis[:, :2]
    centre, half = torch.zeros_like(shift), draws.scale.to(camera)
    seen = crop_camera(torch.cat([camera[:, :1], shift], 1), centre, half)
    # a symmetric body has its pelvis at x = 0; any other is mirrored about its own
    x = torch.where(draws.flip, -seen[:, 1] - 2 * pelvis[:, 0], seen[:, 1])
    return torch.stack([seen[:, 0], x, seen[:, 2]], 1)


CHANGES: dict[str, Callable[[Tensor, Draws], Tensor]] = {
    "keypoints_2d": partial(change_keypoints, mirror=J24_FLIP),
    "openpose": partial(change_keypoints, mirror=OPENPOSE25_FLIP),
    "joints_3d": partial(change_joints, mirror=J24_FLIP),
    "h36m17": partial(change_joints, mirror=H36M_FLIP),
    "theta": change_pose,
}


def _turned(vectors: Tensor, angle: Tensor) -> Tensor:
    """Turn x towards y in vectors [B, K, 2 or more]; what comes after x and y stays."""
    c, s = (f(angle).to(vectors)[:, None] for f in (torch.cos, torch.sin))
    x, y = vectors[..., 0], vectors[..., 1]
    return torch.cat([torch.stack([c * x - s * y, s * x + c * y], -1), vectors[..., 2:]], -1)


def _mirrored(points: Tensor, flip: Tensor, order: tuple[int, ...]) -> Tensor:
    """Mirror the rows [B, K, 2 or more] that `flip` [B] names: sides change places, x its sign."""
    other = points[:, list(order)]
    other = torch.cat([-other[..., :1], other[..., 1:]], -1)
    return torch.where(flip[:, None, None], other, points)
