"""Infer and score on Ray Data: one task per shard; what is done is not done again.

Besides the parts that evaluation.py describes, `score` writes their union: OUT/per_image.parquet
and OUT/diagnostics.parquet.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from multibodies.cluster import connect
from multibodies.config import Config
from multibodies.errors import UserError
from multibodies.evaluation import (
    InferTask,
    ScoreTask,
    Splits,
    collect_scores,
    infer_tasks,
    score_tasks,
    write_table,
)
from multibodies.progress import Progress
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
    return _run("infer", tasks, gpu=gpu, progress=progress)


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
    _run("score", tasks, gpu=False, progress=progress)
    scores = collect_scores(tasks)
    write_table(Path(out) / "diagnostics.parquet", scores.diagnostics)
    write_table(Path(out) / "per_image.parquet", scores.records)
    return scores


def _run(
    label: str, tasks: Sequence[InferTask] | Sequence[ScoreTask], *, gpu: bool, progress: bool
) -> int:
    """Run what is not done, one Ray Data task per shard. Raises the first UserError of a task."""
    todo = [task for task in tasks if not task.done]
    if not todo:
        return 0
    connect()
    import ray.data

    kind = type(todo[0])

    def work(batch: dict[str, Any]) -> dict[str, list[Any]]:
        task = kind(**json.loads(str(batch["task"][0])))
        try:
            task.run()
        except UserError as error:  # as data: Ray would wrap it in a remote traceback
            return {"rows": [0], "error": [str(error)]}
        return {"rows": [task.rows], "error": [""]}

    ray.data.DataContext.get_current().enable_progress_bars = False  # ours knows the rows
    items = [{"task": json.dumps(task.to_json())} for task in todo]
    dataset = ray.data.from_items(items, override_num_blocks=len(items))
    results = dataset.map_batches(work, batch_size=1, num_cpus=1, num_gpus=1 if gpu else None)
    total = sum(task.rows for task in todo)
    with Progress(total, label, unit="images") if progress else nullcontext() as bar:
        for result in results.iter_rows():
            if result["error"]:
                raise UserError(result["error"])
            if bar is not None:
                bar.advance(int(result["rows"]))
    return len(todo)
