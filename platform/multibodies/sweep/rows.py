"""The tables [rows.NAME] of a sweep file: named settings, a training each, as Table 1's systems."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from multibodies.errors import UserError
from multibodies.sweep.axes import check_row_key
from multibodies.sweep.definition import Sweep


def read_rows(sweep: Sweep, tables: Mapping[str, Mapping[str, Any]]) -> Sweep:
    """Return the sweep with its rows, if the file has any.

    Raises UserError naming row and key on a setting that may not differ between trainings, on two
    rows of the same settings, and beside [train] or [search].
    """
    if not tables:
        return sweep
    if sweep.train or sweep.search or sweep.vary != "all":
        raise UserError("[rows] name all trainings; leave out [train], [search] and vary")
    for name, settings in tables.items():
        _check_row(sweep, name, settings)
    names = list(tables)
    for index, name in enumerate(names):
        for other in names[:index]:
            if tables[other] == tables[name]:
                raise UserError(f"[rows.{name}]: the settings of [rows.{other}]; change one")
    return replace(sweep, rows={name: dict(settings) for name, settings in tables.items()})


def _check_row(sweep: Sweep, name: str, settings: Mapping[str, Any]) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise UserError(f"[rows.{name}]: expected letters, digits, '_' (it names a folder)")
    for key in settings:
        check_row_key(f"[rows.{name}]", key)
    try:
        sweep.config(settings)
    except UserError as error:
        raise UserError(f"[rows.{name}] {error}") from None
