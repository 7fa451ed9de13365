"""From a user's SMPL to a body of ours: arrays checked, regressors added, origin written down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from multibodies.bodies.models import Model, read_model
from multibodies.bodies.naming import SUFFIX
from multibodies.bodies.regressors import ROWS, missing_regressor, read_regressor
from multibodies.bodies.store import digest, read_provenance, write_body
from multibodies.core.body_arrays import NUM_BETAS, checked_body
from multibodies.errors import UserError
from multibodies.files import sha256

SIZE: Final = (0.4, 3.0)  # metres, an infant's model to a giant's
MARGIN: Final = 0.3  # metres beyond the rest body, where no regressed joint lies
INTEGERS: Final = ("kintree_table", "f")


class Imported(NamedTuple):
    """A body's file, and what was done to get at it."""

    path: Path
    sha256: str
    notes: tuple[str, ...]


def import_body(
    file: Path,
    out: Path,
    *,
    regressors: Mapping[str, Path | None],
    gender: str | None = None,
    force: bool = False,
) -> Imported:
    """Read a user's model and write it into the folder `out` as smpl-GENDER-VERSION.npz, or under
    its own name where the version is not known.

    regressors: file of each of ROWS, needed where the model lacks it. Raises UserError; a body
    that is there and differs is only replaced with `force`.
    """
    if not file.is_file():
        raise UserError(f"{file}: no such file; give SMPL's .pkl or an .npz of its arrays")
    model = read_model(file)
    gender = gender or model.gender
    if gender is None:
        raise UserError(f"{file}: its name tells no gender; give --gender neutral, male or female")
    added = {name: _regressor(file, model, name, regressors.get(name)) for name in ROWS}
    arrays = _plain(model.arrays | {name: matrix for name, (matrix, _) in added.items()})
    _check(arrays, file)
    origin = _origin(file, model, gender, {name: told for name, (_, told) in added.items()})
    name = f"smpl-{gender}-{model.version}" if model.version else file.stem
    path = out / f"{name}{SUFFIX}"
    notes = _notes(model, file)
    if path.exists() and not force:
        _refuse_another(path, arrays)
        notes = (*notes, "was there already, the same; kept")
    else:
        write_body(path, arrays, origin)
    return Imported(path, sha256(path), notes)


def _regressor(
    file: Path, model: Model, name: str, given: Path | None
) -> tuple[np.ndarray, dict[str, str]]:
    """Return a regressor and where it came from: the file given, or else the model."""
    if given is not None:
        return read_regressor(given, name), {"file": given.name, "sha256": sha256(given)}
    if name not in model.arrays:
        raise missing_regressor(file, name)
    return model.arrays[name], {"file": file.name, "sha256": sha256(file)}


def _plain(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays as a body's file keeps them: float32, uint32, 10 shape components."""
    kept = {**arrays, "shapedirs": arrays["shapedirs"][..., :NUM_BETAS]}
    kinds = {name: np.uint32 if name in INTEGERS else np.float32 for name in kept}
    return {name: np.ascontiguousarray(array, kinds[name]) for name, array in kept.items()}


def _check(arrays: dict[str, np.ndarray], file: Path) -> None:
    """Refuse arrays that would give wrong bodies or joints."""
    body = checked_body(arrays, name=file.stem, where=str(file))
    rest = body.v_template
    size = float((rest.amax(0) - rest.amin(0)).max())
    if not SIZE[0] < size < SIZE[1]:
        raise UserError(
            f"{file}: 'v_template' is {size:.4g} long, expected {SIZE[0]} to {SIZE[1]} m; "
            "is it in other units than metres?"
        )
    low, high = rest.amin(0) - MARGIN, rest.amax(0) + MARGIN
    for name in ROWS:
        joints = getattr(body, name) @ rest
        if bool(((joints < low) | (joints > high)).any()):
            raise UserError(
                f"{file}: '{name}' puts joints outside the body; is it SPIN's, for SMPL's vertices?"
            )


def _origin(
    file: Path, model: Model, gender: str, regressors: dict[str, dict[str, str]]
) -> dict[str, Any]:
    return {
        "source": file.name,
        "source_sha256": sha256(file),
        "gender": gender,
        "version": model.version or "unknown",
        "shape_components": model.arrays["shapedirs"].shape[-1],
        "regressors": regressors,
    }


def _notes(model: Model, file: Path) -> tuple[str, ...]:
    found = model.arrays["shapedirs"].shape[-1]
    if found == NUM_BETAS:
        return ()
    return (f"took the first {NUM_BETAS} of {file.name}'s {found} shape components",)


def _refuse_another(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Raise UserError unless the file holds these arrays."""
    if read_provenance(path).get("arrays_sha256") != digest(arrays):
        raise UserError(f"{path}: is there and differs; give --force to replace it, or --out")
