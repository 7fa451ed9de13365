"""Write README's table of paper-versus-released-code choices from switches.toml."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- switches: made by `make readme` -->\n", "<!-- end of switches -->\n"


def load() -> list[dict[str, Any]]:
    """Return the switches, in the file's order."""
    switches: list[dict[str, Any]] = tomllib.loads((HERE / "switches.toml").read_text())["switch"]
    return switches


def table(switches: list[dict[str, Any]]) -> str:
    """Return the Markdown table."""
    head = ["choice", "paper (our default)", "released code", "here"]
    rows = [[s["what"], s["paper"], s["released"], _here(s)] for s in switches]
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def _here(switch: dict[str, Any]) -> str:
    if "key" not in switch:
        return str(switch.get("here", "planned"))
    ours, theirs = (json.dumps(value).strip('"') for value in switch["values"])
    values = ours if ours == theirs else f"{ours} / {theirs}"
    note = f"; {switch['note']}" if "note" in switch else ""
    return f"`{switch['key']}`: {values}{note}"


def updated(readme: str) -> str:
    """Return README's text with the table made anew."""
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}{table(load())}{END}{after}"


if __name__ == "__main__":
    README.write_text(updated(README.read_text()))
