"""How a sweep runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class How:
    """How a sweep runs; none of it bears on its numbers.

    port None: a free one for MLflow; share: the folder of runs whose finished stages are taken;
    at_once: trainings side by side, None for as many as the cluster has room for.
    """

    workers: int = 1
    gpus: int = 0
    cpus: int | None = None
    port: int | None = None
    tracking_uri: str | None = None
    share: Path | None = None
    at_once: int | None = None
