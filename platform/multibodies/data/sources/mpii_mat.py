"""MPII's own release, `mpii_human_pose_v1_u12_1.mat`: annotated persons of training pictures.

Legend: N person, K = 16 joints in MPII's order. MATLAB's pixels, as they are in the file. Runs as
a process of its own (`apart`). Arrays of one element are squeezed to what is in them, and a field
that one person lacks is empty, so nothing here counts dimensions.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multibodies.data.sources.apart import Arrays, answer
from multibodies.data.sources.matlab import DAMAGED
from multibodies.errors import UserError

WHAT = "MPII's mpii_human_pose_v1_u12_1.mat"
LEFT_OUT = ("test_picture", "no_joints", "no_location")
Floats = npt.NDArray[np.float64]


def read_release(path: Path) -> Arrays:
    """Return names [N], parts [N, 16, 2] (0, 0 where absent), centres [N, 2], scales [N], whether a
    person is listed as standing apart [N], and counts of those left out, in LEFT_OUT's order.

    Raises UserError naming the field that is missing or not as MPII has it.
    """
    release = _open(path)
    pictures, train = _pictures(release, path)
    rows: list[tuple[Any, ...]] = []
    skipped: Counter[str] = Counter()
    for index, picture in enumerate(pictures):
        apart = _list(release, "single_person", index)
        for place, person in enumerate(structs(picture, "annorect")):
            rule = _left_out(person, bool(train[index]))
            if rule is not None:
                skipped[rule] += 1
                continue
            where = f"{path}: RELEASE.annolist({index + 1}).annorect({place + 1})"
            rows.append((_name(picture, path, index), *_person(person, where), place + 1 in apart))
    names, parts, centres, scales, alone = zip(*rows, strict=True) if rows else ([],) * 5
    return {
        "names": np.array(names, np.str_),
        "parts": np.array(parts, np.float64).reshape(-1, 16, 2),
        "centres": np.array(centres, np.float64).reshape(-1, 2),
        "scales": np.array(scales, np.float64),
        "alone": np.array(alone, bool),
        "skipped": np.array([skipped[rule] for rule in LEFT_OUT], np.int64),
    }


def structs(owner: Any, field: str) -> list[Any]:
    """Return the elements of a struct array in a field: none where it is empty or not there."""
    value = owner[field] if field in (owner.dtype.names or ()) else None
    return list(value.ravel()) if getattr(getattr(value, "dtype", None), "names", None) else []


def number(owner: Any, field: str) -> float | None:
    """Return a field's first number, which may be written as text; None where there is none."""
    value = np.ravel(owner[field]) if field in (owner.dtype.names or ()) else np.empty(0)
    return float(value[0]) if value.size else None


def _open(path: Path) -> Any:
    from scipy.io import loadmat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = loadmat(path, squeeze_me=True, variable_names=["RELEASE"])
    except DAMAGED as error:
        raise UserError(
            f"{path}: damaged, or no MATLAB 5 file ({error}); expected {WHAT}"
        ) from None
    release = content.get("RELEASE")
    if release is None or release.dtype.names is None or release.size != 1:
        raise UserError(f"{path}: no struct 'RELEASE'; expected {WHAT}")
    return release.ravel()[0]


def _pictures(release: Any, path: Path) -> tuple[list[Any], Floats]:
    """Return the pictures' structs, and for each whether it is of the training set."""
    pictures = structs(release, "annolist")
    names = release.dtype.names
    train = np.ravel(release["img_train"]) if "img_train" in names else np.empty(0)
    if not pictures or train.shape != (len(pictures),) or train.dtype.kind not in "buif":
        raise UserError(
            f"{path}: RELEASE has {len(pictures)} in 'annolist' and {train.size} in 'img_train'; "
            f"expected as many: {WHAT}"
        )
    return pictures, train.astype(np.float64)


def _list(release: Any, field: str, index: int) -> set[int]:
    """Return the persons, from 1, that `single_person` names for a picture: one, several, none."""
    cells = np.ravel(release[field]) if field in release.dtype.names else np.empty(0)
    chosen = np.ravel(cells[index]) if index < len(cells) else np.empty(0)
    return {int(k) for k in chosen if np.isreal(k)}


def _left_out(person: Any, train: bool) -> str | None:
    if not train:
        return "test_picture"
    points = [p for a in structs(person, "annopoints") for p in structs(a, "point")]
    if not points:
        return "no_joints"
    known = number(person, "scale") is not None and structs(person, "objpos")
    return None if known else "no_location"


def _name(picture: Any, path: Path, index: int) -> str:
    for image in structs(picture, "image"):
        if "name" in image.dtype.names and isinstance(image["name"], str):
            return str(image["name"])
    raise UserError(f"{path}: RELEASE.annolist({index + 1}).image has no 'name'; expected {WHAT}")


def _person(person: Any, where: str) -> tuple[Floats, list[float], float]:
    """Return parts [16, 2], centre [2] and scale."""
    parts = np.zeros((16, 2))
    for key, x, y in _points(person, where):
        parts[key] = x, y
    place = structs(person, "objpos")[0]
    centre = [_need(place, axis, f"{where}.objpos") for axis in "xy"]
    return parts, centre, _need(person, "scale", where)


def _points(person: Any, where: str) -> Iterator[tuple[int, float, float]]:
    for annotated in structs(person, "annopoints"):
        for point in structs(annotated, "point"):
            key, x, y = (
                _need(point, field, f"{where}.annopoints.point") for field in "id x y".split()
            )
            if key not in range(16):
                raise UserError(f"{where}.annopoints.point: id {key:g}, expected 0 to 15")
            yield int(key), x, y


def _need(owner: Any, field: str, where: str) -> float:
    try:
        value = number(owner, field)
    except (TypeError, ValueError):
        value = None
    if value is None:
        raise UserError(f"{where}: '{field}' is not a number; expected {WHAT}")
    return value


if __name__ == "__main__":
    answer(read_release)
