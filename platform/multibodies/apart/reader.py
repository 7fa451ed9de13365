"""The parent's side: a child that reads files one by one, and is started anew where it dies."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any, Self

from multibodies.apart.frames import join, receive
from multibodies.errors import UserError

# Isolated: neither PYTHONPATH nor the working folder decide what is imported.
CODE = """import sys
sys.path[:0] = [folder for folder in sys.argv[5:] if folder not in sys.path]
from multibodies.apart.child import main
main(sys.argv[1], *map(int, sys.argv[2:5]))"""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Apart:
    """A child process for `module`, from the first file on to the end of a `with`.

    A file has at most `memory` bytes of address space (the libraries' own among them) and `seconds`
    of processor and of wall time; `room` bytes of it may be unpacked into a file. Where the child
    dies the next file has a new one. `libraries` are the packages that `module` imports.
    """

    def __init__(
        self, module: str, libraries: tuple[str, ...], memory: int, seconds: float, room: int = 0
    ) -> None:
        self.memory, self.seconds = memory, seconds
        bounds = [str(memory), str(math.ceil(seconds)), str(room)]
        command = [sys.executable, "-I", "-W", "ignore", "-c", CODE, module, *bounds]
        self._command = [*command, *map(_root, ("multibodies", *libraries))]
        self._child: subprocess.Popen[bytes] | None = None
        self._folder: TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def read(self, path: Path, expected: str, **options: Any) -> Any:
        """Return what `module`'s `read(path, **options)` gives: plain data and arrays.

        expected: what the file should be. Raises UserError naming the file, what is wrong with it
        and `expected`.
        """
        child = self._running()
        assert child.stdin is not None and child.stdout is not None
        timer = Timer(self.seconds, child.kill)
        timer.start()
        try:
            child.stdin.write(json.dumps([str(path), options]).encode() + b"\n")
            message, arrays = receive(child.stdout, self.memory)  # type: ignore[arg-type]
        except (OSError, ValueError):
            message, arrays = {"refused": self._ended()}, []
        finally:
            timer.cancel()
        if "refused" in message:
            raise UserError(f"{path}: {message['refused']}; expected {expected}")
        return join(message["value"], arrays)

    def stop(self) -> None:
        """End the child, and what it left in its folder."""
        if self._child is not None:
            self._child.kill()
            with self._child:  # waits, and closes its pipes
                self._child = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is None:
            return self._child
        self.stop()
        self._folder = TemporaryDirectory()
        environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1"), "TMPDIR": self._folder.name}
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, bufsize=0
        )
        return self._child

    def _ended(self) -> str:
        """Say how the child ended, and clear it away."""
        assert self._child is not None and self._child.stderr is not None
        code = self._code()
        error = self._child.stderr.read().decode(errors="replace")
        self.stop()
        if -code in (signal.SIGXCPU, signal.SIGKILL):
            bound = f"{self.seconds:g} s"
            return f"took more than {bound}, or all memory, to be read: too large, or hostile"
        if code < 0:
            return f"its reader broke ({signal.Signals(-code).name}): damaged, or hostile"
        last = next(iter(error.strip().splitlines()[-1:]), "no word")
        return f"its reader failed ({last})"

    def _code(self) -> int:
        """Wait for the end of a child whose answer broke off; it may be on its way there."""
        assert self._child is not None
        try:
            return self._child.wait(1)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()


def _root(package: str) -> str:
    """Return the folder from which this process has a package."""
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None
    return str(Path(spec.origin).parents[1])
