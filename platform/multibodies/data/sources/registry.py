"""Importers by name, each loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from multibodies.data.sources.importer import Importer, SourceOptions
from multibodies.errors import UserError, nearest

# name of the set -> module of its original layout, which has `open_source(options) -> Importer`.
SETS = {
    "h36m": "h36m.importer",
    "mpii3d": "mpi_inf_3dhp.importer",
    "3dpw": "threedpw.importer",
    "coco": "coco",
    "lsp": "lsp",
    "lspet": "lspet",
    "mpii": "mpii.importer",
}

POSED = ("3dpw",)  # sets whose true joints are those of a body
# Splits of occluded versions that a set has besides its own: those that the paper evaluates on.
AMBIGUOUS = {"h36m": ("ah36m-test",), "3dpw": ("a3dpw-val", "a3dpw-test")}


def base_split(split: str) -> str:
    """Return the split whose pictures a split shows: `a3dpw-test` -> `3dpw-test`, others their own.

    Any set has an occluded version of its splits, called `a` and its name.
    """
    name = split.partition("-")[0]
    return split[1:] if name not in SETS and name[:1] == "a" and name[1:] in SETS else split


def open_importer(name: str, options: SourceOptions) -> Importer:
    """Return the importer of a set for what lies at `options.root`.

    An .npz there is read as SPIN's or ProHMR's layout of the set, anything else as its original
    one. Raises UserError on an unknown set, and as the importer does on opening.
    """
    if name not in SETS:
        raise UserError(f"unknown dataset '{name}'{nearest(name, SETS)}")
    if options.root.endswith(".npz"):
        importer: Importer = _module("npz.importer").open_source(name, options)
        return importer
    importer = _module(SETS[name]).open_source(options)
    return importer


def _module(name: str) -> ModuleType:
    return import_module(f"multibodies.data.sources.{name}")
