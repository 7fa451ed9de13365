"""A report's content, apart from how it is shown: sections of text, tables and figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Table:
    """Cells as text. The first `labels` columns name the row, the others hold numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    labels: int = 1

    def __post_init__(self) -> None:
        widths = {len(row) for row in (self.header, *self.rows)}
        assert len(widths) == 1, f"rows of {widths} cells under one header"


@dataclass(frozen=True)
class Figure:
    """A PNG on disk."""

    path: Path
    caption: str = ""


Item = str | Table | Figure


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it. `foreign`: numbers of other data, set apart."""

    title: str
    items: tuple[Item, ...]
    foreign: bool = False


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    sections: tuple[Section, ...]
