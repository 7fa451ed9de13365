"""`prepare`: a source -> Parquet shards and a manifest, one Ray Data task per shard.

A folder belongs to one recipe (schema version, data settings, body, limit, annotation file):
another one is refused with what differs. Whole shards are kept; the manifest is written last, so a
folder without one is unfinished.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from multibodies.cluster import connect, prepare_data
from multibodies.config import Config
from multibodies.data.folder import assemble, claim, owned
from multibodies.data.manifest import Manifest, write_manifest
from multibodies.data.plan import Plan, make_plan
from multibodies.data.sources.importer import SourceOptions
from multibodies.data.tasks import Done, ShardTask, kept_shard, make_shard
from multibodies.errors import UserError
from multibodies.progress import Progress

MAX_QUARANTINED = 0.05


def prepare(
    config: Config,
    out: str | Path,
    splits: Sequence[str] | None = None,
    limit: int | None = None,
    *,
    source: SourceOptions | None = None,
    max_quarantined: float = MAX_QUARANTINED,
    progress: bool = True,
) -> Manifest:
    """Write a dataset, all splits of the source or some, at most `limit` rows each.

    `source` says where the files of ``data.source`` are. Called again it keeps whole shards and
    gives the same bytes. Returns the manifest. Raises UserError on another recipe in `out`, an
    unknown split, an unreadable source, a full disk, and when more than the share `max_quarantined`
    of the rows is refused.
    """
    plan = make_plan(config, splits, limit, source)
    return write_dataset(plan, Path(out), max_quarantined=max_quarantined, progress=progress)


def write_dataset(
    plan: Plan, out: Path, *, max_quarantined: float = MAX_QUARANTINED, progress: bool = True
) -> Manifest:
    """Write what is missing of a plan, then the manifest. Raises UserError as `prepare` does."""
    with owned(out):
        recipe = claim(out, plan.recipe, plan.labels)
        done, todo = sort_out(plan, out)
        with _progress(todo, len(done), progress) as advance:
            for record in _run(plan, todo, out):
                done[record.shard.path] = record
                advance(record)
                _check_bound(done.values(), plan.rows, max_quarantined, out)
        in_order = [done[task.name] for task in plan.tasks]
        manifest = assemble(out, recipe, in_order, plan.skipped)
        write_manifest(out, manifest)
    return manifest


def sort_out(plan: Plan, out: Path) -> tuple[dict[str, Done], list[ShardTask]]:
    """Return the whole shards that lie in `out` already, by path, and the tasks that are left."""
    found = {task.name: kept_shard(task, out, plan.recipe_of(task)) for task in plan.tasks}
    kept = {name: record for name, record in found.items() if record is not None}
    return kept, [task for task in plan.tasks if task.name not in kept]


def _run(plan: Plan, todo: Sequence[ShardTask], out: Path) -> Iterator[Done]:
    """Make shards on all CPUs, one Ray Data task each; yield what became of them, as they end."""
    if not todo:
        return
    connect()
    import ray.data

    folder, make, pictures = out.resolve(), plan.make, plan.pictures

    def work(batch: dict[str, Any]) -> dict[str, list[str]]:
        task = ShardTask.from_json(str(batch["task"][0]))
        try:
            done = make_shard(task, make, folder, str(batch["recipe"][0]), pictures)
        except UserError as error:  # as data: Ray would wrap it in a remote traceback
            return {"done": [""], "error": [str(error)]}
        return {"done": [done.model_dump_json()], "error": [""]}

    prepare_data()
    items = [{"task": task.to_json(), "recipe": plan.recipe_of(task)} for task in todo]
    tasks = ray.data.from_items(items, override_num_blocks=len(items))
    for result in tasks.map_batches(work, batch_size=1, num_cpus=1).iter_rows():
        if result["error"]:
            raise UserError(result["error"])
        yield Done.model_validate_json(result["done"])


@contextmanager
def _progress(
    todo: Sequence[ShardTask], kept: int, shown: bool
) -> Iterator[Callable[[Done], None]]:
    """Give a function that counts a finished shard, with the rows per second and the time left."""
    if shown and kept:
        print(f"prepare: {kept} whole shards kept, {len(todo)} to make", file=sys.stderr)
    if not shown or not todo:
        yield lambda done: None
        return
    started = time.monotonic()
    with Progress(sum(task.count for task in todo), "prepare", unit="rows") as bar:

        def advance(done: Done) -> None:
            rows = done.shard.rows + done.quarantined
            rate = (bar.done + rows) / (time.monotonic() - started)
            bar.advance(rows, f"{rate:.0f} rows/s")

        yield advance


def _check_bound(done: Iterable[Done], rows: int, bound: float, out: Path) -> None:
    """Stop as soon as more rows are refused than the whole dataset may have."""
    tables = [(record.quarantined, record) for record in done if record.quarantine is not None]
    refused = sum(count for count, _ in tables)
    if refused <= bound * rows:
        return
    _, worst = max(tables, key=lambda pair: pair[0])
    path = out / worst.quarantine.path if worst.quarantine is not None else out
    raise UserError(
        f"{path}: {refused} of {rows} rows refused, more than {bound:.0%}, "
        f"such as '{worst.example}'; mend the source and run prepare again"
    )
