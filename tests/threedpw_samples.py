"""What 3DPW's tests share: bodies of two genders, a look-alike of one split, fields to spoil."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multibodies.core.body_arrays import EMBEDDED_BODY
from multibodies.data.sources import threedpw_file
from multibodies.data.sources.importer import Importer, SourceOptions
from multibodies.data.sources.record import Fault, Item
from multibodies.data.sources.threedpw import open_source

SCALES = {"male": 1.04, "female": 0.94}  # of the embedded body: 17 cm apart from head to foot


def write_bodies(folder: Path) -> dict[str, str]:
    """Write a tall and a short body: gender -> npz."""
    with np.load(EMBEDDED_BODY) as arrays:
        plain = dict(arrays)
    paths = {gender: str(folder / f"{gender}.npz") for gender in SCALES}
    for gender, path in paths.items():
        changed = {"v_template": (SCALES[gender] * plain["v_template"]).astype(np.float32)}
        np.savez(path, **{**plain, **changed})
    return paths


def load_fields(path: Path) -> dict[str, Any]:
    """Read a look-alike's pickle as the field's scripts do."""
    fields: dict[str, Any] = pickle.loads(path.read_bytes(), encoding="latin1")
    return fields


def importer_of(
    fields: Mapping[str, Any], root: Path, bodies: Mapping[str, str], patch: pytest.MonkeyPatch
) -> Importer:
    """Open a test split of one sequence "seq" with these fields, without a pickle around them."""
    patch.setattr(threedpw_file, "read_pickle", lambda path, expected: dict(fields))
    folder = root / "sequenceFiles" / "test"
    folder.mkdir(parents=True, exist_ok=True)
    (root / "imageFiles").mkdir(exist_ok=True)
    (folder / "seq.pkl").write_bytes(b"seen by nobody")
    return open_source(SourceOptions(str(root), bodies=bodies))


def all_items(importer: Importer, split: str) -> list[Item]:
    """Read every record of a split."""
    units = importer.listing(split).units
    return [item for u in units for item in importer.records(split, u.name, 0, u.records)]


def faults(importer: Importer) -> list[Fault]:
    """Return the faults of the test split."""
    return [item for item in all_items(importer, "3dpw-test") if isinstance(item, Fault)]
