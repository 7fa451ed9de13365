"""Where numbers came from: command, commit, versions, machine."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("multibodies", "torch", "ray", "mlflow", "numpy", "pandas")
IMAGE_COMMIT = "MULTIBODIES_COMMIT"  # set by the image: of the package that is installed in it
UPLOADED_COMMIT = "MULTIBODIES_UPLOADED_COMMIT"  # set by `submit`: of the checkout that it sent


def git_commit(folder: str | Path = ".") -> str:
    """Return a checkout's commit, "+changes" after it if the tree differs, or "unknown".

    Where there is no checkout, the commit that the folder's origin was told by: the image's where
    the package is the installed one, the submitter's where it was uploaded.
    """

    def git(*words: str) -> str | None:
        command = ["git", "-C", str(folder), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:  # no git on this machine
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if not commit:
        installed = Path(folder).resolve().is_relative_to(Path(sys.prefix).resolve())
        return os.environ.get(IMAGE_COMMIT if installed else UPLOADED_COMMIT) or "unknown"
    return commit + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def command_line() -> str:
    """Return the command that runs, to be pasted into a shell."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """Return e.g. `Linux x86_64, 2 cores`."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
