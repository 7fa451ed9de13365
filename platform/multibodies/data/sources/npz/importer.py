"""SPIN's and ProHMR's npz of any set, with SPIN's static fits: one file, one split.

The file does not say which split of its set it is, so it is offered as each and the user decides
(`h36m_valid_protocol1.npz` is `h36m-p1-test`, `h36m_valid_protocol2.npz` is `h36m-test`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multibodies.data.sources.importer import Listing, SourceOptions, Unit
from multibodies.data.sources.npz.rows import KINDS, RowReader
from multibodies.data.sources.npz.table import Table
from multibodies.data.sources.npz.truth import check_bodies, with_truth
from multibodies.data.sources.record import Item
from multibodies.errors import UserError, nearest
from multibodies.files import sha256

BLOCK = 256  # rows in memory together
EXTRA_SPLITS = {"h36m": ("h36m-p1-test",)}


class NpzImporter:
    """Reads one npz; see `Importer`. Its one unit has the file's name."""

    def __init__(self, dataset: str, options: SourceOptions) -> None:
        self.splits = (
            *(f"{dataset}-{part}" for part in ("train", "val", "test")),
            *EXTRA_SPLITS.get(dataset, ()),
        )
        self._dataset, self._options = dataset, options
        self._images = Path(options.images or Path(options.root).parent)
        self._unit = Path(options.root).stem

    def listing(self, split: str) -> Listing:
        """List the file's rows, after every array that is used was held against its checksum.

        Raises UserError naming the file and array that is missing, damaged, of objects or of
        another shape, fits of another length, or the gendered body that is needed.
        """
        table = self._table(split, self._unit)
        table.verify()
        identity: dict[str, Any] = {"layout": table.layout.name, "npz": sha256(self._options.root)}
        if self._options.fits is not None:
            identity["fits"] = sha256(self._options.fits)
        if self._needs_bodies(table):
            genders = check_bodies(table, self._options.bodies)
            identity["bodies"] = {g: sha256(self._options.bodies[g]) for g in genders}
        return Listing((Unit(self._unit, table.count),), {}, identity)

    def records(self, split: str, unit: str, start: int, count: int) -> Iterator[Item]:
        """Give rows start..start+count-1 of the file. Raises UserError as `listing`."""
        table = self._table(split, unit)
        if start < 0 or count < 0 or start + count > table.count:
            raise UserError(f"'{unit}' has {table.count} rows, not {start}..{start + count - 1}")
        reader = RowReader(self._dataset, self._images, table.layout)
        for first in range(start, start + count, BLOCK):
            block = table.block(first, min(BLOCK, start + count - first))
            rows = range(len(block["imgname"]))
            items = [reader.item(block, k, first + k) for k in rows]
            yield from (
                with_truth(items, self._options.bodies) if self._needs_bodies(table) else items
            )

    def _needs_bodies(self, table: Table) -> bool:
        return KINDS[self._dataset].measured_by_body and ("theta" in table or "fits" in table)

    def _table(self, split: str, unit: str) -> Table:
        if split not in self.splits:
            raise UserError(f"unknown split '{split}'{nearest(split, self.splits)}")
        if unit != self._unit:
            raise UserError(f"unknown unit '{unit}'; this file's is '{self._unit}'")
        return Table(self._options.root, self._options.fits)


def open_source(name: str, options: SourceOptions) -> NpzImporter:
    """Return the importer of a set's npz at `options.root`. Raises UserError on an unknown set.

    Pictures lie in `options.images`, else beside the file.
    """
    if name not in KINDS:
        raise UserError(f"no npz layout of '{name}'{nearest(name, KINDS)}")
    return NpzImporter(name, options)
