"""A part of a file as plain bytes, stored as they are or deflated, read from any place.

No file stays open between reads, and no more than what was asked for is ever held: a deflated part
is inflated in pieces, and where the next read goes on after the last one, so does the inflating.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from multibodies.errors import UserError

PIECE = 1 << 18


@dataclass(frozen=True)
class Span:
    """Where the bytes are: `stored` bytes from `start` of the file give `size` plain ones.

    label names the part in errors; crc is the CRC-32 of the plain bytes, None where none is known.
    """

    path: Path
    label: str
    start: int
    stored: int
    size: int
    deflated: bool = False
    crc: int | None = None


class SpanReader:
    """Reads a span. Raises UserError naming it where it ends early or is damaged."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self._inflater = _Inflater(span)

    def read(self, at: int, count: int) -> bytes:
        """Return `count` bytes from byte `at` of the plain bytes."""
        with _open(self.span) as file:
            if self.span.deflated:
                return self._inflated(file, at, count)
            file.seek(self.span.start + at)
            found = file.read(count)
        if len(found) != count:
            raise _damaged(self.span, "it ends early")
        return found

    def verify(self) -> None:
        """Hold all plain bytes against their CRC-32, in pieces."""
        crc, size = 0, self.span.size
        for at in range(0, size, PIECE):
            crc = zlib.crc32(self.read(at, min(PIECE, size - at)), crc)
        if self.span.crc not in (None, crc):
            raise _damaged(self.span, "its checksum (CRC-32) differs")

    def _inflated(self, file: BinaryIO, at: int, count: int) -> bytes:
        if at < self._inflater.at:
            self._inflater = _Inflater(self.span)
        while (gap := at - self._inflater.at) > 0:
            self._inflater.take(file, min(gap, PIECE))
        return self._inflater.take(file, count)


class _Inflater:
    """Gives plain bytes in order; `at` is the next one."""

    def __init__(self, span: Span) -> None:
        self.at = 0
        self._span, self._used, self._rest = span, 0, b""
        self._zlib = zlib.decompressobj(-zlib.MAX_WBITS)  # zip's deflate has no header of zlib's

    def take(self, file: BinaryIO, count: int) -> bytes:
        """Return the next `count` plain bytes."""
        found = bytearray()
        while len(found) < count:
            fed = self._rest or self._feed(file)
            try:
                piece = self._zlib.decompress(fed, min(count - len(found), PIECE))
            except zlib.error as error:
                raise _damaged(self._span, str(error)) from None
            self._rest = self._zlib.unconsumed_tail
            if not piece and (not fed or self._zlib.eof):
                raise _damaged(self._span, "it ends early")
            found += piece
        self.at += count
        return bytes(found)

    def _feed(self, file: BinaryIO) -> bytes:
        file.seek(self._span.start + self._used)
        fed = file.read(min(PIECE, self._span.stored - self._used))
        self._used += len(fed)
        return fed


def _open(span: Span) -> BinaryIO:
    try:
        return span.path.open("rb")
    except OSError as error:
        raise UserError(f"{span.path}: cannot be read ({error.strerror})") from None


def _damaged(span: Span, why: str) -> UserError:
    return UserError(f"{span.label}: truncated or damaged ({why}); get the file again")
