"""Keys of rows: numbers that name them, for a system that remembers something of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

KEY = "key"


def keys_of(image_ids: Iterable[Any]) -> npt.NDArray[np.int64]:
    """Return the first 64 bits of each id's BLAKE2b as int64 [B]: of a million rows two have the
    same with a chance of 3e-8."""
    made = [hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in image_ids]
    return np.frombuffer(b"".join(made), "<i8").astype(np.int64)


def with_keys(rows: Mapping[str, Any], *, keyed: bool) -> dict[str, Any]:
    """Return columns for a stream, whose rows have no order to keep: without image_id, with keys
    where they are asked for."""
    kept = {name: column for name, column in rows.items() if name != "image_id"}
    return kept | ({KEY: keys_of(rows["image_id"])} if keyed else {})
