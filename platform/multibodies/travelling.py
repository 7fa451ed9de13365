"""The source that a model needs where this package is not installed: modules and their imports."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from multibodies.files import write_bytes

PACKAGE = "multibodies"
ROOT = Path(__file__).parent


def copy_source(modules: Iterable[str], folder: Path) -> Path:
    """Copy modules and the package's files that they import, also inside functions; return the
    package's folder there."""
    for path in sorted(set[Path]().union(*map(files_of, modules))):
        write_bytes(folder / PACKAGE / path.relative_to(ROOT), path.read_bytes())
    return folder / PACKAGE


def files_of(module: str) -> set[Path]:
    """Return the files of a module of this package, of all it imports and of their packages."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = file_of(name)
        if path is None or path in found:
            continue
        found.add(path)
        waiting += [name.rpartition(".")[0], *_imports(path)]
    return found


def file_of(module: str) -> Path | None:
    """Return a module's file; None of another package, or of a name within a module."""
    head, *rest = module.split(".")
    place = ROOT.joinpath(*rest)
    if head != PACKAGE:
        return None
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
