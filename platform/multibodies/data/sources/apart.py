"""Reading a file in a process of its own: a hostile one may crash or fill that, not a worker.

SciPy reads MATLAB's nested structs by recursion in C: ten thousand levels end the process. It also
leaves gigabytes of small objects behind. The child's memory, time and answer are bounded.
"""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from multibodies.errors import UserError

Arrays = Mapping[str, npt.NDArray[Any]]
MEMORY = 6 << 30  # bytes of address space; MPII's labels need 1.3 GB
SECONDS = 600  # MPII's labels take 20
REFUSED = 2  # exit code of a UserError


def read_apart(module: str, path: Path, what: str) -> dict[str, npt.NDArray[Any]]:
    """Run `module`, which ends in `answer`, on a file, and return its arrays.

    Raises the UserError of the child, or one that names the file where the child died.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environ = {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        child = subprocess.run(
            [sys.executable, "-m", module, str(path)],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{path}: not read in {SECONDS} s; expected {what}") from None
    said = child.stderr.decode(errors="replace").strip()
    if child.returncode == REFUSED:
        raise UserError(said)
    if child.returncode != 0:
        last = said.splitlines()[-1] if said else f"exit code {child.returncode}"
        raise UserError(f"{path}: damaged or too large ({last}); expected {what}")
    with np.load(io.BytesIO(child.stdout), allow_pickle=False) as arrays:
        return dict(arrays)


def answer(read: Callable[[Path], Arrays]) -> None:
    """Read the file that the command line names and write its arrays to standard output."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        arrays = read(Path(sys.argv[1]))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)
    values: dict[str, Any] = dict(arrays)  # NumPy types its keyword `allow_pickle` among them
    np.savez(sys.stdout.buffer, **values)
