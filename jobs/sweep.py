"""Job: a sweep file -> table, figures, MLflow runs. ``ray job submit -- python jobs/sweep.py
sweeps/table2.toml``."""

from __future__ import annotations

import os
import sys

from multibodies.cli import main

REFUSED = 2  # the user's to mend: a retry would be refused too

if __name__ == "__main__":
    code = main(["sweep", *sys.argv[1:]])
    if code == REFUSED and os.environ.get("MULTIBODIES_REFUSED") == "stop":  # of RayJobs
        from multibodies.cluster.refusals import stop_own_job

        stop_own_job()
    sys.exit(code)
