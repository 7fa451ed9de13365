"""The directory of a zip file that others made, and where each entry's bytes lie."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from pathlib import Path

from multibodies.data.sources.npz.byte_spans import Span
from multibodies.errors import UserError

MAX_DIRECTORY_BYTES = 1 << 20  # room for thousands of arrays
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field
BEGINNINGS = (
    (rb"\s*<", "a web page (HTML); the download went to a login or error page"),
    (rb"version https://git-lfs", "a Git LFS pointer; fetch the file it names"),
    (rb"\x93NUMPY", "one bare array (.npy)"),
)


class _BoundedFile(io.FileIO):
    """Keeps zipfile from reading a directory of any size into memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"a directory of {size} bytes")
        return super().read(size) or b""


def zip_entries(path: Path) -> list[zipfile.ZipInfo]:
    """Return a zip's entries, in bounded memory. Raises UserError saying what it is instead."""
    try:
        with _BoundedFile(path, "rb") as file, zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except Exception as error:  # any bytes may be in the file, and so any error of zipfile
        raise UserError(f"{path}: not a whole .npz: {_reason(path, error)}") from None


def _reason(path: Path, error: Exception) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as denied:
        return f"it cannot be read ({denied.strerror})"
    for pattern, what in BEGINNINGS:
        if re.match(pattern, start):
            return what
    return f"truncated or damaged ({error}); get the file again"


def entry_span(path: Path, entry: zipfile.ZipInfo, name: str) -> Span:
    """Return where an entry's bytes lie, held against the file's size and the entry's own header.

    Only zip's `stored` and `deflated` are read: their output is bounded piece by piece. Raises
    UserError naming the array on others, on encryption and on what does not agree.
    """
    label = f"{path}: array '{name}'"
    if entry.flag_bits & 0x1:
        raise UserError(f"{label}: encrypted; save the file without a password")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(
            f"{label}: zip's compression {entry.compress_type}, expected NumPy's (none or deflate)"
        )
    deflated = entry.compress_type == zipfile.ZIP_DEFLATED
    start, whole = _data_start(path, entry), path.stat().st_size
    if start is None or start + entry.compress_size > whole:
        raise UserError(f"{label}: truncated or damaged zip entry; get the file again")
    if not deflated and entry.compress_size != entry.file_size:
        raise UserError(f"{label}: its zip entry has two sizes; damaged: get the file again")
    return Span(path, label, start, entry.compress_size, entry.file_size, deflated, entry.CRC)


def _data_start(path: Path, entry: zipfile.ZipInfo) -> int | None:
    if entry.header_offset < 0:
        return None
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        header = file.read(LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size:
        return None
    signature, name, extra = LOCAL_HEADER.unpack(header)
    return (
        entry.header_offset + LOCAL_HEADER.size + name + extra if signature == b"PK\3\4" else None
    )
