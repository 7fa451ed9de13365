"""What every run of a sweep carries from its start: settings, tags, the datasets it uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Dataset:
    """A split that a run uses. digest: of its content, at most 36 characters; source: its folder;
    context: what it is used for."""

    name: str
    digest: str
    source: str
    context: Literal["train", "val", "test"]
    rows: int


@dataclass(frozen=True)
class Facts:
    """What a run carries, however it ends."""

    tags: Mapping[str, object] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    datasets: tuple[Dataset, ...] = ()
