"""One shard as a unit of work: made whole, sealed with a sidecar, kept or made again. No Ray.

A shard is kept when its sidecar names the same recipe and rows and its bytes are still those, so a
killed `prepare` goes on where it stopped, and a torn or foreign file is made again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from multibodies.config import DataConfig, Section
from multibodies.data.manifest import Shard
from multibodies.data.pixels import PictureFormat, encode_jpegs
from multibodies.data.schema import JPEG, Rows, table_from_rows
from multibodies.data.shards import shard_name, write_shard
from multibodies.data.sources.importer import Importer, SourceOptions
from multibodies.data.sources.registry import base_split, open_importer
from multibodies.data.validation import Rejection, quarantine_table, validate_rows
from multibodies.errors import UserError
from multibodies.files import sha256
from multibodies.sidecars import is_done, read_sidecar, seal


class Piece(NamedTuple):
    """Records start .. start + rows - 1 of a unit of a source."""

    unit: str
    start: int
    rows: int


@dataclass(frozen=True)
class ShardTask:
    """Rows `start` .. `start + count - 1` of a split, to become its shard number `index`.

    `pieces` says whose records become the rows where the source is files and not the generator.
    """

    split: str
    index: int
    start: int
    count: int
    pieces: tuple[Piece, ...] = ()

    @property
    def name(self) -> str:
        """The shard's path within the dataset."""
        return shard_name(self.split, self.index)

    def to_json(self) -> str:
        """Return the task as JSON, which is how it travels to a worker."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ShardTask:
        """Inverse of `to_json`."""
        content = json.loads(text)
        return cls(**{**content, "pieces": tuple(Piece(*piece) for piece in content["pieces"])})


class Done(Section):
    """What became of a task.

    `quarantine` is the table of refused rows, `example` the first one's reason.
    """

    task: tuple[str, int, int, int]  # split, index, start, count
    shard: Shard
    strategies: dict[str, int]
    quarantined: int = 0
    example: str = ""
    quarantine: Shard | None = None


Made = tuple[Rows, Sequence[Rejection]]
RowMaker = Callable[[ShardTask], Made]


def plan_split(split: str, rows: int, per_shard: int) -> list[ShardTask]:
    """Cut a split of `rows` rows into shards of `per_shard`, the last one smaller."""
    starts = range(0, rows, per_shard)
    return [ShardTask(split, i, s, min(per_shard, rows - s)) for i, s in enumerate(starts)]


def plan_pieces(
    split: str, units: Iterable[tuple[str, int]], per_shard: int, limit: int | None = None
) -> list[ShardTask]:
    """Cut the records of units, in their order and at most `limit`, into shards of `per_shard`."""
    sizes = list(units)
    total = sum(count for _, count in sizes)
    tasks = plan_split(split, min(total, limit or total), per_shard)
    return [replace(task, pieces=tuple(_overlaps(sizes, task))) for task in tasks]


def _overlaps(units: Iterable[tuple[str, int]], task: ShardTask) -> Iterator[Piece]:
    first = 0
    for name, count in units:
        start, stop = max(task.start, first), min(task.start + task.count, first + count)
        if start < stop:
            yield Piece(name, start - first, stop - start)
        first += count


def split_rows(split: str, data: DataConfig) -> int:
    """Return how many rows the settings ask of a split, by its ending: train, val or test."""
    sizes = {"train": data.train_rows, "val": data.val_rows, "test": data.test_rows}
    return sizes[split.rpartition("-")[2]]


def make_shard(
    task: ShardTask, make: RowMaker, folder: Path, recipe: str, pictures: PictureFormat
) -> Done:
    """Make a task's rows, refuse the bad ones one by one, write what a shard needs.

    That is the shard, the table of refused rows and, last, the sidecar. Raises UserError when the
    disk refuses or the maker returns other columns or another number of rows.
    """
    made, refused = make(task)
    good, invalid = validate_rows(made, pictures.size)
    rejections = sorted([*refused, *_as_asked(task, refused, invalid)])
    if pictures.encoding == JPEG:
        good["image"] = encode_jpegs(list(good["image"]), pictures.quality)
    table = table_from_rows(good, pictures.size, pictures.encoding)
    if table.num_rows + len(rejections) != task.count:
        raise UserError(
            f"{task.name}: asked for {task.count} rows, got {table.num_rows + len(rejections)}"
        )
    done = Done(
        task=_key(task),
        shard=write_shard(folder, task.name, table),
        strategies=dict(Counter(table["occlusion"].to_pylist())),
        quarantined=len(rejections),
        example=rejections[0].reason if rejections else "",
        quarantine=_write_quarantine(task, rejections, folder),
    )
    seal(folder / task.name, recipe, done=done.model_dump(mode="json"))
    return done


def _as_asked(
    task: ShardTask, refused: Sequence[Rejection], invalid: Sequence[Rejection]
) -> list[Rejection]:
    """Renumber rejections that count among the made rows to count among the rows asked for."""
    gone = {rejection.row for rejection in refused}
    left = [row for row in range(task.count) if row not in gone]
    return [rejection._replace(row=left[rejection.row]) for rejection in invalid]


def quarantine_name(task: ShardTask) -> str:
    """Return the path of a task's quarantine table: ``quarantine/part-lab-train-00003.parquet``."""
    return f"quarantine/part-{task.split}-{task.index:05d}.parquet"


