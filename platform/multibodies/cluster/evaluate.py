"""Infer and score on Ray Data: one task per shard; what is done is not done again.

Besides the parts that evaluation.py describes, `score` writes their union: OUT/per_image.parquet
and OUT/diagnostics.parquet.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from multibodies.cluster.shard_tasks import run_tasks
from multibodies.config import Config
from multibodies.evaluation import (
    Splits,
    collect_scores,
    infer_tasks,
    score_tasks,
    write_table,
)
from multibodies.scoring import Scores


def infer(
    config: Config,
    dataset: str | Path,
    checkpoint: str | Path,
    splits: Splits,
    out: str | Path,
    *,
    prior: str | Path,
    gpu: bool = False,
    progress: bool = True,
) -> int:
    """Write all M hypotheses of every image of some splits; return how many shards were inferred.

    Raises UserError before any work on n > M, an unknown split, a missing dataset or checkpoint;
    and naming a shard that is damaged.
    """
    tasks = infer_tasks(config, dataset, checkpoint, splits, out, prior=prior, gpu=gpu)
    return run_tasks("infer", tasks, gpu=gpu, progress=progress)


def score(
    config: Config,
    dataset: str | Path,
    hypotheses: str | Path,
    splits: Splits,
    out: str | Path,
    *,
    flow_weights: Sequence[float] | None = None,
    prior: str | Path | None = None,
    progress: bool = True,
) -> Scores:
    """Score stored hypotheses of some splits for every n and flow weight (default: the config's).

    The records name a dataset, not a split: score val and test into different folders. With
    `prior`, hypotheses whose log-density is another prior's are scored under it, from their stored
    parameters. Raises UserError before any work on n > M, on missing, damaged or foreign
    hypotheses and on an unknown split.
    """
    tasks = score_tasks(
        config, dataset, hypotheses, splits, out, flow_weights=flow_weights, prior=prior
    )
    run_tasks("score", tasks, gpu=False, progress=progress)
    scores = collect_scores(tasks)
    write_table(Path(out) / "diagnostics.parquet", scores.diagnostics)
    write_table(Path(out) / "per_image.parquet", scores.records)
    return scores
