"""What 3DPW's tests share: bodies of two genders, one look-alike tree, fields to spoil."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from multibodies.core.body import BodyArrays, load_body
from multibodies.core.body_arrays import EMBEDDED_BODY
from multibodies.data.sources.importer import Importer, SourceOptions
from multibodies.data.sources.record import Fault, Record
from multibodies.data.sources.registry import open_importer
from multibodies.data.sources.threedpw import file as threedpw_file
from multibodies.data.sources.threedpw.importer import open_source
from multibodies.lookalikes.threedpw import write_threedpw
from multibodies.lookalikes.threedpw_truth import Truth
from read_all import all_items, all_records

SCALES = {"male": 1.04, "female": 0.94}  # of the embedded body: 17 cm apart from head to foot
FOLDERS = {"3dpw-train": "train", "3dpw-val": "validation", "3dpw-test": "test"}

Fields = dict[str, Any]
Open = Callable[[Fields], Importer]


class Tree(NamedTuple):
    """A look-alike, its bodies as files and as arrays, its truths and its importer."""

    root: Path
    bodies: dict[str, str]
    loaded: dict[str, BodyArrays]
    truths: list[Truth]
    importer: Importer

    def file(self, split: str) -> Path:
        """Return the only sequence file of a folder."""
        return next((self.root / "sequenceFiles" / split).glob("*.pkl"))

    def fields(self) -> Fields:
        """Return the test split's sequence as a dict of its own, under the name "seq"."""
        return load_fields(self.file("test")) | {"sequence": "seq"}

    def pairs(self, split: str) -> list[tuple[Record, Truth]]:
        """Records beside the truths of the frames that are to be kept."""
        kept = [t for t in self.truths if t.split == FOLDERS[split] and t.kept]
        records = all_records(self.importer, split)
        assert len(records) == len(kept) > 0
        return list(zip(records, kept, strict=True))


def build_tree(folder: Path) -> Tree:
    """Write the bodies and the look-alike."""
    bodies = write_bodies(folder)
    loaded = {gender: load_body(path) for gender, path in bodies.items()}
    root = folder / "3DPW"
    truths = write_threedpw(root, loaded)
    importer = open_importer("3dpw", SourceOptions(str(root), bodies=bodies))
    return Tree(root, bodies, loaded, truths, importer)


def write_bodies(folder: Path) -> dict[str, str]:
    """Write a tall and a short body: gender -> npz."""
    with np.load(EMBEDDED_BODY) as arrays:
        plain = dict(arrays)
    paths = {gender: str(folder / f"{gender}.npz") for gender in SCALES}
    for gender, path in paths.items():
        changed = {"v_template": (SCALES[gender] * plain["v_template"]).astype(np.float32)}
        np.savez(path, **{**plain, **changed})
    return paths


def load_fields(path: Path) -> Fields:
    """Read a look-alike's pickle as the field's scripts do."""
    fields: Fields = pickle.loads(path.read_bytes(), encoding="latin1")
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


def faults(importer: Importer) -> list[Fault]:
    """Return the faults of the test split."""
    return [item for item in all_items(importer, "3dpw-test") if isinstance(item, Fault)]
