"""A sweep file (TOML) -> Sweep: closed, validated through the config, values read as their types.

The file's tables: `[set]` changes settings for all cells, `[evaluation]` is short for
`evaluation.*` in `[set]`, `[train]` lists axes that need a training of their own, `[score]` axes
that act on stored hypotheses, `[ours]` what is not in the paper: the flow weights from which alpha
is chosen on val.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from multibodies.config import PROFILES, Config, check_key, load_config
from multibodies.errors import UserError, nearest

Axes = Mapping[str, tuple[Any, ...]]

TOP_KEYS = ("name", "profile", "seeds", "stage1", "set", "train", "score", "evaluation", "ours")
OUR_KEYS = ("flow_weight_candidates", "choose_on")
STAGE1_SOURCES = ("train", "shipped")
TRAIN_SECTIONS = ("loss", "stage2")
# Stage 1 and its features are the same for all values of these; all else every training shares.
TRAIN_MODEL = ("model.head", "model.feedback", "model.rank", "model.trains")
SCORED_AT_ONCE = ("evaluation.n", "evaluation.splits")
SEED_KEY = "stage2.seed"
FLOW_WEIGHT = "evaluation.flow_weight"


@dataclass(frozen=True)
class Sweep:
    """A grid: `fixed` settings, two groups of axes, flow weights to choose from on `choose_on`."""

    name: str
    profile: str
    seeds: tuple[int, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    train: Axes = field(default_factory=dict)
    score: Axes = field(default_factory=dict)
    candidates: tuple[float, ...] = ()
    choose_on: tuple[str, ...] = ()
    stage1: str = "train"

    def config(self, overrides: Mapping[str, Any] | None = None) -> Config:
        """Return the profile's config with the fixed settings and further dotted overrides."""
        return load_config(self.profile, {**self.fixed, **(overrides or {})})


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


def smoke_variant(sweep: Sweep) -> Sweep:
    """Return the ends of each axis for the first seed at smoke size, named `<name>-smoke`.

    Smoke's sizes win over `[set]`.
    """
    over_files = sweep.config().data.source != "embedded"
    profile, full = ("paper-smoke", "paper") if over_files else ("smoke", "embedded")
    smoke = PROFILES[profile]

    def is_size(key: str) -> bool:
        section, _, leaf = key.partition(".")
        usual = PROFILES[full].get(section, {})
        return leaf in smoke.get(section, {}) and smoke[section][leaf] != usual.get(leaf)

    kept = {key: value for key, value in sweep.fixed.items() if not is_size(key)}
    small = replace(
        sweep,
        name=f"{sweep.name}-smoke",
        profile=profile,
        fixed=kept,
        seeds=sweep.seeds[:1],
        train={key: _ends(values) for key, values in sweep.train.items()},
        score={key: _ends(values) for key, values in sweep.score.items()},
    )
    for key, values in (*small.train.items(), *small.score.items()):
        for value in values:
            small.config({key: value})
    return small


