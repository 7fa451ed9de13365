"""The child that unpickles: standard input -> plain data on standard output. NumPy, no torch.

It can neither fork nor write a file, and dies beyond its memory or its processor time.
"""

from __future__ import annotations

import os
import pickle
import resource
import sys
from typing import Any, BinaryIO

from numpy.typing import NDArray

from multibodies.pickles.faults import Refused
from multibodies.pickles.frames import send
from multibodies.pickles.plain import Flattener
from multibodies.pickles.unpickler import Unpickler

DAMAGED = "damaged, or not a pickle of plain data"
REASONS: tuple[tuple[type[Exception], str], ...] = (
    (EOFError, "truncated; download it again"),
    (pickle.UnpicklingError, "truncated or damaged; download it again"),
    (RecursionError, "its data are nested too deep"),
)


def main(memory: int, seconds: int) -> None:
    """Read, flatten, send; never return."""
    bound(memory, seconds)
    message, arrays = answer(sys.stdin.buffer, memory)
    send(sys.stdout.buffer, message, arrays)
    os._exit(0)  # nothing to tidy: a hostile heap is not walked again


def bound(memory: int, seconds: int) -> None:
    """Lower this process's limits."""
    for kind, wanted in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))


def answer(file: BinaryIO, memory: int) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Return the data as a message with its arrays, or a message that says why not."""
    flat = Flattener()
    try:
        return {"value": flat.skeleton(Unpickler(file).load())}, flat.arrays
    except Refused as refused:
        return {"refused": str(refused)}, []
    except MemoryError:
        return {"refused": f"needs more than {memory >> 20} MiB of memory to be read"}, []
    except Exception as error:  # any bytes may be in the file, and so any error
        reasons = (reason for kind, reason in REASONS if isinstance(error, kind))
        return {"refused": next(reasons, f"{DAMAGED} ({type(error).__name__})")}, []
