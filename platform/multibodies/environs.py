"""The process's environment: changed for a while, and what Ray tells in it of a submitted job."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray gives it to the driver of a submitted job alone


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables for the time of the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def is_submitted() -> bool:
    """Tell whether this process is the driver of a submitted job."""
    return JOB_CONFIG in os.environ


def submission_id() -> str | None:
    """Return the id under which this driver was submitted; None of one that was not."""
    try:
        config: Any = json.loads(os.environ.get(JOB_CONFIG, "{}"))
        return str(config["metadata"]["job_submission_id"])
    except (ValueError, KeyError, TypeError):
        return None
