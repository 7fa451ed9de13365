"""`python -m multibodies.bench`: `multibodies bench` where little else is installed."""

from __future__ import annotations

import argparse
import sys

from multibodies.bench.arguments import add_arguments
from multibodies.bench.start import run
from multibodies.errors import UserError


def main() -> int:
    """Parse, measure; exit code 2 and one line for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m multibodies.bench")
    add_arguments(parser)
    try:
        run(parser.parse_args())
    except UserError as error:
        print(f"multibodies: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
