"""A sweep as a job: its id, its entry point, its environment, and the same by `ray job submit`.

No Ray here: what would be submitted is told without contacting anything.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multibodies.config import fingerprint
from multibodies.report.provenance import UPLOADED_COMMIT
from multibodies.uploads import ELSEWHERE, LEFT_OUT, PARTS, Upload

if TYPE_CHECKING:
    from multibodies.sweep import Plan

EXCLUDES = ("/*", "!/.", *(f"!/{part}" for part in PARTS), *LEFT_OUT)


@dataclass(frozen=True)
class Submission:
    """One sweep to run on a cluster. name: its id but for the number of the attempt; commit: of the
    checkout that is uploaded, since the upload holds no .git."""

    name: str
    upload: Upload
    options: tuple[str, ...]
    commit: str = "unknown"

    @property
    def environment(self) -> dict[str, Any]:
        """What Ray sets for the driver and its workers."""
        return {"env_vars": {"PYTHONPATH": "platform", UPLOADED_COMMIT: self.commit}}

    @property
    def entrypoint(self) -> str:
        """The driver's command in the working_dir."""
        return shlex.join(["python", "jobs/sweep.py", self.upload.sweep, *self.options])

    def line(self, address: str, job: str, project: Path) -> str:
        """Return the same submission, as the id `job`, by Ray's own command in a shell.

        It packs the project's folder itself, so that what stays behind is excluded by patterns.
        """
        environment = json.dumps({**self.environment, "excludes": list(EXCLUDES)})
        what = ["--address", address, "--submission-id", job, "--working-dir", str(project)]
        words = ["ray", "job", "submit", *what, "--runtime-env-json", environment, "--"]
        line = f"{shlex.join(words)} {self.entrypoint}"
        if not self.upload.sweep.startswith(ELSEWHERE):
            return line
        target = project / self.upload.sweep
        copy = ["install", "-D", "-m", "644", str(self.upload.files[self.upload.sweep]), target]
        return f"{shlex.join(map(str, copy))} && {line}"


def name_of(plan: Plan, data: Path | None) -> str:
    """Return `<sweep>-<fingerprint>`; workers, GPUs and the output's place bear no identity."""
    recipe = {key: value for key, value in plan.recipe().items() if key != "prepared"}
    return f"{plan.name}-{fingerprint(recipe, str(data))}"


def options_of(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the words of jobs/sweep.py for options by name; None and False are left out."""
    words: list[str] = []
    for name, value in given.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None and value is not False:
            words += [f"--{name}", str(value)]
    return tuple(words)


def attempts(name: str, ids: Iterable[str]) -> dict[str, int]:
    """Return those ids that are attempts of a sweep, with their numbers: name, name-2, name-3."""
    found = ((job, re.fullmatch(rf"{re.escape(name)}(?:-(\d+))?", job)) for job in ids)
    return {job: int(match[1] or 1) for job, match in found if match}


def next_id(name: str, ids: Iterable[str]) -> str:
    """Return the id of a further attempt: Ray refuses one that was used, also by a finished job."""
    number = max(attempts(name, ids).values(), default=0) + 1
    return name if number == 1 else f"{name}-{number}"
