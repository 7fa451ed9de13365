"""Reading npz look-alikes as the driver and a worker do, and spoiling copies of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from multibodies.core.body_arrays import EMBEDDED_BODY, load_body
from multibodies.data.sources.importer import SourceOptions
from multibodies.data.sources.npz.importer import NpzImporter, open_source
from multibodies.data.sources.record import Fault, Item, Record
from multibodies.lookalikes.npz import Truth, write_spin_npz
from multibodies.lookalikes.people import Person, sample_person

Change = Callable[[dict[str, Any]], None]


def two_bodies(folder: Path) -> dict[str, str]:
    """Give a male body, and a female one that differs: a tenth smaller."""
    path = folder / "female.npz"
    with np.load(EMBEDDED_BODY) as file:
        arrays = dict(file)
    arrays["v_template"] = 0.9 * arrays["v_template"]
    np.savez(path, **arrays)
    return {"male": str(EMBEDDED_BODY), "female": str(path)}


def four_people(bodies: dict[str, str]) -> list[Person]:
    """Draw four persons, each with the body of the gender."""
    rng = np.random.default_rng(7)
    genders = ["male", "female", "male", "female"]
    return [sample_person(load_body(bodies[g]), rng, gender=g) for g in genders]


def source(path: Path, dataset: str, **options: Any) -> NpzImporter:
    """Open an npz of a set."""
    return open_source(dataset, SourceOptions(str(path), **options))


def read(path: Path, dataset: str, **options: Any) -> list[Item]:
    """Read all rows as the driver and a worker do."""
    importer = source(path, dataset, **options)
    split = f"{dataset}-train"
    (unit,) = importer.listing(split).units
    return list(importer.records(split, unit.name, 0, unit.records))


def good(items: list[Item]) -> list[Record]:
    """Return the records, of which none may be a fault."""
    assert [item.reason for item in items if isinstance(item, Fault)] == []
    return [item for item in items if isinstance(item, Record)]


def faults(path: Path, dataset: str, **options: Any) -> dict[int, str]:
    """Return the reasons of the faults by row."""
    items = read(path, dataset, **options)
    return {k: item.reason for k, item in enumerate(items) if isinstance(item, Fault)}


def spin(tmp_path: Path, name: str, people: list[Person]) -> tuple[Path, list[Truth]]:
    """Write a look-alike of SPIN's file of that name."""
    return tmp_path / f"{name}.npz", write_spin_npz(tmp_path, name, people)


def edited(path: Path, change: Change, name: str = "edited") -> Path:
    """Write a copy of an npz with some arrays changed."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files if key != "extra_info"}
    change(arrays)
    new = path.with_name(f"{name}.npz")
    np.savez(new, **arrays)
    return new


def set_to(key: str, where: Any, value: Any) -> Change:
    """Change values of an array."""

    def change(arrays: dict[str, Any]) -> None:
        arrays[key][where] = value

    return change


def drop(key: str) -> Change:
    """Leave an array out."""

    def change(arrays: dict[str, Any]) -> None:
        del arrays[key]

    return change


def put(key: str, value: Any) -> Change:
    """Put an array in."""

    def change(arrays: dict[str, Any]) -> None:
        arrays[key] = value

    return change
