"""The Makefile, the lock and the project file fit each other."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = [
    line
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if not line.startswith("#")
]


def normal(name: str) -> str:
    """Return a distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    """Return the names of requirements such as ``ray[data]>=2``."""
    return {normal(re.split(r"[\[<>=~! ]", text)[0]) for text in requirements}


def imported(folder: Path) -> set[str]:
    """Return the top-level packages that a folder's modules import, standard library aside."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"multibodies"}


def test_lock_is_exact_and_installs_anywhere() -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._]+", line) for line in LOCK)
    assert "torch==2.13.0" in LOCK


def test_lock_holds_every_direct_dependency() -> None:
    locked = {normal(line.split("==")[0]) for line in LOCK}
    wanted = declared(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])
    assert wanted - locked == set()


def test_imports_are_direct_dependencies() -> None:
    optional = PROJECT["optional-dependencies"]
    known = declared(PROJECT["dependencies"] + optional["build"] + optional["bench"])
    found = {
        name: {normal(owner) for owner in owners().get(name, [name])}
        for name in imported(ROOT / "platform")
    }
    assert {name for name, owner in found.items() if not owner & known} == set()


def test_direct_dependencies_are_imported() -> None:
    used = {
        normal(owner) for name in imported(ROOT / "platform") for owner in owners().get(name, [])
    }
    assert declared(PROJECT["dependencies"]) - used == set()


def test_platform_is_no_package() -> None:
    """With an __init__.py it would shadow Python's own, and even `import uuid` would die."""
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_version_is_said_once() -> None:
    source = (ROOT / "platform" / "multibodies" / "__init__.py").read_text()
    assert f'__version__ = "{PROJECT["version"]}"' in source


@cache
def owners() -> Mapping[str, list[str]]:
    """Return the distributions that each top-level package comes from."""
    return packages_distributions()


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run make as a user would, also where `make test` runs these tests."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=clean, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "target", ["table2", "smoke", "test", "test-fast", "lint", "bench", "ui", "clean"]
)
def test_target_expands(target: str) -> None:
    """`make -n` prints what it would do; nothing is installed or run."""
    done = make("-n", target)
    assert done.returncode == 0, done.stderr


def test_stage1_passes_through() -> None:
    assert "--stage1 train" in make("-n", "table2", "STAGE1=train").stdout


def test_old_python_is_refused(tmp_path: Path) -> None:
    """A `python3` that is too old is named before anything is installed."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac\n')
    old.chmod(0o755)
    cases = {str(old): "Python 3.9.2 is too old", "no-such-python": "'no-such-python' not found"}
    for python, said in cases.items():
        done = make("install", f"PYTHON={python}", folder=tmp_path)
        assert done.returncode == 2
        assert said in done.stderr
        assert not (tmp_path / ".venv").exists()


def test_ci_script_is_sound() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)
