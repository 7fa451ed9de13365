"""Job: shards -> prior. ``ray job submit -- python jobs/fit_prior.py --data DIR --out DIR``."""

from __future__ import annotations

import sys

from multibodies.cli import main

if __name__ == "__main__":
    sys.exit(main(["fit-prior", *sys.argv[1:]]))
