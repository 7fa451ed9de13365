"""``python -m multibodies.data.build_body OUT.npz``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from multibodies.data.build_body.assemble import assemble
from multibodies.data.build_body.sampling import sample_anny
from multibodies.errors import UserError
from multibodies.files import atomic, sha256


def main(arguments: Sequence[str] | None = None) -> int:
    """Sample Anny, build the body and write it; 2 and one sentence on a user's error."""
    parser = argparse.ArgumentParser(prog="python -m multibodies.data.build_body")
    parser.add_argument("out", type=Path, help="the .npz to write")
    parser.add_argument("--bodies", type=int, default=2400, help="bodies drawn from Anny")
    options = parser.parse_args(arguments)
    try:
        if options.out.suffix != ".npz":
            raise UserError(f"{options.out}: the body is an .npz; give a name that ends in .npz")
        if options.bodies < 500:
            raise UserError(f"--bodies {options.bodies}: the fits need at least 500")
        arrays = assemble(sample_anny(options.bodies, report=print), report=print)
        with atomic(options.out) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: sha256 {sha256(options.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
