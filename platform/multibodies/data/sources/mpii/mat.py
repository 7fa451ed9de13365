"""MPII's own release, `mpii_human_pose_v1_u12_1.mat`: annotated persons of training pictures.

Legend: N person, K = 16 joints in MPII's order. MATLAB's pixels, as they are in the file. Runs in
a child (`multibodies.apart`). Arrays of one element are squeezed to what is in them, and a field
that one person lacks is empty, so nothing here counts dimensions.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multibodies.apart.frames import Refused, split
from multibodies.data.sources.mat_child import load

Floats = npt.NDArray[np.float64]


def read(path: Path) -> tuple[Any, list[npt.NDArray[Any]]]:
    """Return names [N], parts [N, 16, 2] (0, 0 where absent), centres [N, 2], scales [N], whether a
    person is listed as standing apart [N], and how many were left out by which rule.

    Raises Refused naming the field that is missing or not as MPII has it.
    """
    release = _open(path)
    pictures, train = _pictures(release)
    rows: list[tuple[Any, ...]] = []
    skipped = Counter(test_picture=0, no_joints=0, no_location=0)
    for index, picture in enumerate(pictures):
        people = structs(picture, "annorect")
        if not train[index]:
            skipped["test_picture"] += len(people)
            continue
        alone = _alone(release, index)
        for place, person in enumerate(people):
            where = f"RELEASE.annolist({index + 1}).annorect({place + 1})"
            found = _person(person, where)
            if isinstance(found, str):
                skipped[found] += 1
            else:
                rows.append((_name(picture, index), *found, place + 1 in alone))
    return split({**_table(rows), "skipped": dict(skipped)})


def _table(rows: list[tuple[Any, ...]]) -> dict[str, npt.NDArray[Any]]:
    names, parts, centres, scales, alone = zip(*rows, strict=True) if rows else ([],) * 5
    return {
        "names": np.array(names, np.str_),
        "parts": np.array(parts, np.float64).reshape(-1, 16, 2),
        "centres": np.array(centres, np.float64).reshape(-1, 2),
        "scales": np.array(scales, np.float64),
        "alone": np.array(alone, bool),
    }


def structs(owner: Any, field: str) -> list[Any]:
    """Return the elements of a struct array in a field: none where it is empty or not there."""
    return elements(owner[field]) if field in (owner.dtype.names or ()) else []


def elements(value: Any) -> list[Any]:
    """Return the elements of a struct array, or none of anything else."""
    return list(value.ravel()) if getattr(getattr(value, "dtype", None), "names", None) else []


def number(owner: Any, field: str) -> float | None:
    """Return a field's first number, which may be written as text; None where there is none."""
    value = owner[field] if field in (owner.dtype.names or ()) else ()
    if isinstance(value, int | float | str):
        return float(value)
    values = np.ravel(value)
    return float(values[0]) if values.size else None


def _open(path: Path) -> Any:
    release = elements(load(path, ["RELEASE"], squeeze_me=True).get("RELEASE"))
    if len(release) != 1:
        raise Refused("no struct 'RELEASE'")
    return release[0]


def _pictures(release: Any) -> tuple[list[Any], Floats]:
    """Return the pictures' structs, and for each whether it is of the training set."""
    pictures = structs(release, "annolist")
    names = release.dtype.names
    train = np.ravel(release["img_train"]) if "img_train" in names else np.empty(0)
    if not pictures or train.shape != (len(pictures),) or train.dtype.kind not in "buif":
        raise Refused(
            f"RELEASE has {len(pictures)} in 'annolist' and {train.size} in 'img_train', expected "
            "as many"
        )
    return pictures, train.astype(np.float64)


def _alone(release: Any, index: int) -> set[int]:
    """Return the persons, from 1, that `single_person` names for a picture: one, several, none."""
    cells = np.ravel(release["single_person"]) if "single_person" in release.dtype.names else ()
    return {int(k) for k in np.ravel(cells[index])} if index < len(cells) else set()


def _name(picture: Any, index: int) -> str:
    for image in structs(picture, "image"):
        if "name" in image.dtype.names and isinstance(image["name"], str):
            return str(image["name"])
    raise Refused(f"RELEASE.annolist({index + 1}).image has no 'name'")


def _person(person: Any, where: str) -> tuple[Floats, list[float], float] | str:
    """Return parts [16, 2], centre [2] and scale, or the rule that leaves the person out."""
    points = [p for a in structs(person, "annopoints") for p in structs(a, "point")]
    if not points:
        return "no_joints"
    centre = [number(place, axis) for place in structs(person, "objpos")[:1] for axis in "xy"]
    scale = number(person, "scale")
    known = [value for value in centre if value is not None]
    if scale is None or len(known) != 2:
        return "no_location"
    return _parts(points, f"{where}.annopoints.point"), known, scale


def _parts(points: list[Any], where: str) -> Floats:
    parts = np.zeros((16, 2))
    for point in points:
        key, x, y = (number(point, field) for field in ("id", "x", "y"))
        if key is None or x is None or y is None:
            raise Refused(f"{where}: lacks id, x or y")
        if key not in range(16):
            raise Refused(f"{where}: id {key:g}, expected 0 to 15")
        parts[int(key)] = x, y
    return parts
