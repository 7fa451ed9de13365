"""An imported body's file: an .npz of plain arrays, with where they came from as a JSON text.

The same arrays and origin give the same bytes on any day and machine, so that a body's SHA-256 may
stand in recipes; the day of the import is the file's own date.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from multibodies.files import atomic

ORIGIN: Final = "provenance"
READABLE_BY_OWNER: Final = 0o600  # SMPL's licence forbids to pass it on
MAX_ORIGIN: Final = 1 << 20  # bytes


def write_body(path: Path, arrays: Mapping[str, np.ndarray], origin: Mapping[str, Any]) -> None:
    """Write arrays and origin, adding the arrays' digest. Raises UserError as `files.atomic`."""
    told = {**origin, "arrays_sha256": digest(arrays)}
    text = np.array(json.dumps(told, sort_keys=True))
    with atomic(path) as temporary:
        temporary.touch(READABLE_BY_OWNER)
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **{**dict(sorted(arrays.items())), ORIGIN: text})


def read_provenance(path: Path) -> dict[str, Any]:
    """Return what an .npz tells of its origin; nothing where it has none, or none that reads."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(f"{ORIGIN}.npy").file_size > MAX_ORIGIN:
                return {}
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            told = json.loads(str(arrays[ORIGIN]))
    except (KeyError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, OSError, MemoryError):
        return {}
    return told if isinstance(told, dict) else {}


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of names, dtypes, shapes and values, whatever the file around them."""
    total = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
