"""A small MPI-INF-3DHP: S1/Seq1 with 14 cameras and TS1, in the set's own files.

Legend: N frame, K joint. Joints are named as in the set's `mpii_get_joint_set.m`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from multibodies.core.body import BodyArrays
from multibodies.core.joints import J24_NAMES, SMPL_NAMES
from multibodies.lookalikes.mpi_inf_3dhp_files import (
    Image,
    write_annotations,
    write_calibration,
    write_picture,
    write_test_annotations,
    write_video,
)
from multibodies.lookalikes.people import Floats, Person, draw_picture, project, sample_person

CAMERAS = 14
SQUARE = (2048, 2048)
SIZES = {"TS5": (1920, 1080), "TS6": (1920, 1080)}
CENTRE = np.array([0.0, 0.0, 4.2])  # the cameras stand around it; camera 0's frame, metres
STEP = 10
UNIVERSAL = 1.07  # univ_annot3 is this person at another height

# The 17 joints that SPIN takes, by their names in j24.
IN_J24 = {
    "pelvis": "Pelvis (MPII)", "spine": "Spine (H36M)", "neck": "Neck (LSP)", "head": "Jaw (H36M)",
    "head_top": "Head (H36M)", "left_shoulder": "Left Shoulder", "left_elbow": "Left Elbow",
    "left_wrist": "Left Wrist", "right_shoulder": "Right Shoulder", "right_elbow": "Right Elbow",
    "right_wrist": "Right Wrist", "left_hip": "Left Hip", "left_knee": "Left Knee",
    "left_ankle": "Left Ankle", "right_hip": "Right Hip", "right_knee": "Right Knee",
    "right_ankle": "Right Ankle",
}  # fmt: skip
# The others, roughly, by joints of SMPL.
IN_SMPL24 = {
    "spine2": "spine2", "spine3": "spine3", "spine4": "neck", "left_clavicle": "left_collar",
    "right_clavicle": "right_collar", "left_hand": "left_hand", "right_hand": "right_hand",
    "left_foot": "left_foot", "right_foot": "right_foot", "left_toe": "left_foot",
    "right_toe": "right_foot",
}  # fmt: skip
ALL_JOINTS = (
    "spine3", "spine4", "spine2", "spine", "pelvis", "neck", "head", "head_top", "left_clavicle",
    "left_shoulder", "left_elbow", "left_wrist", "left_hand", "right_clavicle", "right_shoulder",
    "right_elbow", "right_wrist", "right_hand", "left_hip", "left_knee", "left_ankle", "left_foot",
    "left_toe", "right_hip", "right_knee", "right_ankle", "right_foot", "right_toe",
)  # fmt: skip
TEST_JOINTS = (
    "head_top", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder",
    "left_elbow", "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee",
    "left_ankle", "pelvis", "spine", "head",
)  # fmt: skip


class Shot(NamedTuple):
    """The truth of one frame (from 0) of one camera (None: a test sequence): j24 joints [24, 3] in
    metres in its frame, those of the universal skeleton, and pixels [24, 2]."""

    sequence: str
    camera: int | None
    frame: int
    joints: Floats
    universal: Floats
    points: Floats


@dataclass(frozen=True, eq=False)
class _Camera:
    intrinsics: Floats
    rotation: Floats  # from camera 0's frame
    shift: Floats

    def __call__(self, points: Floats) -> Floats:
        return np.asarray(points @ self.rotation.T + self.shift)

    @property
    def extrinsic(self) -> Floats:
        """From the studio, whose y is up, in mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation * (1, -1, -1)
        matrix[:3, 3] = 1000 * self.shift
        return matrix


def write_mpi_inf_3dhp(
    root: Path,
    body: BodyArrays,
    *,
    frames: int = STEP + 1,
    cameras: Sequence[int] = (0, 8),
    layout: str = "video",
    outside: Collection[int] = (),
    valid: Sequence[bool] = (True, False, True),
    testing: Sequence[str] = ("TS1",),
    seed: int = 0,
) -> list[Shot]:
    """Write the tree below `root`; return the truth of every frame of the 14 cameras and of TS.

    Pictures of the given cameras only, as `imageSequence/video_k.avi` (layout "video") or
    `imageFrames/video_k/frame_%06d.jpg` ("frames"); joints are drawn in every 10th frame, the
    others are grey. In the frames of `outside` the person stands 3 m to the side.
    """
    rng = np.random.default_rng(seed)
    shots = _write_training(Path(root) / "S1" / "Seq1", body, rng, frames, outside)
    for camera in cameras:
        pictures = {
            shot.frame: draw_picture(SQUARE, shot.points, rng, 6)
            for shot in shots
            if shot.camera == camera and shot.frame % STEP == 0
        }
        _LAYOUTS[layout](Path(root) / "S1" / "Seq1", camera, pictures, frames)
    for name in testing:
        folder = Path(root) / "mpi_inf_3dhp_test_set" / name
        shots += _write_testing(folder, body, rng, valid)
    return shots


