"""Reading a pickle: a look at its first bytes, then a child behind bars does the rest."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy

from multibodies.errors import UserError
from multibodies.pickles.frames import join, receive

MAX_BYTES = 1 << 30  # SMPL's largest model file has a quarter of it
MEMORY = 2 << 30  # address space, not pages in use
SECONDS = 120.0
BEGINNINGS = (
    (rb"\s*<", "a web page (HTML), not a pickle; the download went to a login or error page"),
    (rb"version https://git-lfs", "a Git LFS pointer, not a pickle; fetch the file it names"),
    (rb"PK\x03\x04", "a zip archive (.zip or .npz), not a pickle; unpack it if it is a download"),
    (rb"\x93NUMPY", "a NumPy array (.npy), not a pickle"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ", "a compressed file, not a pickle; unpack it first"),
    (rb"\x89HDF", "an HDF5 file, not a pickle"),
)
CODE = """import sys
sys.path[:0] = [folder for folder in sys.argv[3:] if folder not in sys.path]
from multibodies.pickles.child import main
main(int(sys.argv[1]), int(sys.argv[2]))"""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def read_pickle(
    path: str | Path,
    expected: str,
    *,
    max_bytes: int = MAX_BYTES,
    memory: int = MEMORY,
    seconds: float = SECONDS,
) -> Any:
    """Return a pickle's plain data: dicts, lists, texts, numbers and NumPy arrays.

    Pickles of Python 2 (latin1) and 3, protocols 0 to 5. chumpy's Ch and Select become their
    arrays, a csc_matrix the full matrix, tuples and sets lists, bytes texts, NumPy's scalars
    Python's numbers. None of the file's classes are imported, nothing of it runs; the child that
    reads has at most `memory` bytes of address space and `seconds` of processor and of wall time.

    expected: what the file should be, such as "a 3DPW sequence file". Raises UserError naming the
    file, what is wrong with it and `expected`.
    """
    path = Path(path)
    try:
        check_file(path, max_bytes)
        frame = _in_child(path, memory, seconds)
        message, arrays = receive(frame)
    except ValueError as reason:
        raise UserError(f"{path}: {reason}; expected {expected}") from None
    if "refused" in message:
        raise UserError(f"{path}: {message['refused']}; expected {expected}")
    return join(message["value"], arrays)


def check_file(path: Path, max_bytes: int = MAX_BYTES) -> None:
    """Refuse by size and first bytes what is no pickle. Raises ValueError with the reason."""
    if not path.is_file():
        raise ValueError("no such file")
    size = path.stat().st_size
    if not 0 < size <= max_bytes:
        raise ValueError(f"holds {size} bytes, more than {max_bytes}" if size else "an empty file")
    try:
        with path.open("rb") as file:
            start = file.read(256)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    for pattern, what in BEGINNINGS:
        if re.match(pattern, start):
            raise ValueError(what)


def _in_child(path: Path, memory: int, seconds: float) -> bytes:
    """Run the child over a file. Raises ValueError saying how it ended if it gave no answer."""
    # Isolated: neither PYTHONPATH nor the working folder decide what is imported.
    roots = [str(Path(__file__).parents[2]), str(Path(numpy.__file__).parents[1])]
    command = [sys.executable, "-I", "-c", CODE]
    command += [str(memory), str(math.ceil(seconds)), *roots]
    environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
    with path.open("rb") as file:
        try:
            done = subprocess.run(
                command,
                stdin=file,
                capture_output=True,
                env=environment,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(_ended(-signal.SIGXCPU, "", seconds)) from None
    if done.returncode:
        raise ValueError(_ended(done.returncode, done.stderr.decode(errors="replace"), seconds))
    return done.stdout


def _ended(code: int, error: str, seconds: float) -> str:
    """Say how the child ended."""
    if -code in (signal.SIGXCPU, signal.SIGKILL):
        return f"took more than {seconds:g} s, or all memory, to be read: too large, or hostile"
    if code < 0:
        return f"its reader broke ({signal.Signals(-code).name}): damaged, or hostile"
    last = next(iter(error.strip().splitlines()[-1:]), "no word")
    return f"its reader failed ({last})"
