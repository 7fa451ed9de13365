"""A refused sweep under Kubernetes: told to KubeRay such that it is not tried again.

KubeRay tries a RayJob again whose Ray job FAILED, on a new cluster each time, whatever its driver's
exit code was; one that STOPPED it leaves alone (rayjob_controller.go: only FAILED is retried). So a
driver that refuses its input, which no retry mends, has its own job stopped.
"""

from __future__ import annotations

import os
import sys
import time

from ray.job_submission import JobSubmissionClient

from multibodies.environs import submission_id

PATIENCE = 60.0  # seconds until the signal of the stop arrives, or the exit code counts after all


def stop_own_job() -> None:
    """Ask Ray to stop the job that this process is the driver of, and wait to be ended.

    Returns, after a line on stderr, where that cannot be done.
    """
    job = submission_id()
    address = os.environ.get("RAY_ADDRESS")
    if job is None:
        return
    try:
        print(f"{job}: stopped, since no retry would mend that", file=sys.stderr, flush=True)
        JobSubmissionClient(address).stop_job(job)
    except (OSError, RuntimeError) as error:
        print(f"{job}: cannot be stopped ({error})", file=sys.stderr)
        return
    time.sleep(PATIENCE)
