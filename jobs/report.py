"""Job: stored results of a run -> table and figures. ``python jobs/report.py runs/table2``."""

from __future__ import annotations

import sys

from multibodies.cli import main

if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))
