"""Arrays of an .npz or .npy that others made: any rows of them, without trust and without pickles.

Nothing is allocated by what a header or a zip directory claims: sizes must agree with one another
and with the file. Arrays that nobody asks for are not looked at, whatever they hold.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multibodies.data.sources.importer import require_file
from multibodies.data.sources.npz.byte_spans import Span, SpanReader
from multibodies.data.sources.npz.npy_header import MAX_HEADER_BYTES, read_header
from multibodies.data.sources.npz.zip_entries import entry_span, zip_entries
from multibodies.errors import UserError

NUMBERS, TEXT = "fiub", "SU"  # kinds of dtype
MAX_TEXT_BYTES = 16 * 1024  # of one text


class SafeArray:
    """One array on disk: shape and dtype are known and agree with the file, rows are read alone."""

    def __init__(self, span: Span) -> None:
        self._reader = SpanReader(span)
        self.label = span.label
        beginning = self._reader.read(0, min(span.size, MAX_HEADER_BYTES))
        self.shape, self.dtype, self._start = read_header(beginning, span.size, span.label)

    def expect(self, shapes: tuple[tuple[int, ...], ...], kinds: str) -> SafeArray:
        """Return the array if its rows have one of `shapes` and its dtype one of `kinds`."""
        wanted = " or ".join(str(("N", *shape)).replace("'", "") for shape in shapes)
        if not self.shape or self.shape[1:] not in shapes:
            raise UserError(f"{self.label}: has shape {self.shape}, expected {wanted}")
        if self.dtype.kind not in kinds or (kinds == TEXT and self.dtype.itemsize > MAX_TEXT_BYTES):
            what = "text" if kinds == TEXT else "numbers"
            raise UserError(f"{self.label}: holds {self.dtype}, expected {what}")
        return self

    def rows(self, start: int, count: int) -> npt.NDArray[Any]:
        """Return rows start..start+count-1, which must be there; nothing else is kept."""
        if start < 0 or count < 0 or start + count > self.shape[0]:
            raise ValueError(f"{self.label}: rows {start}..{start + count - 1} of {self.shape[0]}")
        shape = (count, *self.shape[1:])
        stride = int(np.prod(self.shape[1:], dtype=int)) * self.dtype.itemsize
        found = self._reader.read(self._start + start * stride, count * stride)
        return np.frombuffer(found, self.dtype).reshape(shape)

    def verify(self) -> None:
        """Read the whole array once and hold it against its checksum. Raises UserError."""
        self._reader.verify()


class SafeNpz:
    """The directory of an .npz: `names` of its arrays, each opened when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path, self._arrays = path, dict[str, SafeArray]()
        self._entries = zip_entries(path)
        found = {entry.filename for entry in self._entries}
        self.names = sorted(n.removesuffix(".npy") for n in found if n.endswith(".npy"))

    def array(self, name: str) -> SafeArray:
        """Return an array. Raises UserError if it is missing, damaged, encrypted or of objects."""
        if name not in self._arrays:
            found = [entry for entry in self._entries if entry.filename == f"{name}.npy"]
            if len(found) != 1:
                what = "more than one array" if found else "no array"
                raise UserError(f"{self.path}: {what} '{name}'; it has {self.listed()}")
            self._arrays[name] = SafeArray(entry_span(self.path, found[0], name))
        return self._arrays[name]

    def listed(self) -> str:
        """Return the names for an error's message."""
        return ", ".join(self.names[:20]) or "none"


def open_npz(path: str | Path) -> SafeNpz:
    """Open an .npz; a few stay known to the process. Raises UserError saying what it is instead."""
    path = require_file(path, "an .npz of arrays")
    stat = path.stat()
    return _known_npz(path, stat.st_mtime_ns, stat.st_size)


def open_npy(path: str | Path) -> SafeArray:
    """Open one bare array (.npy). Raises UserError as its header's reader does."""
    path = require_file(path, "an .npy array")
    stat = path.stat()
    return _known_npy(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _known_npz(path: Path, _mtime: int, _size: int) -> SafeNpz:
    return SafeNpz(path)


@lru_cache(maxsize=4)
def _known_npy(path: Path, _mtime: int, size: int) -> SafeArray:
    return SafeArray(Span(path, str(path), 0, size, size))
