"""From a file to a state dict and meta of ours, in two steps: `open_source` says what the file
holds, `adopt` makes it the weights of a network of a given recipe.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from multibodies.core.regressor import Regressor, RegressorSpec
from multibodies.errors import UserError
from multibodies.files import sha256
from multibodies.imports.convert import Renamed, Report, convert, rename
from multibodies.imports.facts import Facts, facts_of
from multibodies.imports.keymaps import KEYMAPS, KeyMap
from multibodies.imports.mean_params import read_mean_params
from multibodies.imports.readers import read_state


class Source(NamedTuple):
    """A checkpoint of others, read and renamed."""

    path: Path
    keymap: KeyMap
    renamed: Renamed
    facts: Facts
    notes: tuple[str, ...]

    @property
    def settings(self) -> dict[str, str | int | float]:
        """Settings of the section `model` that the file decides."""
        told = {"trunk": self.facts.trunk, "width": self.facts.width, **self.keymap.settings}
        return told if self.facts.hidden is None else {**told, "hidden": self.facts.hidden}


class Adopted(NamedTuple):
    """A checkpoint of ours, and how it came about."""

    state: dict[str, Tensor]
    meta: dict[str, Any]
    report: Report


def open_source(kind: str, path: Path, num_hypotheses: int | None = None) -> Source:
    """Read a file of one of KEYMAPS' kinds.

    Raises UserError where it cannot be read, is of another kind or trunk, or does not have the
    `num_hypotheses` asked for.
    """
    keymap = KEYMAPS[kind]
    loaded = read_state(path, keymap.containers)
    renamed = rename(loaded.tensors, keymap)
    renamed.left_over.update(dict.fromkeys(loaded.not_tensors, "not a tensor"))
    facts = facts_of(renamed, keymap, path)
    if num_hypotheses not in (None, facts.num_hypotheses):
        raise UserError(
            f"{path}: holds M = {facts.num_hypotheses} hypotheses, expected {num_hypotheses}; "
            "more come from training stage 2 on it"
        )
    return Source(path, keymap, renamed, facts, loaded.notes)


def adopt(
    source: Source, spec: RegressorSpec, seed: int = 0, mean_params: Path | None = None
) -> Adopted:
    """Make the file's tensors the weights of a network; what a file of its kind lacks starts from
    `seed`, HMR's start from `mean_params`.

    Raises UserError where file and network differ.
    """
    start = "head.init_state"
    if mean_params is not None and start in source.renamed.tensors:
        raise UserError(f"{source.path}: has its own mean parameters; leave out {mean_params}")
    initial = initial_state(spec, seed)
    if mean_params is not None:
        initial[start] = read_mean_params(mean_params)
    state, report = convert(source.renamed, initial, source.keymap, source.path)
    told = origin(source.path, source.keymap, report, source.notes)
    meta: dict[str, Any] = {"spec": spec.to_json(), "imported": told}
    if source.keymap.image_size is not None:
        meta["image_size"] = source.keymap.image_size
    if any(name.startswith("head.fc") for name in report.missing):
        meta["imported"]["head"] = f"untrained, from seed {seed}: a start for stage 1"
    if mean_params is not None:
        meta["imported"]["mean_params_sha256"] = sha256(mean_params)
    return Adopted(state, meta, report)


def initial_state(spec: RegressorSpec, seed: int) -> dict[str, Tensor]:
    """Return the state of an untrained network, made from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return dict(Regressor(spec).state_dict())


def origin(path: Path, keymap: KeyMap, report: Report, notes: tuple[str, ...]) -> dict[str, Any]:
    """Say in plain values where the weights came from."""
    return {
        "kind": keymap.kind,
        "key_map": keymap.version,
        "file": path.name,
        "sha256": sha256(path),
        "taken": len(report.taken),
        "missing": list(report.missing),
        "left_over": report.left_over,
        "notes": list(notes),
    }
