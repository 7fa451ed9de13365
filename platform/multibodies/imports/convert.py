"""From a state dict under its own names to ours: rename, compare with the network, fill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from multibodies.errors import UserError
from multibodies.imports.keymaps import KeyMap


class Renamed(NamedTuple):
    """Tensors by our names, where each came from, and what has no place and why."""

    tensors: dict[str, Tensor]
    origin: dict[str, str]
    left_over: dict[str, str]


class Report(NamedTuple):
    """What a conversion did: taken ours -> theirs, missing ours, left over theirs -> why.

    wrong_shape: ours -> (found, expected).
    """

    taken: dict[str, str]
    missing: tuple[str, ...]
    left_over: dict[str, str]
    wrong_shape: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]


def rename(tensors: Mapping[str, Tensor], keymap: KeyMap) -> Renamed:
    """Give every tensor that the map knows our name; joined parts are laid flat in turn."""
    result = Renamed({}, {}, {})
    for ours, parts in keymap.joined.items():
        if all(part in tensors for part in parts):
            result.tensors[ours] = torch.cat([tensors[part].flatten() for part in parts])
            result.origin[ours] = ", ".join(parts)
    used = {part for ours in result.tensors for part in keymap.joined[ours]}
    for name, tensor in tensors.items():
        target = keymap.target(name)
        if target is not None:
            result.tensors[target], result.origin[target] = tensor, name
        elif name not in used:
            result.left_over[name] = keymap.why_unused(name)
    return result


def compare(renamed: Renamed, expected: Mapping[str, Tensor], keymap: KeyMap) -> Report:
    """Compare names and shapes with those of our network's state (its tensors may be on `meta`)."""
    fits = {name for name in renamed.tensors if name in expected}
    shapes = {
        name: (tuple(renamed.tensors[name].shape), tuple(expected[name].shape)) for name in fits
    }
    strangers = [source for name, source in renamed.origin.items() if name not in fits]
    return Report(
        taken={name: renamed.origin[name] for name in expected if name in fits},
        missing=tuple(name for name in expected if name not in fits),
        left_over=renamed.left_over | {name: keymap.why_unused(name) for name in strangers},
        wrong_shape={name: pair for name, pair in shapes.items() if pair[0] != pair[1]},
    )


def convert(
    renamed: Renamed, initial: Mapping[str, Tensor], keymap: KeyMap, where: object
) -> tuple[dict[str, Tensor], Report]:
    """Fill our network's `initial` state with what was renamed, in our types.

    Raises UserError naming `where` and the first tensor of another shape, missing though the map
    does not allow it, or with numbers that are not finite.
    """
    report = compare(renamed, initial, keymap)
    for name, (found, expected) in sorted(report.wrong_shape.items()):
        source = report.taken[name]
        raise UserError(
            f"{where}: '{source}' has shape {found}, expected {expected} (our '{name}'; "
            f"{len(report.wrong_shape)} such); is it another network's?"
        )
    lacking = [name for name in report.missing if not keymap.may_lack(name)]
    if lacking:
        raise UserError(
            f"{where}: nothing for our '{lacking[0]}' ({len(lacking)} such); "
            f"is it a whole {keymap.kind} checkpoint?"
        )
    taken = {
        name: _plain(renamed.tensors[name], initial[name].dtype, source, where)
        for name, source in report.taken.items()
    }
    return {**initial, **taken}, report


def _plain(tensor: Tensor, dtype: torch.dtype, name: str, where: object) -> Tensor:
    """Return a tensor's finite real numbers in another type. Raises UserError naming it."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        raise UserError(f"{where}: '{name}' is {tensor.type()}, expected a dense, real tensor")
    numbers = tensor.to(dtype)
    if not bool(torch.isfinite(numbers).all()):
        raise UserError(f"{where}: '{name}' holds a NaN or an infinity; these weights are broken")
    return numbers
