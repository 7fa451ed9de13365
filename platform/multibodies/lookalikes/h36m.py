"""A small tree of Human3.6M: its folders, cdf, mp4, mat and pickle files, with people made up.

The pictures have the real size, so that the cameras can have the real focal length. Legend: T
frames, K joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from multibodies.core.body import BodyArrays
from multibodies.core.joints import J24_NAMES
from multibodies.lookalikes.h36m_files import (
    Rectangle,
    write_cdf,
    write_fits,
    write_masks,
    write_video,
)
from multibodies.lookalikes.people import Floats, Person, pose_person, project, sample_person

CAMERA_NUMBERS = {"54138969": 0, "55011271": 1, "58860488": 2, "60457274": 3}  # MoSh's
SIZES = {"54138969": (1000, 1002), "60457274": (1000, 1002)}
INTRINSICS = {
    "54138969": np.array([[1145.0, 0, 512.5], [0, 1143.8, 515.5], [0, 0, 1]]),
    "60457274": np.array([[1145.5, 0, 515.0], [0, 1144.8, 501.9], [0, 0, 1]]),
}
TAKES: Mapping[str, tuple[tuple[str, str], ...]] = {  # actions and cameras
    "S1": (("WalkDog 1", "54138969"), ("WalkDog 1", "60457274")),
    "S9": (("Walking", "60457274"), ("Walking 1", "54138969"), ("Walking 1", "60457274")),
}
GENDERS = {"S1": "female", "S9": "male"}

# The joints of `J_regressor_h36m`'s rows, by the names of its motion-capture skeleton; and where
# that skeleton has them among its 32 (some places hold the same point).
ROWS = (
    "Hips", "LeftUpLeg", "LeftLeg", "LeftFoot", "RightUpLeg", "RightLeg", "RightFoot", "Spine1",
    "Neck", "Head", "Site-Head", "LeftArm", "LeftForeArm", "LeftHand", "RightArm", "RightForeArm",
    "RightHand",
)  # fmt: skip
PLACES: Mapping[str, tuple[int, ...]] = {
    "Hips": (0, 11), "RightUpLeg": (1,), "RightLeg": (2,), "RightFoot": (3, 4, 5),
    "LeftUpLeg": (6,), "LeftLeg": (7,), "LeftFoot": (8, 9, 10), "Spine1": (12,),
    "Neck": (13, 16, 24), "Head": (14,), "Site-Head": (15,), "LeftArm": (17,), "LeftForeArm": (18,),
    "LeftHand": (19, 20, 21, 22, 23), "RightArm": (25,), "RightForeArm": (26,),
    "RightHand": (27, 28, 29, 30, 31),
}  # fmt: skip
# What the j24 set calls them.
AS_J24: Mapping[str, str] = {
    "Hips": "Pelvis (MPII)", "LeftUpLeg": "Left Hip", "LeftLeg": "Left Knee",
    "LeftFoot": "Left Ankle", "RightUpLeg": "Right Hip", "RightLeg": "Right Knee",
    "RightFoot": "Right Ankle", "Spine1": "Spine (H36M)", "Neck": "Neck (LSP)",
    "Head": "Jaw (H36M)", "Site-Head": "Head (H36M)", "LeftArm": "Left Shoulder",
    "LeftForeArm": "Left Elbow", "LeftHand": "Left Wrist", "RightArm": "Right Shoulder",
    "RightForeArm": "Right Elbow", "RightHand": "Right Wrist",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class H36mTruth:
    """One frame of one video: the person in the camera's frame, where its marks are drawn (j24
    [24, 2] pixels; the joints of the motion capture where it has them), and its mask."""

    subject: str
    action: str
    camera: str
    frame: int
    person: Person
    marks: Floats
    mask: Rectangle

    @property
    def joints32(self) -> Floats:
        """Motion capture [32, 3] metres: the surplus places repeat their neighbour."""
        return joints32(self.person)


def write_h36m(
    root: Path, body: BodyArrays, *, frames: int = 6, seed: int = 0, masks: bool = True
) -> list[H36mTruth]:
    """Write S1 (with MoSh's fits) and S9 before two cameras, and decoys called `_ALL`.

    `masks` False leaves MySegmentsMat out. Returns the truth of every frame of every video.
    """
    rng = np.random.default_rng(seed)
    truths: list[H36mTruth] = []
    for subject, takes in TAKES.items():
        for action, camera in takes:
            take = _take(body, rng, subject, action, camera, frames)
            _write_take(root / subject, take, rng, masks)
            truths += take
        _write_joints(root / subject, f"_ALL.{camera}", truths[-2 * frames :])
    return truths


def joints32(person: Person) -> Floats:
    """Return a person's joints as the motion capture has them [32, 3]."""
    joints = np.zeros((32, 3))
    for row, name in enumerate(ROWS):
        joints[list(PLACES[name])] = person.h36m17[row]
    return joints


def _take(
    body: BodyArrays, rng: np.random.Generator, subject: str, action: str, camera: str, frames: int
) -> list[H36mTruth]:
    """Make up a video: another pose every fifth frame, a step to the side every frame."""
    beta = rng.normal(size=10)
    take = []
    for frame in range(frames):
        if frame % 5 == 0:
            drawn = sample_person(body, rng, gender=GENDERS[subject])
            drawn = pose_person(body, drawn.theta, beta, drawn.translation, drawn.gender)
        person = _moved(drawn, np.array([0.02 * (frame % 5), 0.0, 0.0]))
        marks = _marks(person, INTRINSICS[camera])
        mask = _mask(marks, SIZES[camera])
        take.append(H36mTruth(subject, action, camera, frame, person, marks, mask))
    return take


def _moved(person: Person, shift: Floats) -> Person:
    return replace(
        person,
        translation=person.translation + shift,
        joints54=person.joints54 + shift,
        h36m17=person.h36m17 + shift,
        vertices=person.vertices + shift,
    )


def _marks(person: Person, intrinsics: Floats) -> Floats:
    points = person.j24.copy()
    for row, name in enumerate(ROWS):
        points[J24_NAMES.index(AS_J24[name])] = person.h36m17[row]
    return project(points, intrinsics)


def _mask(marks: Floats, size: tuple[int, int]) -> Rectangle:
    margin = np.array([12.0, 20.0])
    left, top = np.maximum(marks.min(0) - margin, 0).astype(int).tolist()
    right, bottom = np.minimum(marks.max(0) + margin, size).astype(int).tolist()
    return Rectangle(left, top, right, bottom)


def _write_take(folder: Path, take: list[H36mTruth], rng: np.random.Generator, masks: bool) -> None:
    first = take[0]
    stem = f"{first.action}.{first.camera}"
    _write_joints(folder, stem, take)
    video, size = folder / "Videos" / f"{stem}.mp4", SIZES[first.camera]
    write_video(video, size, [truth.marks for truth in take], int(rng.integers(1 << 30)))
    if masks:
        path = folder / "MySegmentsMat" / "ground_truth_bb" / f"{stem}.mat"
        write_masks(path, [truth.mask for truth in take], size)
    if first.subject == "S1":
        number = CAMERA_NUMBERS[first.camera]
        theta = np.array([truth.person.theta for truth in take[::5]])
        write_fits(
            folder / "mosh" / f"{first.action}_cam{number}_aligned.pkl", theta, first.person.beta
        )


def _write_joints(folder: Path, stem: str, take: list[H36mTruth]) -> None:
    points = np.array([truth.joints32 for truth in take])
    pixels = np.array([project(truth.joints32, INTRINSICS[truth.camera]) for truth in take])
    features = folder / "MyPoseFeatures"
    millimetres = 1000 * points.reshape(len(take), 96)
    write_cdf(features / "D3_Positions_mono" / f"{stem}.cdf", millimetres)
    write_cdf(features / "D2_Positions" / f"{stem}.cdf", pixels.reshape(len(take), 64))