def _write_quarantine(
    task: ShardTask, rejections: Sequence[Rejection], folder: Path
) -> Shard | None:
    name = quarantine_name(task)
    if not rejections:
        (folder / name).unlink(missing_ok=True)
        return None
    in_split = [r._replace(row=task.start + r.row) for r in rejections]
    return write_shard(folder, name, quarantine_table(in_split, task.split))


def kept_shard(task: ShardTask, folder: Path, recipe: str) -> Done | None:
    """Return what an earlier run made of this task, or None when it must be made (again).

    A shard with refused rows of a file is made again, for the cause may have been mended.
    """
    if not is_done(folder / task.name, recipe):
        return None
    sidecar = read_sidecar(folder / task.name)
    try:
        done = Done.model_validate(sidecar.get("done"))
    except ValidationError:
        return None
    same = (done.task, done.shard.sha256) == (_key(task), sidecar["sha256"])
    mendable = bool(done.quarantined and task.pieces)
    return done if same and not mendable and _is_whole(done.quarantine, folder) else None


def _is_whole(table: Shard | None, folder: Path) -> bool:
    if table is None:
        return True
    path = folder / table.path
    return path.is_file() and sha256(path) == table.sha256


def _key(task: ShardTask) -> tuple[str, int, int, int]:
    return (task.split, task.index, task.start, task.count)


def embedded_maker(data: DataConfig, body_path: str | None) -> RowMaker:
    """Return the maker of rendered rows; body and kernels are loaded once per worker."""

    def make(task: ShardTask) -> Made:
        from multibodies.bodies.loading import load_body
        from multibodies.data.embedded import embedded_rows

        body = load_body(body_path)
        return embedded_rows(task.split, task.start, task.count, data, body), []

    return make


def source_maker(name: str, options: SourceOptions, data: DataConfig) -> RowMaker:
    """Return the maker of rows from a user's files; the importer is opened once per worker."""

    def make(task: ShardTask) -> Made:
        from multibodies.data.sources.rows import RowMaker as Maker

        importer, base = _importer(name, json.dumps(asdict(options))), base_split(task.split)
        records = (importer.records(base, *piece) for piece in task.pieces)
        return Maker(data, task.split).rows(chain.from_iterable(records))

    return make


@lru_cache(maxsize=1)
def _importer(name: str, options: str) -> Importer:
    return open_importer(name, SourceOptions(**json.loads(options)))
