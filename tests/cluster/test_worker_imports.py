"""`platform/` is a folder, not a package, in a Ray worker too: Python's own `platform` wins."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_pythons_platform_module_wins_in_a_worker(ray_local: Any) -> None:
    @ray_local.remote  # type: ignore[untyped-decorator]
    def look() -> tuple[str, str, str]:
        import platform
        import uuid

        import multibodies

        return platform.__file__, platform.system(), f"{multibodies.__file__} {uuid.uuid4()}"

    where, system, package = ray_local.get(look.remote())
    assert where.endswith("/platform.py")
    assert system == "Linux"
    assert "platform/multibodies/__init__.py" in package
