"""A sweep file (TOML) -> Sweep: closed, validated through the config, values read as their types.

The file's tables: `[set]` changes settings for all cells, `[evaluation]` is short for
`evaluation.*` in `[set]`, `[train]` lists axes that need a training of their own, `[prior]` axes
that refit only the prior, `[score]` axes that act on stored hypotheses, `[search]` draws from
`[train]` instead of crossing it, `[stopping]` ends trainings early, `[ours]` is what is not in the
paper: the flow weights from which alpha is chosen on val. `vary = "one"` varies each axis of
`[train]` alone. `[rows.NAME]` name trainings by settings of their own instead of axes. `[notes]`
is what the report is to say: `tuning`, how the settings were chosen.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from multibodies.config import check_key
from multibodies.errors import UserError, nearest
from multibodies.sweep.axes import read_axes, read_axis, read_sizes, refuse_seed, unique
from multibodies.sweep.definition import FLOW_WEIGHT, SIZE_KEY, VARY, Sweep
from multibodies.sweep.rows import read_rows
from multibodies.sweep.searching import is_range, read_search
from multibodies.sweep.stopping import read_stopping

TOP_KEYS = (
    *("name", "profile", "seeds", "stage1", "vary"),
    *("set", "train", "prior", "score", "rows", "evaluation", "search", "stopping"),
    *("ours", "notes"),
)
NOTES = ("tuning",)
OUR_KEYS = ("flow_weight_candidates", "choose_on")
STAGE1_SOURCES = ("train", "shipped")


def load_sweep(path: str | Path) -> Sweep:
    """Read and validate a sweep file. Raises UserError naming the file and the key."""
    path = Path(path)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a sweep file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    try:
        return _parse(tree)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _parse(tree: Mapping[str, Any]) -> Sweep:
    _known_only(tree, TOP_KEYS, "key")
    sweep = Sweep(
        name=_name(tree),
        profile=_text(tree, "profile", "embedded"),
        seeds=_seeds(tree),
        fixed=_fixed(tree),
        stage1=_choice(_text(tree, "stage1", "train"), STAGE1_SOURCES, "stage1"),
        vary=_choice(_text(tree, "vary", "all"), VARY, "vary"),
        notes=_notes(_table(tree, "notes")),
    )
    train = _table(tree, "train")
    sweep = replace(sweep, train=read_sizes(sweep, train))
    sweep.config()
    lists = {key: value for key, value in train.items() if not is_range(value)}
    others = {key: value for key, value in lists.items() if key != SIZE_KEY}
    found = {**sweep.train, **read_axes(sweep, "train", others)}
    sweep = replace(
        sweep,
        train={key: found[key] for key in lists},
        prior=read_axes(sweep, "prior", _table(tree, "prior")),
        score=read_axes(sweep, "score", _table(tree, "score")),
    )
    spans = {key: value for key, value in train.items() if is_range(value)}
    sweep = read_search(sweep, _table(tree, "search"), spans)
    sweep = read_rows(sweep, _rows(tree))
    sweep = _ours(sweep, _table(tree, "ours"))
    return read_stopping(sweep, _table(tree, "stopping"))


def _known_only(table: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in table:
        if key not in known:
            raise UserError(f"unknown {what} '{key}'{nearest(key, known)}")


def _table(tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = tree.get(key, {})
    if not isinstance(value, dict):
        raise UserError(f"{key}: expected a table [{key}], got {value!r}")
    return _dotted(value)


def _rows(tree: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    named = tree.get("rows", {})
    if not isinstance(named, dict):
        raise UserError(f"rows: expected tables [rows.NAME], got {named!r}")
    return {f"{name}": _table(named, name) for name in named}


def _dotted(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten `{"loss": {"ri": 0}}`, which TOML makes of an unquoted `loss.ri`."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, dict) and not is_range(value)
        flat.update(_dotted(value, f"{name}.") if nested else {name: value})
    return flat


def _text(tree: Mapping[str, Any], key: str, default: str) -> str:
    value = tree.get(key, default)
    if not isinstance(value, str):
        raise UserError(f"{key}: expected a string, got {value!r}")
    return value


def _notes(table: Mapping[str, Any]) -> dict[str, str]:
    _known_only(table, NOTES, "[notes] key")
    return {key: _text(table, key, "") for key in table}


def _choice(value: str, known: tuple[str, ...], key: str) -> str:
    if value not in known:
        raise UserError(f"{key}: unknown value '{value}'{nearest(value, known)}")
    return value


def _name(tree: Mapping[str, Any]) -> str:
    name = _text(tree, "name", "")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
        raise UserError(
            f"name: expected letters, digits, '-', '_' (it names a folder), got '{name}'"
        )
    return name


def _seeds(tree: Mapping[str, Any]) -> tuple[int, ...]:
    seeds = tree.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or any(type(s) is not int or s < 0 for s in seeds):
        raise UserError(f"seeds: expected whole numbers >= 0, such as [0, 1], got {seeds!r}")
    return tuple(unique(seeds, "seeds"))


def _fixed(tree: Mapping[str, Any]) -> dict[str, Any]:
    evaluation = {f"evaluation.{k}": v for k, v in _table(tree, "evaluation").items()}
    fixed = {**_table(tree, "set"), **evaluation}
    for key in fixed:
        check_key(key)
        refuse_seed(key)
    return fixed


def _ours(sweep: Sweep, table: Mapping[str, Any]) -> Sweep:
    _known_only(table, OUR_KEYS, "[ours] key")
    if not table:
        return sweep
    if set(table) != set(OUR_KEYS):
        raise UserError(f"[ours]: expected both {' and '.join(OUR_KEYS)}, got {', '.join(table)}")
    probe = replace(sweep, fixed={k: v for k, v in sweep.fixed.items() if k != FLOW_WEIGHT})
    weights = read_axis(probe, "score", FLOW_WEIGHT, table["flow_weight_candidates"])
    splits = sweep.config({"evaluation.splits": table["choose_on"]}).evaluation.splits
    wrong = [split for split in splits if not split.endswith("-val")]
    if wrong or not splits:
        raise UserError(f"[ours] choose_on: choose on val splits only, got {list(splits)}")
    return replace(sweep, candidates=weights, choose_on=splits)
