"""Opening a body that a configuration names."""

from __future__ import annotations

from multibodies.bodies.naming import find_body
from multibodies.core import body_arrays


def load_body(body: str | None = None) -> body_arrays.BodyArrays:
    """Read a body by name or file; None is the embedded one. Raises UserError."""
    return body_arrays.load_body(str(find_body(body)))
