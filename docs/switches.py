"""Write README's table of paper-versus-released-code choices from the configuration's switches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from multibodies.config.switches import SWITCHES, Switch

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- switches: made by `make readme` -->\n", "<!-- end of switches -->\n"


def table(switches: Sequence[Switch] = SWITCHES) -> str:
    """Return the Markdown table."""
    head = ["choice", "paper (our default)", "released code", "setting"]
    rows = [[s.what, s.paper, s.released, _setting(s)] for s in switches]
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def _setting(switch: Switch) -> str:
    ours, theirs = (json.dumps(value).strip('"') for value in switch.values)
    values = ours if ours == theirs else f"{ours} / {theirs}"
    note = f"; {switch.note}" if switch.note else ""
    return f"`{switch.key}`: {values}{note}"


def updated(readme: str) -> str:
    """Return README's text with the table made anew."""
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    README.write_text(updated(README.read_text()))
