"""The systems of Table 1: each a module of this package, named by its line in `config.SYSTEMS`."""

from __future__ import annotations

from importlib import import_module

from multibodies.config import SYSTEMS
from multibodies.errors import UserError, nearest
from multibodies.systems.base import System

__all__ = ["System", "module_of", "system_of"]


def system_of(name: str) -> System:
    """Return a system, the module's SYSTEM. Raises UserError on an unknown name."""
    if name not in SYSTEMS:
        raise UserError(f"unknown system '{name}'{nearest(name, SYSTEMS)}")
    found: System = import_module(module_of(name)).SYSTEM
    return found


def module_of(name: str) -> str:
    """Return the name of a system's module."""
    return f"{__name__}.{name}"