def _ends(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return (values[0], *values[1:][-1:])


def _parse(tree: Mapping[str, Any]) -> Sweep:
    _known_only(tree, TOP_KEYS, "key")
    fixed = _fixed(tree)
    sweep = Sweep(
        name=_name(tree),
        profile=_text(tree, "profile", "embedded"),
        seeds=_seeds(tree),
        fixed=fixed,
        stage1=_choice(_text(tree, "stage1", "train"), STAGE1_SOURCES, "stage1"),
    )
    sweep.config()
    train = {k: _axis(sweep, "train", k, v) for k, v in _table(tree, "train").items()}
    score = {k: _axis(sweep, "score", k, v) for k, v in _table(tree, "score").items()}
    return _ours(replace(sweep, train=train, score=score), _table(tree, "ours"))


def _known_only(table: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in table:
        if key not in known:
            raise UserError(f"unknown {what} '{key}'{nearest(key, known)}")


def _table(tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = tree.get(key, {})
    if not isinstance(value, dict):
        raise UserError(f"{key}: expected a table [{key}], got {value!r}")
    return _dotted(value)


def _dotted(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten `{"loss": {"ri": 0}}`, which TOML makes of an unquoted `loss.ri`."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        flat.update(_dotted(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return flat


def _text(tree: Mapping[str, Any], key: str, default: str) -> str:
    value = tree.get(key, default)
    if not isinstance(value, str):
        raise UserError(f"{key}: expected a string, got {value!r}")
    return value


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
    return tuple(_unique(seeds, "seeds"))


def _unique(values: list[Any], key: str) -> list[Any]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise UserError(f"{key}: {value!r} is listed twice")
    return values


def _fixed(tree: Mapping[str, Any]) -> dict[str, Any]:
    evaluation = {f"evaluation.{k}": v for k, v in _table(tree, "evaluation").items()}
    fixed = {**_table(tree, "set"), **evaluation}
    for key in fixed:
        check_key(key)
        _refuse_seed(key)
    return fixed


def _refuse_seed(key: str) -> None:
    if key == SEED_KEY:
        raise UserError(f"{key} is set by the sweep's seeds; list them under seeds")


def _axis(sweep: Sweep, table: str, key: str, values: object) -> tuple[Any, ...]:
    """Check one axis; return its values as the config reads them (0 -> 0.0 for a float)."""
    where = f"[{table}] {key}"
    check_key(key)
    _refuse_seed(key)
    _check_table(table, key)
    if key in sweep.fixed:
        raise UserError(f"{where} is also given under [set] or [evaluation]; keep one of the two")
    if not isinstance(values, list) or not values:
        raise UserError(f"{where}: expected a list of values, such as [0.0, 1.0], got {values!r}")
    section, _, leaf = key.partition(".")
    read = [getattr(getattr(sweep.config({key: value}), section), leaf) for value in values]
    return tuple(_unique(read, where))


def _check_table(table: str, key: str) -> None:
    section = key.partition(".")[0]
    if table == "score" and (section != "evaluation" or key in SCORED_AT_ONCE):
        raise UserError(
            f"[score] {key}: only evaluation.* settings act on stored hypotheses "
            "(n and splits go under [evaluation]: all are scored at once)"
        )
    if table == "score" and key != FLOW_WEIGHT:
        raise UserError(
            f"[score] {key}: a sweep's table tells its cells apart by seed, lambda_ri and flow "
            "weight; give it one value under [evaluation], and score the finished run again by "
            f"`multibodies score RUN --set {key}=...`"
        )
    if table == "train" and section not in TRAIN_SECTIONS and key not in TRAIN_MODEL:
        hint = "move it to [score]" if section == "evaluation" else "give it one value under [set]"
        raise UserError(
            f"[train] {key}: only loss.*, stage2.* and {', '.join(TRAIN_MODEL)} differ between a "
            f"sweep's trainings; {hint}"
        )


def _ours(sweep: Sweep, table: Mapping[str, Any]) -> Sweep:
    _known_only(table, OUR_KEYS, "[ours] key")
    if not table:
        return sweep
    if set(table) != set(OUR_KEYS):
        raise UserError(f"[ours]: expected both {' and '.join(OUR_KEYS)}, got {', '.join(table)}")
    probe = replace(sweep, fixed={k: v for k, v in sweep.fixed.items() if k != FLOW_WEIGHT})
    weights = _axis(probe, "score", FLOW_WEIGHT, table["flow_weight_candidates"])
    splits = sweep.config({"evaluation.splits": table["choose_on"]}).evaluation.splits
    wrong = [split for split in splits if not split.endswith("-val")]
    if wrong or not splits:
        raise UserError(f"[ours] choose_on: choose on val splits only, got {list(splits)}")
    return replace(sweep, candidates=weights, choose_on=splits)
