"""The child's part of reading a pickle, in this process: quick, without its bounds."""

from __future__ import annotations

import io
from typing import Any

from multibodies.pickles.child import answer
from multibodies.pickles.frames import join, receive, send


def refusal(content: bytes) -> str:
    """Return why the child would refuse a file of that content."""
    message, _ = answer(io.BytesIO(content), 1 << 30)
    return str(message["refused"])


def through(content: bytes) -> Any:
    """Return what the child would send, taken through the pipe's format."""
    message, arrays = answer(io.BytesIO(content), 1 << 30)
    assert "refused" not in message, message
    pipe = io.BytesIO()
    send(pipe, message, arrays)
    message, arrays = receive(pipe.getvalue())
    return join(message["value"], arrays)
