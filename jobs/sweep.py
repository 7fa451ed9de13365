"""Job: a sweep file -> table, figures, MLflow runs. ``ray job submit -- python jobs/sweep.py
sweeps/table2.toml``."""

from __future__ import annotations

import sys

from multibodies.cli import main

if __name__ == "__main__":
    sys.exit(main(["sweep", *sys.argv[1:]]))