def named_joints(person: Person, shift: Floats, names: Sequence[str]) -> Floats:
    """Return a person's joints by the set's names: [len(names), 3]."""
    j24 = dict(zip(J24_NAMES, person.j24, strict=True))
    smpl = dict(zip(SMPL_NAMES, person.smpl24, strict=True))
    return np.array([j24[IN_J24[n]] if n in IN_J24 else smpl[IN_SMPL24[n]] for n in names]) + shift


def _cameras() -> list[_Camera]:
    """Cameras on a circle around CENTRE, all upright, with focal lengths of their own."""
    made = []
    for number, angle in enumerate(np.linspace(0, 2 * np.pi, CAMERAS, endpoint=False)):
        c, s = np.cos(angle), np.sin(angle)
        rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        focal, middle = 1480.0 + 5 * number, 1024.0 + 3 * number
        intrinsics = np.array([[focal, 0, middle], [0, focal, 2048 - middle], [0, 0, 1]])
        made.append(_Camera(intrinsics, rotation, CENTRE - rotation @ CENTRE))
    return made


def _write_training(
    folder: Path,
    body: BodyArrays,
    rng: np.random.Generator,
    frames: int,
    outside: Collection[int],
) -> list[Shot]:
    folder.mkdir(parents=True)
    people = [sample_person(body, rng, depth=4.0) for _ in range(0, frames, STEP)]
    cameras = _cameras()
    shots = []
    annotations: dict[str, list[Floats]] = {"annot2": [], "annot3": [], "univ_annot3": []}
    for number, camera in enumerate(cameras):
        rows = []
        for frame in range(frames):
            # Neighbouring frames differ by 2 cm, so that a label of the next frame is noticed.
            shift = np.array([0.02 * (frame % STEP) + 3.0 * (frame in outside), 0.0, 0.0])
            person = people[frame // STEP]
            rows.append(camera(named_joints(person, shift, ALL_JOINTS)))
            shots.append(_shot("S1/Seq1", number, frame, camera(person.j24 + shift), camera))
        joints = np.array(rows)
        annotations["annot2"].append(
            np.array([project(row, camera.intrinsics) for row in rows]).reshape(frames, -1)
        )
        annotations["annot3"].append(1000 * joints.reshape(frames, -1))
        annotations["univ_annot3"].append(1000 * _universal(joints, 4).reshape(frames, -1))
    write_annotations(folder / "annot.mat", annotations)
    intrinsics = [np.eye(4) for _ in cameras]
    for matrix, camera in zip(intrinsics, cameras, strict=True):
        matrix[:3, :3] = camera.intrinsics
    extrinsics = [camera.extrinsic for camera in cameras]
    write_calibration(folder / "camera.calibration", intrinsics, extrinsics)
    return shots


def _write_video(folder: Path, camera: int, pictures: dict[int, Image], count: int) -> None:
    path = folder / "imageSequence" / f"video_{camera}.avi"
    write_video(path, (pictures.get(frame) for frame in range(count)), SQUARE)


def _write_frames(folder: Path, camera: int, pictures: dict[int, Image], count: int) -> None:
    for frame, picture in pictures.items():
        name = f"frame_{frame + 1:06d}.jpg"
        write_picture(folder / "imageFrames" / f"video_{camera}" / name, picture)


_LAYOUTS = {"video": _write_video, "frames": _write_frames}


def _write_testing(
    folder: Path, body: BodyArrays, rng: np.random.Generator, valid: Sequence[bool]
) -> list[Shot]:
    (folder / "imageSequence").mkdir(parents=True)
    size = SIZES.get(folder.name, SQUARE)
    intrinsics = np.array([[1500.0, 0, size[0] / 2 - 6], [0, 1500.0, size[1] / 2 + 9], [0, 0, 1]])
    camera = _Camera(intrinsics, np.eye(3), np.zeros(3))
    people = [sample_person(body, rng, depth=4.0) for _ in valid]
    joints = np.array([named_joints(person, np.zeros(3), TEST_JOINTS) for person in people])
    shots = [_shot(folder.name, None, i, person.j24, camera) for i, person in enumerate(people)]
    points = np.array([project(row, intrinsics) for row in joints])
    write_test_annotations(
        folder / "annot_data.mat",
        {
            "annot2": points[:, None],
            "annot3": 1000 * joints[:, None],
            "univ_annot3": 1000 * _universal(joints, TEST_JOINTS.index("pelvis"))[:, None],
            "valid_frame": np.array(valid, np.float64)[:, None],
            "bb_crop": np.concatenate([points.min(1), points.max(1)], axis=1),
            "activity_annotation": np.ones((len(valid), 1)),
        },
    )
    for shot in shots:
        image = draw_picture(size, shot.points, rng, 6)
        write_picture(folder / "imageSequence" / f"img_{shot.frame + 1:06d}.jpg", image)
    return shots


def _shot(sequence: str, camera: int | None, frame: int, joints: Floats, seen_by: _Camera) -> Shot:
    universal = _universal(joints, J24_NAMES.index(IN_J24["pelvis"]))
    return Shot(sequence, camera, frame, joints, universal, project(joints, seen_by.intrinsics))


def _universal(joints: Floats, pelvis: int) -> Floats:
    """Scale about the pelvis: [..., K, 3]."""
    root = joints[..., pelvis : pelvis + 1, :]
    return np.asarray(root + UNIVERSAL * (joints - root))
