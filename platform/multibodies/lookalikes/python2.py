"""Pickles as Python 2 wrote them: byte strings, old module names, any class by name alone.

A stand-in class needs only the name and module of the real one: names are written unchecked, so
neither chumpy nor SciPy is imported or pretended.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar

MODULES = {"builtins": "__builtin__", "copyreg": "copy_reg"}


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2's pickler would, protocols 0 to 2."""

    proto: int
    write: Callable[[bytes], None]
    memoize: Callable[[Any], None]
    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)

    def save_text(self, text: str | bytes) -> None:
        """Write Python 2's str: bytes, here of latin1."""
        raw = text if isinstance(text, bytes) else text.encode("latin1")
        if self.proto == 0:
            self.write(b"S" + repr(raw)[1:].encode() + b"\n")
        elif len(raw) < 256:
            self.write(b"U" + bytes([len(raw)]) + raw)
        else:
            self.write(b"T" + struct.pack("<i", len(raw)) + raw)
        self.memoize(text)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Write a class's or function's name as NumPy 1 and Python 2 had it."""
        module = MODULES.get(obj.__module__, obj.__module__).replace("numpy._core", "numpy.core")
        self.write(f"c{module}\n{name or obj.__name__}\n".encode("ascii"))
        self.memoize(obj)

    def save_type(self, obj: type) -> None:
        """Write a class."""
        self.save_global(obj)

    dispatch[str] = save_text
    dispatch[bytes] = save_text
    dispatch[FunctionType] = save_global
    dispatch[type] = save_type


def write_python2(path: Path, value: Any, protocol: int = 2) -> None:
    """Write a value as a pickle of Python 2."""
    with path.open("wb") as file:
        Python2Pickler(file, protocol).dump(value)


def named(module: str, name: str, state: dict[str, Any]) -> Any:
    """Return an object of a class of that module and name, with that state."""
    made = type(name, (), {"__module__": module})()
    made.__dict__.update(state)
    return made
