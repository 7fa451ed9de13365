"""Look-alikes of SPIN's and ProHMR's npz, of SPIN's static fits, and of the pictures they name.

Legend: N person, K joint. Keys, shapes and dtypes are those of the real files, and each file lacks
what the real one lacks. Pixel labels are written as the set has them: COCO's are pixel indices,
those of LSP, LSPet and MPII are MATLAB's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np

from multibodies.files import write_bytes
from multibodies.lookalikes.people import Floats, Person, draw_picture, project

# The j24 joint of each of H36M's 17, as SPIN's h36m.py and mpi_inf_3dhp.py store them.
MOCAP: Final = (14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6)
COCO: Final = (19, 20, 21, 22, 23, 9, 8, 10, 7, 11, 6, 3, 2, 4, 1, 5, 0)
GENDERS: Final = {"male": "m", "female": "f", "neutral": "n"}


class Style(NamedTuple):
    """A file of SPIN's: its set, the form of `imgname`, its labels, the j24 joints of `part`, what
    its pixel labels have on top of continuous ones."""

    dataset: str
    imgname: str
    keys: tuple[str, ...]
    joints: tuple[int, ...] = MOCAP
    pixel_shift: float = 0.0


SPIN_FILES: Final = {
    "h36m_train": Style(
        "h36m",
        "images/S1_Walking_1.54138969_{:06d}.jpg",
        ("part", "openpose", "S", "pose", "shape"),
    ),
    "h36m_valid_protocol1": Style("h36m", "images/S9_Eating.58860488_{:06d}.jpg", ("S",)),
    "h36m_valid_protocol2": Style("h36m", "images/S11_Posing_1.60457274_{:06d}.jpg", ("S",)),
    "lsp_dataset_original_train": Style(
        "lsp", "images/im{:04d}.jpg", ("part", "openpose"), tuple(range(14)), 0.5
    ),
    "hr-lspet_train": Style(
        "lspet", "im{:05d}.png", ("part", "openpose"), tuple(range(14)), 0.5
    ),
    "mpii_train": Style(
        "mpii", "images/{:09d}.jpg", ("part", "openpose"), tuple(range(16)), 0.5
    ),
    "coco_2014_train": Style(
        "coco", "train2014/COCO_train2014_{:012d}.jpg", ("part", "openpose"), COCO, -0.5
    ),
    "mpi_inf_3dhp_train": Style(
        "mpii3d",
        "S2/Seq1/imageFrames/video_4/frame_{:06d}.jpg",
        ("part", "openpose", "S", "pose", "shape", "has_smpl"),
    ),
    "mpi_inf_3dhp_valid": Style(
        "mpii3d", "mpi_inf_3dhp_test_set/TS3/imageSequence/img_{:06d}.jpg", ("part", "S")
    ),
    "3dpw_test": Style(
        "3dpw", "imageFiles/downtown_cafe_00/image_{:05d}.jpg", ("pose", "shape", "gender")
    ),
}  # fmt: skip


class Truth(NamedTuple):
    """A person of a file: the picture, continuous pixels of j24 and of OpenPose's 25, the box."""

    person: Person
    picture: Path
    j24: Floats  # [24, 2]
    openpose: Floats  # [25, 2]
    box: tuple[float, float, float]  # centre and side


def write_spin_npz(
    root: Path, name: str, people: Sequence[Person], *, side: int = 256, seed: int = 0
) -> list[Truth]:
    """Write ``<root>/<name>.npz``, one of `SPIN_FILES`, and its pictures of side x side pixels.

    Every third person of a file with `has_smpl` has no body. Stored without compression, as
    `numpy.savez` does.
    """
    style = SPIN_FILES[name]
    truths = _draw(root, style, people, side, seed)
    bodies = np.arange(len(people)) % 3 != 2
    columns = {
        "part": [_part(t.j24, style) for t in truths],
        "openpose": [_detected(t.openpose) for t in truths],
        "S": [_mocap(person, 24) for person in people],
        "pose": [person.theta.reshape(72) for person in people],
        "shape": [person.beta for person in people],
        "has_smpl": bodies.astype(np.float64),
        "gender": [GENDERS[person.gender] for person in people],
    }
    boxes = np.array([t.box for t in truths])
    common = {"imgname": _names(truths, root), "center": boxes[:, :2], "scale": boxes[:, 2] / 200}
    _save(root / f"{name}.npz", common | {key: columns[key] for key in style.keys})
    return truths


