"""Jobs on a cluster through its dashboard: submit, follow, stop.

The token comes from the environment as for every command of Ray (RAY_AUTH_MODE=token and
RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH).
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from multibodies.cluster.dashboard import checked_address, probe
from multibodies.environs import environment
from multibodies.errors import UserError
from multibodies.progress import duration
from multibodies.submissions import Submission, attempts, next_id
from multibodies.uploads import mebibytes, staged

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

TOKEN = "export RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=FILE (or RAY_AUTH_TOKEN)"
PATIENCE = 120.0  # seconds without an answer until following gives up
STARTING = 60.0  # seconds that a head may need until its agent takes jobs
NOTICE = 5.0  # seconds after which an upload tells that it goes on
STOPPED = 143  # what a shell says of a process ended by SIGTERM, as Ray ends a stopped job


class Cluster:
    """A cluster that answers and takes our token.

    Every method raises UserError where it is lost, refuses the token or does not know the job.
    """

    def __init__(self, address: str | None) -> None:
        self.address = checked_address(address)
        probe(self.address)
        for handler in logging.getLogger("ray").handlers:  # its client tells of every socket
            handler.setLevel(logging.WARNING)
        # The variable wins over the argument, and RAY_ADDRESS would too.
        with _told(self.address), environment(RAY_API_SERVER_ADDRESS=self.address):
            self._client = JobSubmissionClient(self.address)

    def running(self, name: str) -> str | None:
        """Return the id of a sweep's attempt that has not ended."""
        with _told(self.address):
            jobs = {job.submission_id: job for job in self._jobs()}
        going = [job for job in attempts(name, jobs) if not jobs[job].status.is_terminal()]
        return going[0] if going else None

    def submit(self, job: Submission) -> str:
        """Upload and submit; return the id. Waits for a head that has only just started."""
        started = time.monotonic()
        with staged(job.upload) as folder, _told(self.address), _notice(job.upload.size):
            while True:
                try:
                    return self._submit(job, folder)
                except RuntimeError as error:
                    late = time.monotonic() - started > STARTING
                    if late or "No available agent" not in str(error):
                        raise
                    time.sleep(2.0)

    def follow(self, job: str) -> JobDetails:
        """Print the job's log from its start until it ends, through broken connections."""
        log, heard = _Log(self._client, job), time.monotonic()
        with _told(self.address):
            while True:
                try:
                    asyncio.run(log.tail())
                    info = self._client.get_job_info(job)
                    heard = time.monotonic()
                    if info.status.is_terminal():
                        return info
                except (OSError, RuntimeError, aiohttp.ClientError) as error:
                    if "does not exist" in str(error) or time.monotonic() - heard > PATIENCE:
                        raise
                time.sleep(1.0)

    def info(self, job: str) -> JobDetails:
        """Return what the cluster knows of a job."""
        with _told(self.address):
            return self._client.get_job_info(job)

    def stop(self, job: str) -> JobDetails:
        """Ask a job to end, and wait until it has."""
        with _told(self.address):
            self._client.stop_job(job)
            while not (info := self._client.get_job_info(job)).status.is_terminal():
                time.sleep(1.0)
            return info

    def _jobs(self) -> Iterator[JobDetails]:
        return (job for job in self._client.list_jobs() if job.submission_id)

    def _submit(self, job: Submission, folder: Path) -> str:
        return self._client.submit_job(
            entrypoint=job.entrypoint,
            submission_id=next_id(job.name, (other.submission_id for other in self._jobs())),
            runtime_env={"working_dir": str(folder), **job.environment},
        )


def exit_code(info: JobDetails) -> int:
    """Return the driver's exit code as a shell would; 1 where it never started."""
    if info.status == JobStatus.SUCCEEDED:
        return 0
    if info.status == JobStatus.STOPPED:
        return STOPPED
    code = info.driver_exit_code or 1
    return code if code > 0 else 128 - code


class _Log:
    """A job's log, each character printed once however often the connection breaks."""

    def __init__(self, client: Any, job: str) -> None:
        self.client, self.job, self.shown = client, job, 0

    async def tail(self) -> None:
        seen = 0
        async for text in self.client.tail_job_logs(self.job):
            seen += len(text)
            if (fresh := seen - self.shown) > 0:
                print(text[-fresh:], end="", flush=True)
                self.shown = seen


@contextmanager
def _notice(size: int) -> Iterator[None]:
    """Say now and then that an upload goes on, if it takes long."""
    ended, started = threading.Event(), time.monotonic()

    def tell() -> None:
        while not ended.wait(NOTICE):
            spent = duration(time.monotonic() - started)
            print(f"uploading {mebibytes(size)} and starting: {spent}", file=sys.stderr, flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Turn what Ray's client raises into one clear error each."""
    try:
        yield
    except AuthenticationError as error:
        raise UserError(_refusal(address, error.message)) from None
    except (OSError, RuntimeError, aiohttp.ClientError) as error:
        said = next(iter(str(error).strip().splitlines()[-1:]), type(error).__name__)
        if "does not exist" in said:
            raise UserError(
                f"{address}: no such job ({said}); a head that started anew has forgotten its "
                "jobs: submit the sweep again, it goes on where it stopped"
            ) from None
        if "already exists" in said:
            raise UserError(f"{address}: submitted by someone else just now ({said})") from None
        raise UserError(
            f"{address}: the cluster does not answer as it should ({said}); a submitted job goes "
            "on by itself: look again with --attach ID"
        ) from None


def _refusal(address: str, said: str) -> str:
    if said.startswith("Authentication required"):
        return f"{address}: the cluster wants a token (401): {TOKEN}"
    if said.startswith("Authentication failed"):
        return f"{address}: the cluster refuses this token (403): {TOKEN}"
    return f"{address}: the token cannot be read: {said}; {TOKEN}"
