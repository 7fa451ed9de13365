"""All that an importer gives for a split."""

from __future__ import annotations

from multibodies.data.sources.importer import Importer
from multibodies.data.sources.record import Item, Record


def all_items(importer: Importer, split: str) -> list[Item]:
    """Return every record and fault of a split, unit after unit."""
    units = importer.listing(split).units
    return [item for name, n in units for item in importer.records(split, name, 0, n)]


def all_records(importer: Importer, split: str) -> list[Record]:
    """Return every record of a split without faults."""
    items = all_items(importer, split)
    assert all(isinstance(item, Record) for item in items), items
    return [item for item in items if isinstance(item, Record)]
