"""Pickles as Python 2 wrote them: byte strings for text, NumPy's old module names, protocol 2.

Python 3's own protocol 2 would write text as unicode and bytes through `_codecs.encode`, which
any reader takes; these need `encoding="latin1"`, as the field's old files do.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar

OLD_MODULES = {"numpy._core.multiarray": "numpy.core.multiarray"}


class _Python2Pickler(pickle._Pickler):
    dispatch: ClassVar[Any] = {**pickle._Pickler.dispatch}
    write: Callable[[bytes], object]
    memoize: Callable[[object], None]

    def save_string(self, value: str | bytes) -> None:
        """Write what was `str` in Python 2: SHORT_BINSTRING, or BINSTRING from 256 bytes."""
        data = value.encode("latin1") if isinstance(value, str) else value
        if len(data) < 256:
            head = pickle.SHORT_BINSTRING + struct.pack("<B", len(data))
        else:
            head = pickle.BINSTRING + struct.pack("<i", len(data))
        self.write(head + data)
        self.memoize(value)

    dispatch[str] = save_string
    dispatch[bytes] = save_string

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Name a class or function by the module it was in under Python 2."""
        module = OLD_MODULES.get(obj.__module__, obj.__module__)
        self.write(pickle.GLOBAL + f"{module}\n{name or obj.__qualname__}\n".encode("latin1"))
        self.memoize(obj)


def dump_python2(value: Any) -> bytes:
    """Pickle plain data and NumPy arrays so that Python 2 could have written it."""
    content = io.BytesIO()
    _Python2Pickler(content, protocol=2).dump(value)
    return content.getvalue()
