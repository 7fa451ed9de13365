"""Numba compilation shared by the generator's kernels.

Kernels are small leaves on plain arrays; Python strings them together row by row. That costs a few
percent of the time and saves most of the compilation: a kernel that calls kernels is optimised
again at every level.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def jit(function: Kernel) -> Kernel:
    """Compile without the GIL, cached on disk; without a cache where no folder can be written to.

    No fastmath: a row's bytes then do not depend on how the compiler reorders sums. Division as in
    NumPy (no exceptions), which lets loops be vectorised.
    """
    try:
        return cast(Kernel, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # no writable place for numba's cache (read-only install and home)
        return cast(Kernel, numba.njit(nogil=True, error_model="numpy")(function))
