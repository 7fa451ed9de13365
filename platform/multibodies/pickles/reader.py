"""Reading a pickle: a look at its first bytes, then a child behind bars does the rest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from multibodies.apart.reader import Apart
from multibodies.errors import UserError

MAX_BYTES = 1 << 30  # SMPL's largest model file has a quarter of it
MEMORY = 2 << 30  # address space, not pages in use
SECONDS = 120.0
BEGINNINGS = (
    (rb"\s*<", "a web page (HTML), not a pickle; the download went to a login or error page"),
    (rb"version https://git-lfs", "a Git LFS pointer, not a pickle; fetch the file it names"),
    (rb"PK\x03\x04", "a zip archive (.zip or .npz), not a pickle; unpack it if it is a download"),
    (rb"\x93NUMPY", "a NumPy array (.npy), not a pickle"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ", "a compressed file, not a pickle; unpack it first"),
    (rb"\x89HDF", "an HDF5 file, not a pickle"),
)


def read_pickle(
    path: str | Path,
    expected: str,
    *,
    max_bytes: int = MAX_BYTES,
    memory: int = MEMORY,
    seconds: float = SECONDS,
) -> Any:
    """Return a pickle's plain data: dicts, lists, texts, numbers and NumPy arrays.

    Pickles of Python 2 (latin1) and 3, protocols 0 to 5. chumpy's Ch and Select become their
    arrays, a csc_matrix the full matrix, tuples and sets lists, bytes texts, NumPy's scalars
    Python's numbers. None of the file's classes are imported, nothing of it runs; the child that
    reads has at most `memory` bytes of address space and `seconds` of processor and of wall time.

    expected: what the file should be, such as "a 3DPW sequence file". Raises UserError naming the
    file, what is wrong with it and `expected`.
    """
    path = Path(path)
    try:
        check_file(path, max_bytes)
    except ValueError as reason:
        raise UserError(f"{path}: {reason}; expected {expected}") from None
    with Apart("multibodies.pickles.child", ("numpy",), memory, seconds) as child:
        return child.read(path, expected)


def check_file(path: Path, max_bytes: int = MAX_BYTES) -> None:
    """Refuse by size and first bytes what is no pickle. Raises ValueError with the reason."""
    if not path.is_file():
        raise ValueError("no such file")
    size = path.stat().st_size
    if not 0 < size <= max_bytes:
        raise ValueError(f"holds {size} bytes, more than {max_bytes}" if size else "an empty file")
    try:
        with path.open("rb") as file:
            start = file.read(256)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    for pattern, what in BEGINNINGS:
        if re.match(pattern, start):
            raise ValueError(what)
