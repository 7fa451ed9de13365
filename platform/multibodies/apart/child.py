"""The child: it answers one request after another until its parent is gone. NumPy, no torch.

It can neither fork nor (beyond `room` bytes, for libraries that unpack into a file) write a file,
and dies beyond its memory or its processor time.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from multibodies.apart.frames import Refused, send

Parts = tuple[Any, list[NDArray[Any]]]
LONGEST = 300  # letters of a library's complaint


def main(module: str, memory: int, seconds: int, room: int) -> None:
    """Import `module`, and answer requests with its `read(path, **options)`; never return."""
    bound(memory, seconds, room)
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    read: Callable[..., Parts] = import_module(module).read
    for line in sys.stdin.buffer:
        path, options = json.loads(line)
        allow(seconds)
        send(pipe, *answer(lambda: read(Path(path), **options), memory))  # noqa: B023
    os._exit(0)  # nothing to tidy: a hostile heap is not walked again


def bound(memory: int, seconds: int, room: int) -> None:
    """Lower this process's limits."""
    allow(seconds)
    for kind, wanted in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, room),
        (resource.RLIMIT_NPROC, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))


def allow(seconds: int) -> None:
    """Let this process run for so many more seconds: it ends even when its parent does not see."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    wanted = int(used.ru_utime + used.ru_stime) + 1 + seconds
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def answer(read: Callable[[], Parts], memory: int) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Return the data as a message with its arrays, or a message that says why not."""
    try:
        skeleton, arrays = read()
    except Refused as refused:
        return {"refused": str(refused)}, []
    except MemoryError:
        return {"refused": f"needs more than {memory >> 20} MiB of memory to be read"}, []
    except Exception as error:  # any bytes may be in the file, and so any error
        said = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST]
        return {"refused": f"damaged, or of another kind ({said})"}, []
    return {"value": skeleton}, arrays
