"""Importers by name, each loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from multibodies.data.sources.importer import Importer, SourceOptions
from multibodies.errors import UserError, nearest

# name of the set -> module of its original layout, which has `open_source(options) -> Importer`.
SETS = {
    "h36m": "h36m",
    "mpii3d": "mpi_inf_3dhp",
    "3dpw": "threedpw",
    "coco": "coco",
    "lsp": "lsp",
    "lspet": "lspet",
    "mpii": "mpii",
}


def open_importer(name: str, options: SourceOptions) -> Importer:
    """Return the importer of a set for what lies at `options.root`.

    An .npz there is read as SPIN's or ProHMR's layout of the set, anything else as its original
    one. Raises UserError on an unknown set, and as the importer does on opening.
    """
    if name not in SETS:
        raise UserError(f"unknown dataset '{name}'{nearest(name, SETS)}")
    if options.root.endswith(".npz"):
        importer: Importer = _module("npz").open_source(name, options)
        return importer
    importer = _module(SETS[name]).open_source(options)
    return importer


def _module(name: str) -> ModuleType:
    return import_module(f"multibodies.data.sources.{name}")
