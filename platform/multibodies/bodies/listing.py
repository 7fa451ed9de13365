"""The bodies there are, as lines of a table."""

from __future__ import annotations

import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from multibodies.bodies.naming import EMBEDDED, SUFFIX, body_names
from multibodies.bodies.store import read_provenance
from multibodies.core.body_arrays import EMBEDDED_BODY
from multibodies.files import sha256

OURS: Final = {"gender": "neutral", "version": "-", "source": "this package, licence-free"}


class Line(NamedTuple):
    """One body; `vertices` is a text, as a file may be damaged."""

    name: str
    gender: str
    version: str
    vertices: str
    origin: str
    imported: str
    sha256: str


def list_bodies(folder: Path) -> list[Line]:
    """Return the embedded body and those of a folder, sorted by name."""
    lines = [_line(EMBEDDED, EMBEDDED_BODY, OURS, "-")]
    for name in body_names(folder):
        path = folder / f"{name}{SUFFIX}"
        day = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
        lines.append(_line(name, path, read_provenance(path), day))
    return lines


def _line(name: str, path: Path, told: dict[str, Any], day: str) -> Line:
    gender, version, source = (str(told.get(k, "?")) for k in ("gender", "version", "source"))
    return Line(name, gender, version, _vertices(path), source, day, sha256(path)[:12])


def _vertices(path: Path) -> str:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return str(len(archive["v_template"]))
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile, zlib.error, EOFError, MemoryError):
        return "damaged"
