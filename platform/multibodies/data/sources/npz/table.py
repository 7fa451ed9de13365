"""One npz of SPIN's or ProHMR's layout as a table: checked arrays of N rows, read in blocks.

Legend: N row, of the file and of SPIN's static fits beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multibodies.data.sources.npz.layouts import find_layout
from multibodies.data.sources.npz.safe_npz import NUMBERS, TEXT, SafeArray, open_npy, open_npz
from multibodies.errors import UserError

Block = dict[str, npt.NDArray[Any]]


class Table:
    """The fields that the file has, by our names; `fits` are the rows [82] of the static fits.

    Raises UserError naming the array that is missing, holds objects or has another shape or number
    of rows than it should.
    """

    def __init__(self, path: str, fits: str | None) -> None:
        archive = open_npz(path)
        self.layout = find_layout(archive.names, path)
        self._arrays = {
            name: archive.array(field.key).expect(field.shapes, field.kinds)
            for name, field in self.layout.fields.items()
            if field.key in archive.names
        }
        self.count = self._arrays["imgname"].shape[0]
        if not self.count:
            raise UserError(f"{path}: 'imgname' has no rows")
        if fits is not None:
            self._arrays["fits"] = open_npy(fits).expect(((82,),), NUMBERS)
        self._check_rows(Path(path).name)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def block(self, start: int, count: int, names: tuple[str, ...] = ()) -> Block:
        """Return rows start..start+count-1 of all fields or some: text as it is, else float64."""
        chosen = {n: array for n, array in self._arrays.items() if not names or n in names}
        return {name: _values(array, start, count) for name, array in chosen.items()}

    def verify(self) -> None:
        """Hold every array that is used against its checksum. Raises UserError naming it."""
        for array in self._arrays.values():
            array.verify()

    def _check_rows(self, name: str) -> None:
        for array in self._arrays.values():
            if array.shape[0] != self.count:
                raise UserError(
                    f"{array.label}: has {array.shape[0]} rows, but 'imgname' of {name} has "
                    f"{self.count}; they must belong to the same rows"
                )


def _values(array: SafeArray, start: int, count: int) -> npt.NDArray[Any]:
    rows = array.rows(start, count)
    if array.dtype.kind in TEXT:
        return rows
    with np.errstate(all="ignore"):  # a damaged number is the row's fault, found there
        return rows.astype(np.float64)
