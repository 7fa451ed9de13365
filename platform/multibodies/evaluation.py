"""Infer and score one shard: plans, recipes, whole files. No Ray; cluster/evaluate.py runs these.

`infer` makes OUT/<split>/part-*.parquet (see hypotheses.py); `score` makes
OUT/<split>/part-*.records.parquet and part-*.diagnostics.parquet. A recipe says what bears on a
file; folders, devices and workers do not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from multibodies import checkpoints
from multibodies.bodies.loading import load_body
from multibodies.config import Config, EvaluationConfig, fingerprint
from multibodies.core.body import JointBody
from multibodies.data.manifest import Manifest, Shard, check_shard, read_manifest
from multibodies.data.schema import rows_from_table
from multibodies.errors import UserError
from multibodies.files import atomic
from multibodies.hypotheses import VERSION, StoredHypotheses, read_hypotheses, write_hypotheses
from multibodies.inference import Inference, infer_images, rescore
from multibodies.protocols import dataset_of, protocol_of
from multibodies.scoring import Cell, Scores, score_hypotheses
from multibodies.sidecars import check_whole, is_done, read_sidecar, seal
from multibodies.truth import MESH_COLUMNS, TRUTH_COLUMNS, check_n, truth_from_rows

KINDS = ("records", "diagnostics")
UNSCORED = {"flow_weight", "splits", "bootstrap_samples"}  # settings that no record depends on
SCORING = frozenset(EvaluationConfig.model_fields) - UNSCORED  # those that bear on a record
OWN = "own"  # in a sidecar, in place of a prior: the system's own weights
Splits = str | Sequence[str]


@dataclass(frozen=True)
class ShardPart:
    """One shard of a dataset and the file made from it; absolute paths."""

    dataset: str
    path: str
    rows: int
    sha256: str
    out: str
    recipe: str

    def read(self, columns: Sequence[str]) -> dict[str, Any]:
        """Return columns of the shard. Raises UserError if it is missing or damaged."""
        shard = Shard(path=self.path, rows=self.rows, sha256=self.sha256)
        check_shard(Path(self.dataset), shard)
        table = pq.ParquetFile(Path(self.dataset) / self.path).read(columns=list(columns))
        return rows_from_table(table)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values, for the way to a worker."""
        return asdict(self)


@dataclass(frozen=True)
class InferTask(ShardPart):
    """One shard to infer with a checkpoint, a prior and a body (None: the embedded one)."""

    checkpoint: str
    prior: str
    body: str | None
    gpu: bool = False

    @property
    def done(self) -> bool:
        """Whether the file is there, whole and of this recipe."""
        return is_done(self.out, self.recipe)

    def run(self) -> None:
        """Infer, write, seal. Raises UserError on a damaged shard or numbers not finite."""
        rows = self.read(("image_id", "image"))
        device = "cuda" if self.gpu else "cpu"
        key = checkpoints.identity(self.checkpoint), checkpoints.identity(self.prior)
        model = _inference(self.checkpoint, self.prior, key, self.body, device)
        started = time.perf_counter()
        stored = infer_images(model, [str(name) for name in rows["image_id"]], rows["image"])
        seconds = round(time.perf_counter() - started, 4)  # without loading, reading and writing
        write_hypotheses(self.out, stored)
        m = stored.num_hypotheses
        prior = OWN if model.regressor.weighs else key[1]
        notes = {"rows": len(stored), "hypotheses": m, "prior": prior, "seconds": seconds}
        seal(self.out, self.recipe, **notes)


@dataclass(frozen=True)
class ScoreTask(ShardPart):
    """One shard to score; with a prior, under that one's log-density."""

    hypotheses: str
    dataset_name: str
    image_size: int
    evaluation: dict[str, Any]
    flow_weights: tuple[float, ...]
    seed: int
    lambda_ri: float
    prior: str | None
    body: str | None

    @property
    def done(self) -> bool:
        """Whether both files are there, whole and of this recipe."""
        return all(is_done(self.part(kind), self.recipe) for kind in KINDS)

    def part(self, kind: str) -> Path:
        """Return the file of the records or of the diagnostics."""
        return Path(self.out).with_suffix(f".{kind}.parquet")

    def run(self) -> None:
        """Score, write, seal. Raises UserError naming the image that is not as it must be."""
        where = f"{self.dataset}/{self.path}"
        settings, cell = EvaluationConfig(**self.evaluation), Cell(self.seed, self.lambda_ri)
        rows = self.read(TRUTH_COLUMNS + MESH_COLUMNS * settings.pve)
        truth = truth_from_rows(rows, self.dataset_name, self.image_size, where)
        scores = score_hypotheses(
            self.stored(),
            truth,
            settings,
            self.flow_weights,
            cell,
            self.hypotheses,
            self.body,
        )
        for kind in KINDS:
            write_table(self.part(kind), getattr(scores, kind))
            seal(self.part(kind), self.recipe)

    def stored(self) -> StoredHypotheses:
        """Read the hypotheses, under another prior if the task names one and the system that made
        them does not weigh them itself."""
        stored = read_hypotheses(self.hypotheses)
        made_under = read_sidecar(self.hypotheses).get("prior")
        if self.prior is None or made_under in (OWN, checkpoints.identity(self.prior)):
            return stored
        body = JointBody(load_body(self.body), ("j24",))
        return rescore(stored, checkpoints.load_prior(self.prior), body)


