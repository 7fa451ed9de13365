"""Random damage to a whole file of SPIN's layout, read as a driver and a worker do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multibodies.core.body_arrays import load_body
from multibodies.data.sources.importer import SourceOptions
from multibodies.data.sources.npz.importer import open_source
from multibodies.data.sources.npz.table import Table
from multibodies.data.sources.record import Fault, Record
from multibodies.errors import UserError
from multibodies.lookalikes.npz import write_spin_npz
from multibodies.lookalikes.people import sample_person
from zip_samples import MIB, SAVERS, at_most

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A whole file of SPIN's layout, as it is and compressed."""
    root = tmp_path_factory.mktemp("samples")
    rng = np.random.default_rng(3)
    people = [sample_person(load_body(), rng) for _ in range(2)]
    write_spin_npz(root, "mpi_inf_3dhp_train", people, side=32)
    found = {"stored": (root / "mpi_inf_3dhp_train.npz").read_bytes()}
    with np.load(root / "mpi_inf_3dhp_train.npz") as file:
        np.savez_compressed(root / "packed.npz", **dict(file))
    return found | {"deflated": (root / "packed.npz").read_bytes()}


def use(path: Path) -> None:
    """Read a file as a driver and a worker do; also its rows without the checksums' guard."""
    importer = open_source("mpii3d", SourceOptions(str(path)))
    for listed in (True, False):
        try:
            count = Table(str(path), None).count
            if listed:
                importer.listing("mpii3d-train")
            items = list(importer.records("mpii3d-train", path.stem, 0, min(count, 3)))
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert len(items) == min(count, 3)
            assert all(isinstance(item, (Record, Fault)) for item in items)


Flips = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=6)


@settings(max_examples=120)
@given(kind=st.sampled_from(sorted(SAVERS)), flips=Flips, cut=st.floats(0.5, 1), tail=st.booleans())
def test_no_corruption_gives_more_than_a_user_error(
    kind: str, flips: list[tuple[float, int]], cut: float, tail: bool,
    samples: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    """Bytes anywhere, or (`tail`) in headers and the directory, where they do the most."""
    data = bytearray(samples[kind])
    if cut < 0.6:
        del data[int(2 * (cut - 0.1) * len(data)) :]
    spots = [
        k for mark in (b"PK\1\2", b"PK\3\4", b"NUMPY")
        for k in range(len(data)) if tail and data.startswith(mark, k)
    ]  # fmt: skip
    for where, bits in flips:
        spot = int(where * len(data))
        if spots:
            spot = min(spots[spot % len(spots)] + spot % 120, len(data) - 1)
        data[spot] ^= bits
    path = tmp_path_factory.mktemp("flipped") / "a.npz"
    path.write_bytes(data)
    with at_most(8 * MIB):
        use(path)
