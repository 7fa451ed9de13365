"""The embedded generator: rendered people with exact SMPL-format labels, in the row schema.

Row i of a split depends only on (data.seed, split, i) and the settings: any chunking gives the same bytes. An ambiguous
split (`alab-val`) shows the same scenes in the same order as its base (`lab-val`), occluded by the paper's rule.
Labels are in the camera frame (x right, y down, z forward), metres. Shapes: B row, V vertex, K joint, S image side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from multibodies.config import AMBIGUOUS, SPLITS, DataConfig
from multibodies.core.body import BodyArrays
from multibodies.core.camera import camera_translation
from multibodies.data.clothes import Dress, body_regions, draw_outfits, paint
from multibodies.data.draws import Draws, draw_rows
from multibodies.data.framing import Frames, crop_corners, frame_bodies, occlude, whole_frames
from multibodies.data.jit import jit
from multibodies.data.picture import Sheets, compose, develop, new_sheets, visible_joints
from multibodies.data.poses import pose_bank, widen
from multibodies.data.posing import Bodies, Poser, build_poser, pose_bodies
from multibodies.data.renderer import Canvas, new_canvas, rasterise
from multibodies.data.scene import LOOKS, Scene, draw_scene
from multibodies.data.subjects import subject_pool
from multibodies.errors import UserError, nearest

Rows = dict[str, Any]
Floats = NDArray[np.float32]

BLOCK = 64  # rows posed and drawn together; bounds memory, does not change a byte
SAMPLES = 2  # anti-aliasing, samples per pixel side


class Model(NamedTuple):
    """What the kernels need of a body: posing tables, faces [F, 3], rest vertices [V, 3], clothing regions [V]."""

    poser: Poser
    faces: NDArray[np.uint32]
    rest: Floats
    regions: NDArray[np.int8]


class Drawn(NamedTuple):
    """Rendered rows: image uint8 [B, S, S, 3], visible [B, 24], mask bool [B, S, S] of the body in front of occluders."""

    image: NDArray[np.uint8]
    visible: Floats
    mask: NDArray[np.bool_]


def embedded_rows(
    split: str, start: int, count: int, data: DataConfig, body: BodyArrays, *, masks: bool = False
) -> Rows:
    """Return rows start..start+count-1 of a split as columns of the row schema (arrays, and lists of strings).

    With `masks`, also `mask` bool [B, S, S]: pixels where the body is seen. Raises UserError on an unknown split
    or a negative range.
    """
    if split not in SPLITS + AMBIGUOUS:
        raise UserError(f"unknown split '{split}'{nearest(split, SPLITS + AMBIGUOUS)}")
    if start < 0 or count < 1:
        raise UserError(
            f"rows {start}..{start + count - 1} of '{split}': need start >= 0 and count >= 1"
        )
    model = _model(body)
    ends = range(start, start + count, BLOCK)
    blocks = [_block(split, range(k, min(k + BLOCK, start + count)), data, model) for k in ends]
    columns = {name: [block[name] for block in blocks] for name in blocks[0]}
    rows = {name: _join(parts) for name, parts in columns.items()}
    if not masks:
        del rows["mask"]
    return rows


def base_split(split: str) -> str:
    """Return the split whose scenes an ambiguous split shows: `alab-val` -> `lab-val`; others are their own."""
    return split[1:] if split in AMBIGUOUS else split


def _model(body: BodyArrays) -> Model:
    known = _MODELS.get(body.sha256) if body.sha256 else None
    if known is None:
        rest = np.ascontiguousarray(body.v_template.numpy(), np.float32)
        faces = np.ascontiguousarray(body.faces.numpy().astype(np.uint32))
        known = _MODELS[body.sha256] = Model(build_poser(body), faces, rest, body_regions(body))
    return known


def _block(split: str, rows: range, data: DataConfig, model: Model) -> Rows:
    """Make one block of rows."""
    base = base_split(split)
    look = LOOKS[base.split("-")[0]]
    draws = draw_rows(data.seed, SPLITS.index(base), rows)
    people = subject_pool(data.seed, base, SPLITS.index(base))
    who = (draws.u("subject")[:, 0] * len(people.beta)).astype(int)
    theta, sources = widen(
        pose_bank(base, data.lying_share), draws, data.heading_std_deg, look.pitch
    )
    theta32, beta = theta.astype(np.float32), people.beta[who].astype(np.float32)
    bodies = pose_bodies(model.poser, theta32, beta)
    frames = _frames(split, bodies, draws, data)
    dress, scene = draw_outfits(people, who, draws), draw_scene(draws, look, data.clutter)
    drawn = _draw(model, bodies, frames, dress, scene, data.image_size)
    return {
        **_names(split, rows, [f"{base}-s{k:03d}" for k in who], sources, frames.strategy),
        **_labels(bodies, frames, theta32, beta, drawn),
    }


def _frames(split: str, bodies: Bodies, draws: Draws, data: DataConfig) -> Frames:
    look = LOOKS[base_split(split).split("-")[0]]
    frames = whole_frames(bodies, frame_bodies(bodies, draws, look, data.clutter))
    share = 1.0 if split in AMBIGUOUS else data.occlusion_share if split == "lab-train" else 0.0
    return occlude(frames, bodies, draws, share, data.crop_padding) if share > 0 else frames


def _draw(
    model: Model, bodies: Bodies, frames: Frames, dress: Dress, scene: Scene, size: int
) -> Drawn:
    count = len(frames.camera)
    canvas = new_canvas(size, SAMPLES, len(model.rest), len(model.faces))
    shift = (
        camera_translation(torch.from_numpy(frames.camera.astype(np.float64)))
        .numpy()
        .astype(np.float32)
    )
    image = np.empty((count, size, size, 3), np.uint8)
    visible = np.empty((count, 24), np.float32)
    mask = np.empty((count, size, size), np.bool_)
    _draw_rows(
        model,
        bodies,
        frames.keypoints,
        frames.view,
        shift,
        dress,
        scene,
        canvas,
        new_sheets(size),
        image,
        visible,
        mask,
    )
    return Drawn(image, visible * ~frames.hidden, mask)


@jit
def _draw_rows(
    model: Model,
    bodies: Bodies,
    keypoints: Floats,
    view: Floats,
    shift: Floats,
    dress: Dress,
    scene: Scene,
    canvas: Canvas,
    sheets: Sheets,
    image: NDArray[np.uint8],
    visible: Floats,
    mask: NDArray[np.bool_],
) -> None:
    """Dress, rasterise and compose every row, and look which joints can be seen."""
    colours = np.empty((len(model.rest), 3), np.float32)
    for row in range(len(image)):
        paint(model.regions, model.rest, dress, row, colours)
        rasterise(bodies.vertices[row], model.faces, colours, shift[row], scene.light, row, canvas)
        compose(canvas, SAMPLES, scene, row, view[row], sheets)
        develop(sheets.body, scene.grain[row], scene.bits[row], image[row])
        visible_joints(
            canvas, sheets, keypoints[row], bodies.j24[row, :, 2] + shift[row, 2], visible[row]
        )
        for j in range(image.shape[1]):
            for i in range(image.shape[2]):
                mask[row, j, i] = sheets.front[j, i] < 0 and sheets.cover[j, i] >= 0.5


def _names(
    split: str, rows: range, subjects: list[str], sources: list[str], strategy: list[str]
) -> Rows:
    count = len(rows)
    return {
        "image_id": [f"{split}-{i:08d}" for i in rows],
        "dataset": [split.split("-")[0]] * count,
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
    confident = np.ones((count, 24, 1), np.float32)
    return {
        "image": drawn.image,
        "keypoints_2d": np.concatenate([frames.keypoints, drawn.visible[..., None]], axis=-1),
        "joints_3d": np.concatenate([bodies.j24 - centre, confident], axis=-1),
        "h36m17": bodies.h36m17 - bodies.h36m17[:, :1],
        "theta": theta,
        "beta": beta,
        "camera": frames.camera,
        "has_3d": np.ones(count, bool),
        "has_smpl": np.ones(count, bool),
        "crop": crop_corners(frames.view),
        "mask": drawn.mask,
    }


def _join(parts: list[Any]) -> Any:
    if isinstance(parts[0], list):
        return [item for part in parts for item in part]
    return np.concatenate(parts)


_MODELS: dict[str, Model] = {}