def write_prohmr_npz(
    root: Path, name: str, people: Sequence[Person], *, side: int = 256, seed: int = 0
) -> list[Truth]:
    """Write ProHMR's npz of the persons that SPIN's file of that name would have.

    `imgname` is bytes, `scale` the two sides of a box in pixels of which the crop takes the larger,
    `extra_info` Python objects that no label needs, every third person has no `betas`.
    """
    style = SPIN_FILES[name]
    truths = _draw(root, style, people, side, seed)
    boxes, count = np.array([t.box for t in truths]), len(people)
    columns: dict[str, Any] = {
        "imgname": np.array(_names(truths, root)).astype(np.bytes_),
        "center": boxes[:, :2],
        "scale": boxes[:, 2:] * [0.5, 1.0],
        "extra_keypoints_2d": [_part(t.j24, style)[:19] for t in truths],
        "body_keypoints_2d": [_detected(t.openpose) for t in truths],
        "extra_keypoints_3d": [_mocap(person, 19) for person in people],
        "body_pose": [person.theta.reshape(72) for person in people],
        "has_body_pose": np.ones(count),
        "betas": [person.beta for person in people],
        "has_betas": (np.arange(count) % 3 != 2).astype(np.float64),
        "gender": [GENDERS[person.gender] for person in people],
        "extra_info": np.array([{"row": k} for k in range(count)], dtype=object),
    }
    _save(root / f"{name}.npz", columns)
    return truths


def write_fits(path: Path, people: Sequence[Person], extreme: Collection[int] = ()) -> None:
    """Write static fits (N, 82) float32: 72 of the pose, 10 of the shape.

    Persons of the indices `extreme` have failed shapes: one |beta| above 3.
    """
    fits = np.array([[*person.theta.reshape(72), *person.beta] for person in people], np.float32)
    for row in extreme:
        fits[row, 75] = -3.5
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, fits)


def _draw(root: Path, style: Style, people: Sequence[Person], side: int, seed: int) -> list[Truth]:
    rng, focal = np.random.default_rng(seed), 1.5 * side
    camera = np.array([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1]])
    truths = []
    for k, person in enumerate(people):
        j24, openpose = project(person.j24, camera), project(person.openpose25, camera)
        picture = root / style.imgname.format(5 * k + 1)
        drawn = np.ascontiguousarray(draw_picture((side, side), j24, rng)[..., ::-1])
        coded = cv2.imencode(picture.suffix, drawn)[1]
        write_bytes(picture, coded.tobytes())
        low, high = j24.min(0), j24.max(0)
        box = (*((low + high) / 2).tolist(), 1.2 * float((high - low).max()))
        truths.append(Truth(person, picture, j24, openpose, box))
    return truths


def _names(truths: Sequence[Truth], root: Path) -> list[str]:
    return [truth.picture.relative_to(root).as_posix() for truth in truths]


def _part(points: Floats, style: Style) -> Floats:
    """Write the joints that the set has as the set counts pixels; the others are 0."""
    part, known = np.zeros((24, 3)), list(style.joints)
    part[known, :2], part[known, 2] = points[known] + style.pixel_shift, 1
    return part


def _detected(points: Floats) -> Floats:
    """Give OpenPose's joints varied confidences; the last three were not found."""
    found = np.column_stack([points, np.linspace(0.3, 0.95, 25)])
    found[22:] = 0
    return found


def _mocap(person: Person, count: int) -> Floats:
    """Write H36M's 17 joints, root-centred in metres, among `count` of j24."""
    joints = np.zeros((count, 4))
    joints[list(MOCAP), :3] = person.h36m17 - person.h36m17[0]
    joints[list(MOCAP), 3] = 1
    return joints


def _save(path: Path, columns: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **columns)
