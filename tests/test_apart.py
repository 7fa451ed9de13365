"""The bounded child: what it imports, and what its pipe carries."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from multibodies.apart.frames import LENGTH, join, receive, send, split

SOURCES = "multibodies.data.sources"
MODULES = {
    "multibodies.pickles.child": {"torch", "ray", "scipy", "cdflib"},
    f"{SOURCES}.h36m.cdf_child": {"torch", "ray", "scipy"},
    f"{SOURCES}.mat_child": {"torch", "ray", "cdflib"},
    f"{SOURCES}.mpii.mat": {"torch", "ray", "cdflib"},
}


@pytest.mark.parametrize("module", MODULES)
def test_a_child_imports_its_library_alone(module: str) -> None:
    code = f"import sys, multibodies.apart.child, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not MODULES[module] & set(done.stdout.split())


def test_what_goes_through_the_pipe_comes_out() -> None:
    arrays = [np.arange(6.0).reshape(2, 3).T, np.zeros((0, 3), np.int16), np.array(["a", "bc"])]
    value = {"x": arrays, "big": np.arange(3, dtype=">i4"), "n": 3, "text": "ä", "none": None}
    skeleton, parts = split(value)
    pipe = io.BytesIO()
    send(pipe, {"value": skeleton}, parts)
    pipe.seek(0)
    message, parts = receive(pipe, 1000)
    found = join(message["value"], parts)
    assert list(found) == list(value) and (found["n"], found["text"]) == (3, "ä")
    for one, other in zip(found["x"], arrays, strict=True):
        assert one.dtype == other.dtype and one.flags.writeable
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found["big"], [0, 1, 2])
    assert found["big"].dtype.isnative


@pytest.mark.parametrize(
    ("length", "arrays"),
    [
        (None, [["<f8", [1000, 1000]]]),
        (None, [["|O", [1]]]),
        (None, [["<f8", [4]]]),  # and nothing behind it
        (1 << 40, []),
        (999, []),
    ],
)
def test_a_torn_or_forged_answer_allocates_nothing(length: int | None, arrays: list[Any]) -> None:
    head = json.dumps({"arrays": arrays}).encode()
    size = len(head) if length is None else length
    with pytest.raises(ValueError, match=r"an answer of|bytes of"):
        receive(io.BytesIO(size.to_bytes(LENGTH, "little") + head), 1 << 20)
