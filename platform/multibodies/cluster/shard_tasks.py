"""Runs tasks that each make one file, on Ray Data; what is done is not done again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Protocol

from multibodies.cluster import connect, prepare_data
from multibodies.errors import UserError
from multibodies.progress import Progress


class ShardTask(Protocol):
    """A frozen dataclass of plain values: `Kind(**task.to_json())` is the task."""

    @property
    def rows(self) -> int:
        """How much work it is."""

    @property
    def done(self) -> bool:
        """Whether its file is there, whole and of its recipe."""

    def run(self) -> None:
        """Make the file. Raises UserError on what a user can mend."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""


def run_tasks(
    label: str, tasks: Sequence[ShardTask], *, gpu: bool = False, progress: bool = True
) -> int:
    """Run tasks of one kind that are not done; return how many. Raises a task's UserError."""
    todo = [task for task in tasks if not task.done]
    if not todo:
        return 0
    connect()
    import ray.data

    kind: Any = type(todo[0])

    def work(batch: dict[str, Any]) -> dict[str, list[Any]]:
        task = kind(**json.loads(str(batch["task"][0])))
        try:
            task.run()
        except UserError as error:  # as data: Ray would wrap it in a remote traceback
            return {"rows": [0], "error": [str(error)]}
        return {"rows": [task.rows], "error": [""]}

    prepare_data()
    items = [{"task": json.dumps(task.to_json())} for task in todo]
    dataset = ray.data.from_items(items, override_num_blocks=len(items))
    results = dataset.map_batches(work, batch_size=1, num_cpus=1, num_gpus=1 if gpu else None)
    total = sum(task.rows for task in todo)
    with Progress(total, label, unit="rows") if progress else nullcontext() as bar:
        for result in results.iter_rows():
            if result["error"]:
                raise UserError(result["error"])
            if bar is not None:
                bar.advance(int(result["rows"]))
    return len(todo)
