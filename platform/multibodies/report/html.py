"""A page as one self-contained HTML file.

Figures are inlined, nothing is fetched, no script and no storage is used: it shows in MLflow's
`<iframe sandbox>`.
"""

from __future__ import annotations

import base64
from pathlib import Path

from multibodies.errors import UserError
from multibodies.report.page import Figure, Page, Table

TEMPLATES = Path(__file__).parents[1] / "assets" / "report"


def html(page: Page) -> str:
    """Return the page as HTML. Raises UserError if a figure's file is missing."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["table"] = lambda item: isinstance(item, Table)
    environment.tests["figure"] = lambda item: isinstance(item, Figure)
    environment.filters["inlined"] = inlined
    return environment.get_template("page.html.j2").render(page=page)


def inlined(path: Path) -> str:
    """Return a PNG file as a data URI. Raises UserError if it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: figure cannot be read ({error.strerror})") from None
    return "data:image/png;base64," + base64.b64encode(content).decode()
