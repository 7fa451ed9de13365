"""Opening a checkpoint of others: .safetensors, or PyTorch's format under its weights-only reader.

Nothing in the file is ever executed. What is read are tensors and plain containers.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from multibodies.errors import UserError

MAX_BYTES = 4 * 2**30  # ten times a ResNet-50 with its optimiser
BEGINNINGS = (
    (rb"\s*<", "a web page (HTML), not a checkpoint; the download went to a login or error page"),
    (rb"version https://git-lfs", "a Git LFS pointer, not a checkpoint; fetch the file it names"),
)


class Loaded(NamedTuple):
    """A state dict under its own names, and what was done to get at it."""

    tensors: dict[str, Tensor]
    not_tensors: tuple[str, ...]
    notes: tuple[str, ...]


def read_state(path: str | Path, containers: tuple[str, ...] = ()) -> Loaded:
    """Read the state dict of a file, or of the first of `containers` that the file has.

    DataParallel's prefix ``module.`` is taken off. Raises UserError naming the file that is
    missing, too large, truncated, no checkpoint, or wants code to be run.
    """
    path = Path(path)
    state, notes = _check_mapping(_open(path), path), []
    for key in containers:
        if isinstance(state.get(key), Mapping):
            others = ", ".join(sorted(str(k) for k in state if k != key)) or "nothing"
            notes.append(f"read its '{key}'; beside it lay {others}")
            state = _check_mapping(state[key], path)
            break
    if state and all(name.startswith("module.") for name in state):
        notes.append("took off the prefix 'module.' (DataParallel)")
        state = {name.removeprefix("module."): value for name, value in state.items()}
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        held = ", ".join(list(state)[:5]) or "nothing"
        raise UserError(f"{path}: no state dict: expected named tensors, found {held}")
    return Loaded(tensors, tuple(name for name in state if name not in tensors), tuple(notes))


def _open(path: Path) -> Any:
    _check_file(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on TorchScript and pickle protocols; refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: not a whole .safetensors file ({error})") from None
    except Exception as error:  # any bytes may be in the file, and so any error
        raise UserError(f"{path}: {_reason(str(error))}") from None


def _check_file(path: Path) -> None:
    """Refuse by size and first bytes what is no checkpoint."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the checkpoint that you downloaded")
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = max(size, sum(entry.file_size for entry in archive.infolist()))
    if not 0 < size <= MAX_BYTES:
        raise UserError(f"{path}: holds {size} bytes, expected 1 to {MAX_BYTES}")
    with path.open("rb") as file:
        start = file.read(256)
    for pattern, what in BEGINNINGS:
        if re.match(pattern, start):
            raise UserError(f"{path}: {what}")


def _reason(error: str) -> str:
    """Say what PyTorch's reader met, without its advice to unpickle all the same."""
    wanted = re.search(r"GLOBAL ([\w.]+)", error)
    if wanted:
        return (
            f"its pickle needs the global '{wanted[1]}', which is code; it will not be unpickled. "
            "On a machine you trust, save only the tensors: torch.save(model.state_dict(), ...)"
        )
    if "TorchScript" in error:
        return "a TorchScript archive, which is code; expected a state dict"
    return "truncated, damaged or not a PyTorch checkpoint; download it again"


def _check_mapping(found: object, path: Path) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        raise UserError(f"{path}: holds a {type(found).__name__}, expected a state dict")
    return {str(key): value for key, value in found.items()}
