"""The embedded generator: rendered people with exact SMPL-format labels, in the row schema.

Row i of a split depends only on (data.seed, split, i) and the settings: any chunking gives the same
bytes. An ambiguous split (`alab-val`) shows the same scenes in the same order as its base
(`lab-val`), occluded by the paper's rule. Labels are in the camera frame (x right, y down,
z forward), metres. Shapes: B row, V vertex, K joint, S image side.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from multibodies.config import AMBIGUOUS, SPLITS, DataConfig
from multibodies.core.body import BodyArrays
from multibodies.core.camera import camera_translation
from multibodies.core.occlusion import hidden_openpose
from multibodies.data.body_tables import Floats, Index, Poser, build_poser
from multibodies.data.clothes import Dress, body_regions, draw_outfits, paint
from multibodies.data.draws import Draws, draw_rows
from multibodies.data.framing import (
    Crop,
    Frames,
    crop_corners,
    frame_bodies,
    occlude,
    project_joints,
    whole_frames,
)
from multibodies.data.picture import compose, develop, new_sheets, visible_joints
from multibodies.data.poses import pose_bank, widen
from multibodies.data.posing import Bodies, pose_bodies
from multibodies.data.renderer import new_canvas, rasterise
from multibodies.data.scene import LOOKS, Scene, draw_scene
from multibodies.data.subjects import subject_pool
from multibodies.errors import UserError, nearest

Rows = dict[str, Any]

GENERATOR = 2  # part of every recipe: raise it with any change that changes a byte of a row
BLOCK = 64  # rows made together; bounds memory, does not change a byte
SAMPLES = 2  # anti-aliasing, samples per pixel side


class Model(NamedTuple):
    """What drawing needs of a body."""

    poser: Poser
    faces: Index  # [F, 3]
    rest: Floats  # [V, 3]
    regions: NDArray[np.int8]  # [V]


class Drawn(NamedTuple):
    """Rendered rows: images, visible flags, masks of the body where no occluder hides it."""

    image: NDArray[np.uint8]  # [B, S, S, 3]
    visible: Floats  # [B, 24 + 25]
    openpose: Floats  # [B, 25, 2] in ndc of the view
    mask: NDArray[np.bool_]  # [B, S, S]


def embedded_rows(
    split: str, start: int, count: int, data: DataConfig, body: BodyArrays, *, masks: bool = False
) -> Rows:
    """Return `count` rows of a split from row `start`: columns of the row schema, arrays or lists.

    With `masks`, also `mask` bool [B, S, S]: pixels where the body is seen. Raises UserError on an
    unknown split or a negative or empty range.
    """
    if split not in SPLITS + AMBIGUOUS:
        raise UserError(f"unknown split '{split}'{nearest(split, SPLITS + AMBIGUOUS)}")
    if start < 0 or count < 1:
        raise UserError(
            f"'{split}' from row {start}, {count} rows: need a start of 0 or more and a row"
        )
    model, stop = _model(body), start + count
    starts = range(start, stop, BLOCK)
    blocks = [_block(split, range(k, min(k + BLOCK, stop)), data, model) for k in starts]
    wanted = (name for name in blocks[0] if masks or name != "mask")
    return {name: _join([block[name] for block in blocks]) for name in wanted}


def base_split(split: str) -> str:
    """Return the split whose scenes a split shows: `alab-val` -> `lab-val`, others themselves."""
    return split[1:] if split in AMBIGUOUS else split


@lru_cache(maxsize=2)
def _model(body: BodyArrays) -> Model:
    rest = np.ascontiguousarray(body.v_template.numpy(), np.float32)
    faces = np.ascontiguousarray(body.faces.numpy().astype(np.uint32))
    return Model(build_poser(body), faces, rest, body_regions(body))


def _block(split: str, rows: range, data: DataConfig, model: Model) -> Rows:
    """Make one block of rows."""
    base = base_split(split)
    look, split_id = LOOKS[base.partition("-")[0]], SPLITS.index(base)
    draws, people = draw_rows(data.seed, split_id, rows), subject_pool(data.seed, base, split_id)
    who = (draws.u("subject")[:, 0] * len(people.beta)).astype(int)
    bank = pose_bank(base, data.lying_share)
    theta, sources = widen(bank, draws, data.heading_std_deg, look.pitch)
    pose, beta = theta.astype(np.float32), people.beta[who].astype(np.float32)
    bodies = pose_bodies(model.poser, pose, beta)
    frames = whole_frames(bodies, frame_bodies(bodies, draws, look, data.clutter))
    frames = _occluded(split, frames, bodies, draws, data)
    dress, scene = draw_outfits(people, who, draws), draw_scene(draws, look, data.clutter)
    drawn = _draw(model, bodies, frames, dress, scene, data)
    names = _names(split, rows, [f"{base}-s{k:03d}" for k in who], sources, frames.strategy)
    return names | _labels(bodies, frames, pose, beta, drawn)


def _occluded(split: str, frames: Frames, bodies: Bodies, draws: Draws, data: DataConfig) -> Frames:
    """Hide joints in all rows of an ambiguous split and in a share of `lab-train`."""
    share = {"lab-train": data.occlusion_share}.get(split, 1.0 if split in AMBIGUOUS else 0.0)
    if share == 0.0:
        return frames
    extra = data.crop_extra_px / data.image_size  # a share of the crop's side, which is its pixels
    return occlude(
        frames, bodies, draws, Crop(share, data.crop_padding, extra, data.occlusion_head)
    )


def _draw(
    model: Model, bodies: Bodies, frames: Frames, dress: Dress, scene: Scene, data: DataConfig
) -> Drawn:
    """Dress, rasterise and compose every row, and see which joints can be seen."""
    count, rest, size = len(frames.camera), model.rest, data.image_size
    canvas, sheets = new_canvas(size, SAMPLES, len(rest), len(model.faces)), new_sheets(size)
    shift = camera_translation(torch.from_numpy(frames.camera.astype(np.float64))).numpy()
    shift, colours = shift.astype(np.float32), np.empty_like(rest)
    image = np.empty((count, size, size, 3), np.uint8)
    visible, mask = np.empty((count, 49), np.float32), np.empty((count, size, size), np.bool_)
    joints = np.concatenate([bodies.j24, bodies.openpose25], axis=1)
    far = joints[..., 2] + shift[:, 2:]
    openpose = project_joints(bodies.openpose25, frames.camera)
    points = np.concatenate([frames.keypoints, openpose], axis=1)
    for row in range(count):
        paint(model.regions, rest, *dress.outfit(row), colours)
        lamp = scene.light.lamp(row)
        rasterise(bodies.vertices[row], model.faces, colours, shift[row], lamp, canvas)
        compose(canvas, SAMPLES, scene, row, frames.view[row], sheets)
        develop(sheets.body, scene.grain[row], scene.bits[row], image[row])
        visible_joints(canvas.depth, sheets.front, points[row], far[row], visible[row])
        mask[row] = (sheets.front < 0) & (sheets.cover >= 0.5)
    hidden = hidden_openpose(frames.strategy, data.occlusion_head).numpy()
    visible *= ~np.concatenate([frames.hidden, hidden], axis=1)
    return Drawn(image, visible, openpose, mask)


def _names(
    split: str, rows: range, subjects: list[str], sources: list[str], strategy: list[str]
) -> Rows:
    count = len(rows)
    return {
        "image_id": [f"{split}-{i:08d}" for i in rows],
        "dataset": [split.partition("-")[0]] * count,
        "split": [split] * count,
        "subject": subjects,
        "sequence": sources,
        "frame": np.arange(rows.start, rows.stop, dtype=np.int32),
        "gender": ["neutral"] * count,
        "occlusion": strategy,
        "source": ["embedded"] * count,
    }


def _labels(bodies: Bodies, frames: Frames, theta: Floats, beta: Floats, drawn: Drawn) -> Rows:
    count = len(theta)
    centre = 0.5 * (bodies.j24[:, 2:3] + bodies.j24[:, 3:4])
    confident, visible = np.ones((count, 24, 1), np.float32), drawn.visible[..., None]
    return {
        "image": drawn.image,
        "keypoints_2d": np.concatenate([frames.keypoints, visible[:, :24]], axis=-1),
        "openpose": np.concatenate([drawn.openpose, visible[:, 24:]], axis=-1),
        "joints_3d": np.concatenate([bodies.j24 - centre, confident], axis=-1),
        "h36m17": bodies.h36m17 - bodies.h36m17[:, :1],
        "theta": theta,
        "beta": beta,
        "camera": frames.camera,
        **{name: np.ones(count, bool) for name in ("has_2d", "has_3d", "has_h36m17", "has_smpl")},
        "crop": crop_corners(frames.view),
        "mask": drawn.mask,
    }


def _join(parts: list[Any]) -> Any:
    if isinstance(parts[0], list):
        return [item for part in parts for item in part]
    return np.concatenate(parts)
