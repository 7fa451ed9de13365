"""Resumable checkpoints: one folder per step, model/ and optimizer/ in safetensors, and memory/
where a system remembers anything. No Ray."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from multibodies.checkpoints import load_into, load_module, save_module
from multibodies.errors import UserError
from multibodies.training import Memory, optimizer_tensors, restore_optimizer

MODEL, OPTIMIZER, MEMORY, PREFIX = "model", "optimizer", "memory", "step-"
UNFINISHED = ".tmp"  # ends the name of a folder that is still being written


def save_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    meta: Mapping[str, Any],
    memory: Memory | None = None,
) -> None:
    """Write a checkpoint; meta (plain JSON values) tells at least the step.

    Raises UserError when the disk refuses.
    """
    save_module(folder / MODEL, model.state_dict(), meta)
    told = {"step": meta["step"], **({MEMORY: True} if memory is not None else {})}
    if memory is not None:
        save_module(folder / MEMORY, memory.tensors(), {"step": meta["step"]})
    save_module(folder / OPTIMIZER, optimizer_tensors(optimizer), told)


def load_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    memory: Memory | None = None,
) -> int:
    """Put a checkpoint into a freshly built network, its optimiser and memory; return the step.

    Raises UserError if a file is missing, damaged or belongs to another network.
    """
    tensors, meta = load_module(folder / MODEL)
    moments, _ = load_module(folder / OPTIMIZER)
    load_into(model, tensors, folder / MODEL)
    restore_optimizer(optimizer, moments)
    if memory is not None:
        memory.restore(load_module(folder / MEMORY)[0])
    return int(meta["step"])


def is_whole(folder: Path) -> bool:
    """Tell whether a checkpoint is complete and undamaged."""
    try:
        told = [load_module(folder / part)[1] for part in (MODEL, OPTIMIZER)]
        if told[1].get(MEMORY):
            told.append(load_module(folder / MEMORY)[1])
    except UserError:
        return False
    return len({meta["step"] for meta in told}) == 1


def name_of(step: int) -> str:
    """Return a checkpoint's folder name, which sorts by step."""
    return f"{PREFIX}{step:08d}"


def states_in(folder: Path) -> list[Path]:
    """Return the checkpoints' folders below `folder`, by step, whole or not."""
    found = sorted(path for path in folder.glob(f"{PREFIX}*") if path.is_dir())
    return [path for path in found if path.suffix != UNFINISHED]


def unfinished_in(folder: Path) -> list[Path]:
    """Return what killed writers left beside the checkpoints' places."""
    return sorted(folder.glob(f"{PREFIX}*{UNFINISHED}"))


def step_of(folder: Path) -> int:
    """Return the step in a checkpoint's name."""
    return int(folder.name.removeprefix(PREFIX))


def newest(folder: Path) -> Path | None:
    """Return the whole checkpoint with the most steps, or None."""
    return next((path for path in reversed(states_in(folder)) if is_whole(path)), None)
