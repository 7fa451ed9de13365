"""A page as Markdown; without its figures it is also what the terminal shows."""

from __future__ import annotations

import os
from pathlib import Path

from multibodies.report.page import Figure, Item, Page, Section, Table


def markdown(page: Page, folder: Path) -> str:
    """Return the page as Markdown to be saved in `folder`; figures are linked relative to it."""
    blocks = [f"# {page.title}"]
    for section in page.sections:
        blocks += [f"## {_title(section)}", *(_item(item, folder) for item in section.items)]
    return "\n\n".join(blocks) + "\n"


def terminal(page: Page) -> str:
    """Return the page as text without figures."""
    blocks = [page.title, "=" * len(page.title)]
    for section in page.sections:
        texts = [item for item in section.items if not isinstance(item, Figure)]
        if texts:
            blocks += ["", _title(section), "-" * len(_title(section))]
            for item in texts:
                blocks += [_item(item, Path()), ""]
    return "\n".join(blocks) + "\n"


def _title(section: Section) -> str:
    return f"{section.title} (other data)" if section.foreign else section.title


def _item(item: Item, folder: Path) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, Table):
        return _table(item)
    return f"![{item.caption}]({os.path.relpath(item.path, folder)})\n\n{item.caption}"


def _table(table: Table) -> str:
    """Lay a table out with padded columns: labels to the left, numbers to the right."""
    columns = list(zip(table.header, *table.rows, strict=True))
    widths = [max(3, *(len(cell) for cell in column)) for column in columns]
    rule = [
        "-" * width if index < table.labels else "-" * (width - 1) + ":"
        for index, width in enumerate(widths)
    ]
    lines = [
        "| " + " | ".join(_pad(c, w, i < table.labels) for i, (c, w) in cells) + " |"
        for row in (table.header, rule, *table.rows)
        for cells in [enumerate(zip(row, widths, strict=True))]
    ]
    return "\n".join([*lines, *(["", table.caption] if table.caption else [])])


def _pad(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)
