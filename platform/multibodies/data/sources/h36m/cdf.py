"""Human3.6M's cdf files: one variable of all frames. Legend: T frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from multibodies.apart.reader import Apart
from multibodies.data.sources.importer import require_file
from multibodies.data.sources.record import Floats
from multibodies.errors import UserError

MEMORY = 1 << 30  # cdflib and NumPy take 0.1 GB; Human3.6M's longest file has 5 MB
SECONDS = 30.0  # the longest takes 0.1
ROOM = 64 << 20  # cdflib unpacks a file that is packed as a whole into another one


def cdf_reader() -> Apart:
    """Return the child in which cdflib reads files, for a `with`: a forged file hangs it."""
    module = "multibodies.data.sources.h36m.cdf_child"
    return Apart(module, ("numpy", "cdflib"), MEMORY, SECONDS, ROOM)


def read_frames(reader: Apart, path: Path, name: str, width: int) -> Floats:
    """Return a variable of a CDF file, (1, T, width) or (T, width), as [T, width].

    Raises UserError naming the file where it is missing, damaged, another file, or of another
    layout.
    """
    expected = f"variable '{name}' (1, frames, {width}) of Human3.6M"
    require_file(path, f"a CDF file with {expected}")
    stored = reader.read(path, f"{expected}; get the file again", name=name)
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        values = np.asarray(stored, np.float64)
    frames = values.reshape(values.shape[-2:]) if values.shape[:-2] in ((), (1,)) else values
    if frames.ndim != 2 or frames.shape[1] != width:
        raise UserError(f"{path}: '{name}' is {values.shape}; expected {expected}")
    return frames
