"""Human3.6M's cdf files: one variable of all frames. Legend: T frames."""

from __future__ import annotations

from pathlib import Path

from multibodies.data.sources.cdf import MAX_BYTES, NUMBERS, Cdf
from multibodies.data.sources.record import Floats
from multibodies.errors import UserError


def read_frames(path: Path, name: str, width: int) -> Floats:
    """Return a variable of a CDF file, (1, T, width) or (T, width), as [T, width].

    Raises UserError naming the file where it is missing, damaged, another file, or of another
    layout.
    """
    expected = f"variable '{name}' (1, frames, {width}) of Human3.6M"
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a CDF file with {expected}")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path}: over {MAX_BYTES >> 20} MiB; expected {expected}")
    try:
        values = _read(Cdf(path.read_bytes()), name)
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: {error}; expected {expected}; get the file again") from None
    frames = values.reshape(values.shape[-2:]) if values.shape[:-2] in ((), (1,)) else values
    if frames.ndim != 2 or frames.shape[1] != width:
        raise UserError(f"{path}: '{name}' is {values.shape}; expected {expected}")
    return frames


def _read(cdf: Cdf, name: str) -> Floats:
    places = cdf.names()
    if name not in places:
        raise ValueError(f"no variable '{name}' among {sorted(places)}")
    variable = cdf.variable(places[name])
    if variable.kind not in NUMBERS:
        raise ValueError(f"'{name}' has type {variable.kind}, no floating-point number")
    return cdf.values(variable)
