"""One variable of a CDF file (NASA's Common Data Format, version 3), read within bounds.

A file's own numbers decide how far a CDF library walks and how much it allocates. Here every
offset is held against the file, records are visited once, and no block may hold more than the
variable. Layouts: "CDF Internal Format Description", version 3.9, chapters 2 to 5.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from multibodies.data.sources.record import Floats

MAX_BYTES = 256 << 20  # of a file, packed or not; Human3.6M's longest has some 5 MB
MAGIC, PLAIN, PACKED = b"\xcd\xf3\x00\x01", b"\x00\x00\xff\xff", b"\xcc\xcc\x00\x01"
OLDER = (b"\xcd\xf2\x60\x02", b"\x00\x00\xff\xff")
CDR, GDR, RVDR, VXR, VVR, ZVDR, CCR, CVVR = 1, 2, 3, 6, 7, 8, 10, 13  # types of records
BIG_ENDIAN = (1, 2, 5, 7, 9, 11, 12, 18)
LITTLE_ENDIAN = (4, 6, 13, 16, 17)
NUMBERS = {21: "f4", 44: "f4", 22: "f8", 45: "f8"}  # CDF_REAL4, CDF_FLOAT, CDF_REAL8, CDF_DOUBLE
NAME = 256  # bytes
GZIP = 16 + zlib.MAX_WBITS


class Variable(NamedTuple):
    """What a variable's record says: sizes of the dimensions that vary, one kind of number."""

    kind: int
    records: int
    head: int  # place of its first index record
    sizes: tuple[int, ...]

    @property
    def values(self) -> int:
        """Numbers in all records."""
        return self.records * math.prod(self.sizes)


class Cdf:
    """A whole file in memory. Its methods raise ValueError where it is not as it should be."""

    def __init__(self, content: bytes) -> None:
        if content[:4] in OLDER:
            raise ValueError("a CDF file of version 2; convert it to version 3 (NASA's cdfconvert)")
        if content[:4] != MAGIC:
            raise ValueError("not a CDF file")
        self.content = self._unpack(content) if content[4:8] == PACKED else content
        self._gdr = self._number(8 + 12, 8)
        self._of_type(8, CDR)
        self._of_type(self._gdr, GDR)
        self._encoding = self._number(8 + 28, 4)
        self._by_rows = bool(self._number(8 + 32, 4) & 1)

    def names(self) -> dict[str, int]:
        """Return the places of the variables' records by name."""
        found: dict[str, int] = {}
        for head in (self._gdr + 20, self._gdr + 12):
            place = self._number(head, 8)
            while place > 0 and place not in found.values():
                self._of_type(place, ZVDR, RVDR)
                name = self._bytes(place + 84, NAME).split(b"\0")[0].decode("ascii", "replace")
                if name in found:
                    raise ValueError(f"variable '{name}' occurs twice")
                found[name] = place
                place = self._number(place + 12, 8)
        return found

    def variable(self, place: int) -> Variable:
        """Read a variable's record."""
        if self._of_type(place, ZVDR, RVDR) == ZVDR:
            rank, sizes_at = self._number(place + 340, 4), place + 344
            varies_at = sizes_at + 4 * rank
        else:
            rank, sizes_at = self._number(self._gdr + 56, 4), self._gdr + 84
            varies_at = place + 340
        if not 0 <= rank <= 8:
            raise ValueError(f"{rank} dimensions")
        sizes = tuple(
            self._number(sizes_at + 4 * k, 4)
            for k in range(rank)
            if self._number(varies_at + 4 * k, 4)
        )
        if min(sizes, default=1) < 0:
            raise ValueError(f"dimensions {sizes}")
        last = self._number(place + 24, 4)
        return Variable(self._number(place + 20, 4), last + 1, self._number(place + 28, 8), sizes)

    def values(self, variable: Variable) -> Floats:
        """Return a variable's values [record, *sizes]."""
        kind = np.dtype(self._byte_order() + NUMBERS[variable.kind])
        wanted = variable.values * kind.itemsize
        if not 0 <= wanted <= MAX_BYTES:
            raise ValueError(f"{variable.records} records of {variable.sizes} numbers")
        blocks, left = [], wanted
        for _, place in sorted(self._blocks(variable.head, set())):
            blocks.append(self._block(place, left))
            left -= len(blocks[-1])
        if left:
            raise ValueError(f"{wanted - left} bytes of values, expected {wanted}")
        with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
            flat = np.frombuffer(b"".join(blocks), kind).astype(np.float64)
        if self._by_rows:
            return flat.reshape(variable.records, *variable.sizes)
        turned = flat.reshape(variable.records, *reversed(variable.sizes))
        return turned.transpose(0, *range(len(variable.sizes), 0, -1))

    def _blocks(self, place: int, seen: set[int]) -> Iterator[tuple[int, int]]:
        """Give (first record, place) of each block of values under an index record."""
        while place > 0:
            if place in seen:
                raise ValueError("its index runs in a circle")
            seen.add(place)
            self._of_type(place, VXR)
            room, used = self._number(place + 20, 4), self._number(place + 24, 4)
            self._bytes(place + 28, 16 * room)
            if not 0 <= used <= room:
                raise ValueError(f"{used} entries in an index for {room}")
            for entry in range(used):
                block = self._number(place + 28 + 8 * room + 8 * entry, 8)
                if self._of_type(block, VXR, VVR, CVVR) == VXR:
                    if len(seen) > 500:
                        raise ValueError("its index is too deep")
                    yield from self._blocks(block, seen)
                else:
                    yield self._number(place + 28 + 4 * entry, 4), block
            place = self._number(place + 12, 8)

    def _block(self, place: int, most: int) -> bytes:
        """Return the values of a block, at most `most` bytes of them."""
        if self._of_type(place, VVR, CVVR) == VVR:
            return self._bytes(place + 12, self._number(place, 8) - 12)[:most]
        return inflate(self._bytes(place + 24, self._number(place + 16, 8)), most)

    def _unpack(self, content: bytes) -> bytes:
        """Return the content of a file that is compressed as a whole."""
        self.content = content
        self._of_type(8, CCR)
        size = self._number(8 + 20, 8)
        if not 0 <= size <= MAX_BYTES:
            raise ValueError(f"unpacks to {size} bytes")
        return MAGIC + PLAIN + inflate(self._bytes(8 + 32, self._number(8, 8) - 32), size)

    def _byte_order(self) -> str:
        if self._encoding not in BIG_ENDIAN + LITTLE_ENDIAN:
            raise ValueError(f"encoding {self._encoding} of numbers")
        return ">" if self._encoding in BIG_ENDIAN else "<"

    def _of_type(self, place: int, *expected: int) -> int:
        kind = self._number(place + 8, 4)
        if kind not in expected:
            raise ValueError(f"a record of type {kind} at byte {place}, expected {expected[0]}")
        return kind

    def _number(self, place: int, size: int) -> int:
        return int.from_bytes(self._bytes(place, size), "big", signed=True)

    def _bytes(self, place: int, size: int) -> bytes:
        if place < 0 or size < 0 or place + size > len(self.content):
            raise ValueError(f"truncated: {size} bytes at byte {place} of {len(self.content)}")
        return self.content[place : place + size]


def inflate(packed: bytes, most: int) -> bytes:
    """Return the first `most` bytes of gzip data. Raises ValueError where it is none."""
    if most == 0:
        return b""
    try:
        return zlib.decompressobj(GZIP).decompress(packed, most)
    except zlib.error as error:
        raise ValueError(f"compressed data damaged, or not by gzip ({error})") from None
