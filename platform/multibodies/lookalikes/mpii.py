"""A look-alike of MPII: pictures, the release's .mat with nested structs, and SPIN's train.h5.

Legend: K = 16 joints in MPII's order. MATLAB's first pixel is 1, its centre .5. Coordinates are
whole numbers, as in MPII.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat

from multibodies.core.body import BodyArrays
from multibodies.lookalikes.marked import Truth, sample_points, save_picture
from multibodies.lookalikes.people import Floats

RELEASE = "mpii_human_pose_v1_u12_1.mat"
J24 = [0, 1, 2, 3, 4, 5, 14, 15, 12, 13, 6, 7, 8, 9, 10, 11]
# is_visible as the release writes it: text, a number, or nothing.
FLAGS: tuple[Any, ...] = ("1", "0", 1, 0, np.zeros((0, 0)))
Table = Any  # a MATLAB struct array: NumPy's object records [1, N]


def write_mpii(root: Path, body: BodyArrays, people: int = 3, seed: int = 3) -> list[Truth]:
    """Write `images/`, the .mat and `annot/train.h5`. Return truths of those with all 16 joints.

    Picture 1 has one person, alone in all of MATLAB's arrays; picture 2 has three, one of whom has
    a single joint and one none; the others have one each. Only the .mat has four more: one whose
    person has no location, one whose person has no joints, one with nobody, one of the test set.
    """
    rng = np.random.default_rng(seed)
    pictures: list[tuple[str, list[Table]]] = []
    truths, rows = [], []
    for number in range(1, people + 1):
        points = sample_points(body, rng)
        path = root / "images" / f"{15000 + number:09d}.jpg"
        save_picture(path, points, rng)
        truths.append(Truth(path, points, tuple(J24)))
        parts, centre, scale = _labels(points)
        rows.append((path.name, parts, centre, scale))
        persons = [_person(parts, centre, scale)]
        if number == 2:
            lonely = np.where(np.arange(16)[:, None] == 9, parts, 0)
            rows.append((path.name, lonely, centre + 20, scale))
            persons += [_person(lonely, centre + 20, scale), _person(None)]
        pictures.append((path.name, persons))
    parts, centre, scale = rows[0][1:]
    pictures += [
        ("000016001.jpg", [_person(parts)]),
        ("000016002.jpg", [_person(None, centre, scale)]),
        ("000016003.jpg", []),
        ("000016004.jpg", [_person(None, centre, scale)]),
    ]
    _write_mat(root / RELEASE, pictures)
    _write_h5(root / "annot" / "train.h5", rows)
    return truths


def struct(entries: Sequence[dict[str, Any]], fields: Sequence[str]) -> Table:
    """Return a MATLAB struct array; a field that an entry lacks is empty, as MATLAB has it."""
    table = np.empty((1, len(entries)), [(field, object) for field in fields])
    for index, entry in enumerate(entries):
        for field in fields:
            table[field][0, index] = entry.get(field, np.zeros((0, 0)))
    return table


def _labels(points: Floats) -> tuple[Floats, Floats, float]:
    """Return parts [16, 2], centre [2] (above the middle, as in MPII) and scale."""
    low, high = points.min(axis=0), points.max(axis=0)
    scale = float((high - low).max() / 200)
    centre = np.round((low + high) / 2 - [0, 15 * scale])
    return np.round(points[J24] + 0.5), centre, scale


def _person(parts: Floats | None, centre: Floats | None = None, scale: float = 0.0) -> Table:
    entry: dict[str, Any] = {"x1": 10.0, "y1": 20.0, "x2": 30.0, "y2": 40.0}
    if parts is not None:
        points = [
            {"x": x, "y": y, "id": np.uint8(k), "is_visible": FLAGS[k % len(FLAGS)]}
            for k, (x, y) in enumerate(parts.tolist())
            if x > 0
        ]
        names = ("x", "y", "id", "is_visible")
        entry["annopoints"] = struct([{"point": struct(points, names)}], ("point",))
    if centre is not None:
        entry["objpos"] = struct([dict(zip("xy", centre.tolist(), strict=True))], ("x", "y"))
        entry["scale"] = scale
    return entry


def _write_mat(path: Path, pictures: Sequence[tuple[str, list[Table]]]) -> None:
    listed = [
        {
            "image": struct([{"name": name}], ("name",)),
            "annorect": struct(persons, list(persons[0])) if persons else np.zeros((0, 0)),
            "vididx": 1,
        }
        for name, persons in pictures
    ]
    apart = np.empty((len(pictures), 1), object)
    for index, (_, persons) in enumerate(pictures):
        apart[index, 0] = np.arange(1, min(len(persons), 1) + 1, dtype=np.float64)[None]
    release = {
        "annolist": struct(listed, ("image", "annorect", "vididx")),
        "img_train": np.arange(len(pictures))[None] < len(pictures) - 1,
        "version": "1",
        "single_person": apart,
    }
    savemat(path, {"RELEASE": struct([release], tuple(release))}, do_compression=True)


def _write_h5(path: Path, rows: Sequence[tuple[str, Floats, Floats, float]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names, parts, centres, scales = zip(*rows, strict=True)
    with h5py.File(path, "w") as file:
        file["imgname"] = np.array([name.encode() for name in names])
        file["part"] = np.stack(parts)
        file["center"] = np.stack(centres)
        file["scale"] = np.array(scales)
