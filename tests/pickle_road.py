"""The child's part of reading a pickle, in this process: quick, without its bounds."""

from __future__ import annotations

import io
from typing import Any

from multibodies.apart.child import answer
from multibodies.apart.frames import join, receive, send
from multibodies.pickles.child import unpickle


def refusal(content: bytes) -> str:
    """Return why the child would refuse a file of that content."""
    message, _ = answer(lambda: unpickle(io.BytesIO(content)), 1 << 30)
    return str(message["refused"])


def through(content: bytes) -> Any:
    """Return what the child would send, taken through the pipe's format."""
    message, arrays = answer(lambda: unpickle(io.BytesIO(content)), 1 << 30)
    assert "refused" not in message, message
    pipe = io.BytesIO()
    send(pipe, message, arrays)
    pipe.seek(0)
    message, arrays = receive(pipe, 1 << 30)
    return join(message["value"], arrays)