def infer_tasks(
    config: Config,
    dataset: str | Path,
    checkpoint: str | Path,
    splits: Splits,
    out: str | Path,
    *,
    prior: str | Path,
    gpu: bool = False,
) -> list[InferTask]:
    """Return one task per shard, done or not.

    Raises UserError on n > M, an unknown or empty split, a missing dataset or checkpoint.
    """
    spec = checkpoints.read_meta(checkpoint).get("spec") or {}
    check_n(config.evaluation.n, int(spec.get("num_hypotheses", 1)), str(checkpoint))
    body = load_body(config.body.path).sha256
    made_by = [checkpoints.identity(checkpoint), checkpoints.identity(prior), body]
    return [
        InferTask(
            **_shard_fields(dataset, shard, out),
            recipe=fingerprint("hypotheses", VERSION, shard.sha256, *made_by),
            checkpoint=_absolute(checkpoint),
            prior=_absolute(prior),
            body=config.body.path,
            gpu=gpu,
        )
        for _, shard in shards_of(read_manifest(dataset), splits)
    ]


def score_tasks(
    config: Config,
    dataset: str | Path,
    hypotheses: str | Path,
    splits: Splits,
    out: str | Path,
    *,
    flow_weights: Sequence[float] | None = None,
    prior: str | Path | None = None,
) -> list[ScoreTask]:
    """Return one task per shard, done or not; flow_weights default to the configuration's one.

    Raises UserError on n > M, missing or damaged hypotheses, an unknown or empty split, an unknown
    protocol.
    """
    manifest = read_manifest(dataset)
    alphas = tuple(flow_weights or (config.evaluation.flow_weight,))
    settings = config.evaluation.model_dump(mode="json", include=set(SCORING))
    body = load_body(config.body.path).sha256
    cell = Cell(config.stage2.seed, config.loss.ri)
    rescored = None if prior is None else checkpoints.identity(prior)
    tasks = []
    for split, shard in shards_of(manifest, splits):
        stored = Path(hypotheses) / shard.path
        sidecar = check_whole(stored)
        check_n(config.evaluation.n, int(sidecar["hypotheses"]), str(stored))
        protocol = asdict(protocol_of(config.evaluation, dataset_of(split)))
        made_by = [shard.sha256, sidecar["sha256"], settings, list(alphas), list(cell), rescored]
        made_by += [protocol, body]
        tasks.append(
            ScoreTask(
                **_shard_fields(dataset, shard, out),
                recipe=fingerprint("scores", *made_by),
                hypotheses=_absolute(stored),
                dataset_name=dataset_of(split),
                image_size=manifest.image_size,
                evaluation=settings,
                flow_weights=alphas,
                seed=cell.seed,
                lambda_ri=cell.lambda_ri,
                prior=None if prior is None else _absolute(prior),
                body=config.body.path,
            )
        )
    return tasks


def collect_scores(tasks: Sequence[ScoreTask]) -> Scores:
    """Read the tables of finished tasks, in order."""
    parts = [[pq.ParquetFile(task.part(kind)).read() for task in tasks] for kind in KINDS]
    return Scores(*(pa.concat_tables(tables) for tables in parts))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file atomically."""
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def shards_of(manifest: Manifest, splits: Splits) -> Iterator[tuple[str, Shard]]:
    """Yield (split, shard) of every shard with rows.

    Raises UserError on an unknown or empty split.
    """
    for split in [splits] if isinstance(splits, str) else splits:
        shards = [shard for shard in manifest.shards(split) if shard.rows]
        if not shards:
            raise UserError(f"split '{split}' has no rows; prepare more of it")
        for shard in shards:
            yield split, shard


def _shard_fields(dataset: str | Path, shard: Shard, out: str | Path) -> dict[str, Any]:
    return {
        **shard.model_dump(),
        "dataset": _absolute(dataset),
        "out": _absolute(Path(out) / shard.path),
    }


@lru_cache(maxsize=2)
def _inference(
    checkpoint: str, prior: str, key: tuple[str, str], body: str | None, device: str
) -> Inference:
    """Load a model once per process; `key` is what the two folders hold, for they may change."""
    parts = checkpoints.load_regressor(checkpoint), checkpoints.load_prior(prior), load_body(body)
    return Inference(*parts).to(device)


def _absolute(path: str | Path) -> str:
    return str(Path(path).resolve())
