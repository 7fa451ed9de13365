"""A pickle's opcodes with a fixed list of names behind them: stubs, and four of Python's types."""

from __future__ import annotations

import pickle
from typing import Any, Final, NoReturn

from multibodies.apart.frames import Refused
from multibodies.pickles import stubs

ALLOWED: Final[dict[tuple[str, str], Any]] = {
    **{
        (f"numpy.{core}.multiarray", "_reconstruct"): stubs.reconstruct
        for core in ("core", "_core")
    },
    **{
        (f"numpy.{core}.{module}", name): stub
        for core in ("core", "_core")  # NumPy 1 and 2
        for module, name, stub in (
            ("multiarray", "_reconstruct", stubs.reconstruct),
            ("multiarray", "scalar", stubs.Scalar),
            ("numeric", "_frombuffer", stubs.Buffer),
        )
    },
    ("numpy", "ndarray"): stubs.Array,
    ("numpy", "dtype"): stubs.Dtype,
    ("scipy.sparse.csc", "csc_matrix"): stubs.Csc,
    ("scipy.sparse._csc", "csc_matrix"): stubs.Csc,
    ("chumpy.ch", "Ch"): stubs.Ch,
    ("chumpy", "Ch"): stubs.Ch,
    ("chumpy.reordering", "Select"): stubs.Select,
    ("copy_reg", "_reconstructor"): stubs.reconstructor,
    ("copyreg", "_reconstructor"): stubs.reconstructor,
    ("_codecs", "encode"): stubs.encode,
    **{
        (module, kind.__name__): kind
        for module in ("__builtin__", "builtins")
        for kind in (object, set, bytes, bytearray)
    },
}


class Unpickler(pickle.Unpickler):
    """Python 2's and 3's pickles, whose names are only those of ALLOWED."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, fix_imports=False, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name. Raises Refused for any other."""
        if (module, name) not in ALLOWED:
            raise Refused(
                f"its pickle wants '{module}.{name}', which is not allowed: it is no plain array "
                "and may run code, so nothing of the file is read"
            )
        return ALLOWED[module, name]

    def persistent_load(self, _: Any) -> NoReturn:
        """Refuse references to objects outside the file."""
        raise Refused("its pickle refers to objects outside the file")
