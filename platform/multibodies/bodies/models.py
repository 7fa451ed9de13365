"""Reading a user's SMPL: the official pickles, or an .npz of the same arrays."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from multibodies.bodies.foreign import EXPECTED, SMPL, foreign_name, sizes_of
from multibodies.bodies.regressors import ROWS
from multibodies.bodies.store import read_provenance
from multibodies.core.joints import SMPL_PARENTS
from multibodies.errors import UserError
from multibodies.pickles import read_pickle

Arrays = dict[str, np.ndarray]

KEYS: Final = (
    *("v_template", "shapedirs", "posedirs", "J_regressor"),
    *("weights", "kintree_table", "f"),
)
MAX_NPZ: Final = 1 << 30  # bytes, unpacked
GENDERS: Final = {
    **{"f": "female", "female": "female", "m": "male", "male": "male"},
    **{"neutral": "neutral", "n": "neutral"},
}
VERSION: Final = re.compile(r"\d+\.\d+\.\d+")
OF_COMPONENTS: Final = {10: "1.0.0", 300: "1.1.0"}


class Model(NamedTuple):
    """A user's model: arrays by SMPL's names, and what its file tells of it."""

    arrays: Arrays
    gender: str | None
    version: str | None  # SMPL's; None of an .npz that does not tell


def read_model(path: Path) -> Model:
    """Read SMPL's arrays, and the joint regressors where the file has them.

    Raises UserError where the file is damaged, hostile, or another model than SMPL.
    """
    found = _read_npz(path) if zipfile.is_zipfile(path) else _read_pickled(path)
    name = foreign_name(found)
    if name is not None:
        raise UserError(f"{path}: it is {name}; expected {EXPECTED}")
    for key in KEYS:
        if key not in found:
            raise UserError(f"{path}: no array '{key}'; expected {EXPECTED}")
    _check(found, path)
    known = {key: found[key] for key in (*KEYS, *ROWS) if key in found}
    known["kintree_table"] = _root_first(known["kintree_table"])
    if not zipfile.is_zipfile(path):
        return Model(known, gender_of(path), version_of(path, known["shapedirs"]))
    told = read_provenance(path)
    version = VERSION.fullmatch(str(told.get("version")))
    gender = GENDERS.get(str(told.get("gender"))) or gender_of(path)
    return Model(known, gender, version[0] if version else None)


def gender_of(path: Path) -> str | None:
    """Return the gender that a file's name tells: basicmodel_f_lbs..., SMPL_MALE, ..."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    return next((GENDERS[word] for word in words if word in GENDERS), None)


def version_of(path: Path, shapedirs: np.ndarray) -> str | None:
    """Return SMPL's version: by the file's name, or by its number of shape components."""
    named = VERSION.search(path.name)
    return named[0] if named else OF_COMPONENTS.get(shapedirs.shape[-1])


def _read_pickled(path: Path) -> Arrays:
    data: Any = read_pickle(path, EXPECTED)
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds a {type(data).__name__}; expected {EXPECTED}")
    return {key: value for key, value in data.items() if isinstance(value, np.ndarray)}


def _read_npz(path: Path) -> Arrays:
    """Read a zip's plain arrays; a member of objects counts as absent."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        if not all(entry.filename.endswith(".npy") for entry in entries):
            raise UserError(f"{path}: a zip archive; unpack it, and give the file of {EXPECTED}")
        if sum(entry.file_size for entry in entries) > MAX_NPZ:
            raise UserError(f"{path}: unpacks to more than {MAX_NPZ} bytes; expected {EXPECTED}")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            wanted = [key for key in arrays.files if key in (*KEYS, *ROWS)]
            return {key: arrays[key] for key in wanted}
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, OSError, MemoryError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: damaged ({error}); expected {EXPECTED}") from None


def _check(found: Arrays, path: Path) -> None:
    """Refuse what has SMPL's names and other sizes or joints."""
    if tuple(sizes_of(found)) != SMPL:
        raise UserError(
            f"{path}: has (vertices, joints, pose features) {tuple(sizes_of(found))}, expected "
            f"{SMPL} of {EXPECTED}"
        )
    if not all(found[key].dtype.kind in "fiu" for key in KEYS):
        raise UserError(f"{path}: an array does not hold numbers; expected {EXPECTED}")
    if tuple(_root_first(found["kintree_table"])[0, 1:].tolist()) != SMPL_PARENTS[1:]:
        raise UserError(f"{path}: 'kintree_table' has another skeleton; expected {EXPECTED}")


def _root_first(table: np.ndarray) -> np.ndarray:
    """Return kintree_table as uint32, whose root's parent is 2^32 - 1 whatever the file's dtype."""
    return table.astype(np.int64).astype(np.uint32)
