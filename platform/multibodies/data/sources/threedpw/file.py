"""3DPW's sequence files: one pickle of Python 2 a sequence, checked and cut down to what is used.

Legend: P person, N frame of a person, I frame of the moving camera. World frame, metres,
axis-angle; pixels as the files give them. Source: the set's readme.txt; `campose_valid` is uint8,
`sequence` (and at times a gender) a 0-d array of text, and `img_frame_ids` the index of a picture
in the 60 Hz arrays, not the picture's number.
"""

from __future__ import annotations

from collections.abc import Sequence as List
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from multibodies.data.sources.record import Floats
from multibodies.errors import UserError
from multibodies.pickles import read_pickle

EXPECTED = "a 3DPW sequence file, as in sequenceFiles/<split>/"
GENDERS = {"m": "male", "f": "female"}
COCO18 = 18
ALIASES = {"genders": ("genders", "gender"), "poses2d": ("poses2d", "poses2D")}
ABSURD = 1e6  # no metre, radian or pixel is this large
NUM_BETAS = 10  # some files hold 300; the first 10 are those of every SMPL file


@dataclass(frozen=True, eq=False)
class Actor:
    """One person of a sequence: gender "male" or "female", poses [N, 24, 3], beta [10], trans
    [N, 3], points [N, 18, 3] (x, y, confidence), valid [N], joints [N, 24, 3] (smpl24)."""

    gender: str
    poses: Floats
    beta: Floats
    trans: Floats
    points: Floats
    valid: npt.NDArray[np.bool_]
    joints: Floats

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """Frames with at least one 2D point of confidence above zero: [N]."""
        return np.asarray((self.points[:, :, 2] > 0).any(1))

    @property
    def kept(self) -> npt.NDArray[np.intp]:
        """Frames that become records: the camera is aligned, and a point gives the box."""
        return np.flatnonzero(self.valid & self.seen)


@dataclass(frozen=True, eq=False)
class Sequence:
    """A sequence: persons, cameras [I, 4, 4] world -> camera, intrinsics [3, 3]."""

    name: str
    actors: tuple[Actor, ...]
    cameras: Floats
    intrinsics: Floats


def plausible(numbers: Floats) -> bool:
    """Whether all are finite and of a size that a metre, radian or pixel may have."""
    return bool((np.abs(numbers) < ABSURD).all())


def read_sequence(path: Path) -> Sequence:
    """Read one file. Raises UserError naming the file and the field that is missing or misshapen.

    NaN is left in place, frame by frame, except in the intrinsics.
    """
    fields = read_pickle(path, EXPECTED)
    if not isinstance(fields, dict):
        _refuse(path, f"holds {type(fields).__name__}, expected {EXPECTED}")
    name = _text(_field(fields, "sequence", path))
    if name != path.stem:
        _refuse(path, f"'sequence' is '{name}'; give the file its own name back, '{name}.pkl'")
    cameras = _numbers(_field(fields, "cam_poses", path), "cam_poses", (None, 4, 4), path)
    people = len(_people(fields, "poses", path))
    actors = tuple(_actor(fields, person, people, path) for person in range(people))
    for person, actor in enumerate(actors):
        if len(actor.poses) > len(cameras):
            count = f"{len(actor.poses)} frames, 'cam_poses' {len(cameras)}"
            _refuse(path, f"'poses' of person {person} has {count}; get the file again")
    return Sequence(name, actors, cameras, _intrinsics(fields, path))


def _actor(fields: dict[Any, Any], person: int, people: int, path: Path) -> Actor:
    def item(name: str) -> Any:
        values = _people(fields, name, path)
        if len(values) != people:
            _refuse(path, f"'{name}' has {len(values)} persons, 'poses' {people}")
        return values[person]

    def numbers(name: str, *shape: int | None) -> Floats:
        return _numbers(item(name), f"{name}[{person}]", shape, path)

    poses = numbers("poses", None, 72)
    frames = len(poses)
    beta = numbers("betas", None)
    if len(beta) < NUM_BETAS:
        _refuse(path, f"'betas[{person}]' has {len(beta)} numbers, expected 10 or 300")
    return Actor(
        gender=_gender(item("genders"), person, path),
        poses=poses.reshape(-1, 24, 3),
        beta=beta[:NUM_BETAS],
        trans=numbers("trans", frames, 3),
        points=numbers("poses2d", frames, 3, COCO18).transpose(0, 2, 1),
        valid=numbers("campose_valid", frames) > 0,
        joints=numbers("jointPositions", frames, 72).reshape(-1, 24, 3),
    )


def _gender(value: Any, person: int, path: Path) -> str:
    letter = _text(value)
    if letter not in GENDERS:
        _refuse(path, f"gender of person {person} is '{letter}', expected 'm' or 'f'")
    return GENDERS[letter]


def _intrinsics(fields: dict[Any, Any], path: Path) -> Floats:
    matrix = _numbers(_field(fields, "cam_intrinsics", path), "cam_intrinsics", (3, 3), path)
    pinhole = np.isfinite(matrix).all() and (matrix.diagonal()[:2] > 0).all()
    if not pinhole or not np.array_equal(matrix[2], [0, 0, 1]):
        _refuse(path, f"'cam_intrinsics' is {matrix.tolist()}, expected [fx 0 cx; 0 fy cy; 0 0 1]")
    return matrix


def _people(fields: dict[Any, Any], name: str, path: Path) -> List[Any] | npt.NDArray[Any]:
    values = _field(fields, name, path)
    array = isinstance(values, np.ndarray) and values.ndim > 0
    if not array and not isinstance(values, list | tuple):
        _refuse(path, f"'{name}' is {type(values).__name__}, expected a list, one item per person")
    return values


def _field(fields: dict[Any, Any], name: str, path: Path) -> Any:
    for spelling in ALIASES.get(name, (name,)):
        if spelling in fields:
            return fields[spelling]
    _refuse(path, f"no field '{name}'; expected {EXPECTED}")


def _numbers(value: Any, name: str, shape: tuple[int | None, ...], path: Path) -> Floats:
    """Return a float64 array of that shape (None is any size)."""
    try:
        found = np.asarray(value)
    except ValueError:  # lists of unequal length
        found = np.empty(0, object)
    if found.dtype.kind not in "biuf":
        _refuse(path, f"'{name}' holds {type(value).__name__}, expected an array of numbers")
    fits = found.ndim == len(shape) and all(
        want in (size, None) for size, want in zip(found.shape, shape, strict=True)
    )
    if not fits:
        wanted = str(shape).replace("None", "any")
        _refuse(path, f"'{name}' has shape {found.shape}, expected {wanted}")
    return np.asarray(found, np.float64)


def _text(value: Any) -> str:
    """Return text that may be str, bytes or a 0-d array of either; no more than an error shows."""
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    return (value.decode("latin1") if isinstance(value, bytes) else str(value))[:200]


def _refuse(path: Path, reason: str) -> NoReturn:
    raise UserError(f"{path}: {reason}")
