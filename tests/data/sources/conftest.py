"""Look-alikes that several modules of tests read, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibodies.core.body import BodyArrays, load_body
from multibodies.lookalikes.people import Person
from npz_samples import four_people, two_bodies
from threedpw_samples import Fields, Open, Tree, build_tree, importer_of


@pytest.fixture(scope="session")
def body() -> BodyArrays:
    """The embedded body."""
    return load_body()


@pytest.fixture(scope="session")
def threedpw(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A look-alike of 3DPW."""
    return build_tree(tmp_path_factory.mktemp("3dpw"))


@pytest.fixture
def fields(threedpw: Tree) -> Fields:
    """3DPW: a sequence's fields, to spoil."""
    return threedpw.fields()


@pytest.fixture
def opened(threedpw: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """3DPW: the importer of a sequence with these fields."""
    return lambda fields: importer_of(fields, tmp_path, threedpw.bodies, monkeypatch)


@pytest.fixture(scope="session")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The npz road: bodies of two genders, as files."""
    return two_bodies(tmp_path_factory.mktemp("bodies"))


@pytest.fixture(scope="session")
def people(bodies: dict[str, str]) -> list[Person]:
    """The npz road: persons of those bodies."""
    return four_people(bodies)
