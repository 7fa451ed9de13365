"""Numba compilation shared by the generator's kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def jit(function: Kernel) -> Kernel:
    """Compile without the GIL, cached on disk; without a cache where no folder can be written to.

    No fastmath: a row's bytes then do not depend on how the compiler reorders sums. Division as in NumPy (no
    exceptions), which lets loops be vectorised. Passing many arrays costs a reference count each: kernels take
    whole images, never single pixels.
    """
    try:
        return cast(Kernel, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # numba found no writable place for its cache (read-only install and home)
        return cast(Kernel, numba.njit(nogil=True, error_model="numpy")(function))
