"""A look-alike of 3DPW: walking persons before a moving camera, in pickles as Python 2 wrote them.

Legend: N frame, K joint. The world has y up; `cam_poses` turn and shift it into the camera. Every
truth comes from the mesh, posed in the world and then moved, not from the importer's equation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from multibodies.core.body import BodyArrays
from multibodies.core.joints import OPENPOSE25_NAMES
from multibodies.lookalikes.people import (
    UPRIGHT,
    Floats,
    Person,
    pose_person,
    project,
    turn,
)
from multibodies.lookalikes.python2 import write_python2
from multibodies.lookalikes.threedpw_truth import INTRINSICS, Truth, draw_pictures

PLACES = {"train": "courtyard", "validation": "outdoors", "test": "downtown"}
LETTERS = {"male": "m", "female": "f"}
# The names of OpenPose's COCO model, in its order.
COCO18_NAMES = (
    "Nose", "Neck", "Right Shoulder", "Right Elbow", "Right Wrist", "Left Shoulder", "Left Elbow",
    "Left Wrist", "Right Hip", "Right Knee", "Right Ankle", "Left Hip", "Left Knee", "Left Ankle",
    "Right Eye", "Left Eye", "Right Ear", "Left Ear",
)  # fmt: skip
CENTRE = np.array([2.3, -0.4, -1.1])  # between the persons, in the world


def write_threedpw(
    root: Path,
    bodies: Mapping[str, BodyArrays],
    *,
    splits: tuple[str, ...] = tuple(PLACES),
    sequences: int = 1,
    frames: int = 6,
    seed: int = 0,
    pictures: bool = True,
) -> list[Truth]:
    """Write a small tree: in each sequence of a split two persons, one of them female.

    bodies: "male" and "female" -> body. Frame 1 has no aligned camera for anybody, frame 2 none
    for person 0; in frame 3 nobody saw a joint of person 1. The first person's `betas` hold 10
    numbers and the second's 300. The validation split spells its fields the other way.
    """
    truths = []
    for split in splits:
        for number in range(sequences):
            name = f"{PLACES[split]}_lookalike_{number:02d}"
            rng = np.random.default_rng([seed, list(PLACES).index(split), number])
            truth = _sequence(root, split, name, bodies, frames, rng)
            folder = root / "sequenceFiles" / split
            folder.mkdir(parents=True, exist_ok=True)
            write_python2(folder / f"{name}.pkl", _fields(truth, split == "validation", rng))
            if pictures:
                draw_pictures(truth, rng)
            truths += truth
    return truths


def _sequence(
    root: Path,
    split: str,
    name: str,
    bodies: Mapping[str, BodyArrays],
    frames: int,
    rng: np.random.Generator,
) -> list[Truth]:
    cameras = [_camera(rng) for _ in range(frames)]
    truths = []
    for person, gender in enumerate(("female", "male")):
        beta = rng.normal(size=10)
        walk = CENTRE + np.array([1.6 * person - 0.8, 0.0, 0.3 * person])
        for i, camera in enumerate(cameras):
            theta = 0.2 * rng.normal(size=(24, 3))
            theta[0] = turn([0.0, rng.uniform(-np.pi, np.pi), 0.0], 0.2 * rng.normal(size=3))
            step = np.array([0.0, 0.02 * i, 0.03 * i])
            posed = pose_person(bodies[gender], theta, beta, walk + step, gender)
            seen = theta.copy()
            seen[0] = turn(Rotation.from_matrix(camera[:3, :3]).as_rotvec(), theta[0])
            image = root / "imageFiles" / name / f"image_{i:05d}.jpg"
            points = _detect(posed, camera, rng)
            points[:, 2] *= (person, i) != (1, 3)
            valid = i != 1 and (person, i) != (0, 2)
            truth = Truth(split, name, person, i, valid, image, posed, camera, seen, points)
            truths.append(truth)
    return truths


def _camera(rng: np.random.Generator) -> Floats:
    """World -> camera: about 6 m before the persons, turned a little about every axis."""
    camera = np.eye(4)
    tilt = Rotation.from_euler("YXZ", rng.uniform(-0.2, 0.2, 3))
    camera[:3, :3] = (tilt * Rotation.from_rotvec(UPRIGHT)).as_matrix()
    target = np.array([0.0, 0.0, 6.0]) + rng.uniform(-0.1, 0.1, 3)
    camera[:3, 3] = target - camera[:3, :3] @ CENTRE
    return camera


def _detect(person: Person, camera: Floats, rng: np.random.Generator) -> Floats:
    """What a detector may say: OpenPose's joints a few pixels off, some not seen [18, 3]."""
    names = [OPENPOSE25_NAMES.index(name) for name in COCO18_NAMES]
    joints = person.openpose25[names] @ camera[:3, :3].T + camera[:3, 3]
    points = project(joints, INTRINSICS) + rng.normal(scale=2.0, size=(18, 2))
    confidence = rng.uniform(0.3, 1.0, 18) * (rng.uniform(size=18) > 0.2)
    return np.column_stack([points * (confidence[:, None] > 0), confidence])


def _fields(truths: list[Truth], other_spelling: bool, rng: np.random.Generator) -> dict[str, Any]:
    """Return the sequence's dict with all of the set's keys."""
    people = [[t for t in truths if t.person == p] for p in (0, 1)]
    frames = len(people[0])
    poses = [np.stack([t.world.theta.reshape(72) for t in own]) for own in people]
    trans = [np.stack([t.world.translation for t in own]) for own in people]
    betas = [people[0][0].world.beta, np.zeros(300)]
    betas[1][:10] = people[1][0].world.beta
    betas[1][10:] = rng.normal(size=290)
    fields: dict[str, Any] = {
        "sequence": np.array(truths[0].sequence),
        "poses": poses,
        "trans": trans,
        "betas": betas,
        "poses_60Hz": [np.repeat(a, 2, 0) for a in poses],
        "trans_60Hz": [np.repeat(a, 2, 0) for a in trans],
        "betas_clothed": [own[0].world.beta + 0.1 for own in people],
        "v_template_clothed": [own[0].world.vertices for own in people],
        "texture_maps": [],
        "genders": [LETTERS[own[0].world.gender] for own in people],
        "poses2d": [np.stack([t.points.T for t in own]) for own in people],
        "jointPositions": [np.stack([t.world.smpl24.reshape(72) for t in own]) for own in people],
        "campose_valid": [np.array([t.valid for t in own], np.uint8) for own in people],
        "cam_poses": np.stack([t.camera for t in people[0]]),
        "cam_intrinsics": INTRINSICS,
        "img_frame_ids": np.arange(0, 2 * frames, 2, dtype=np.uint16),
    }
    if other_spelling:
        fields["gender"] = [np.array(letter) for letter in fields.pop("genders")]
        fields["poses2D"] = fields.pop("poses2d")
    return fields
