"""Stage 1's features of every training image, computed once: what stage 2 reads where the trunk is
frozen.
"""

from __future__ import annotations

from pathlib import Path

from multibodies import runs
from multibodies.caching import feature_tasks, features_manifest
from multibodies.checkpoints import load_regressor
from multibodies.cluster.shard_tasks import run_tasks
from multibodies.config import Config
from multibodies.data.manifest import Manifest, read_manifest, write_manifest
from multibodies.fitting import check_spec
from multibodies.training import regressor_spec


def cache_features(
    config: Config,
    checkpoint: str | Path,
    dataset: str | Path,
    split: str,
    out: str | Path,
    *,
    dtype: str = "float16",
    gpu: bool = False,
    progress: bool = True,
) -> Manifest:
    """Write OUT/<split>/part-*.parquet and a manifest, the images' shards one to one; return it.

    Called again, it keeps whole shards. Raises UserError before any work on a checkpoint of another
    network than the configuration's, a missing dataset or an unknown split, and naming a damaged
    shard.
    """
    wanted = regressor_spec(config.model, 1)
    check_spec(load_regressor(checkpoint).spec, wanted, Path(checkpoint))
    images = read_manifest(dataset)
    tasks = feature_tasks(checkpoint, dataset, split, out, dtype, gpu)
    with runs.alone(Path(out)):
        run_tasks("features", tasks, gpu=gpu, progress=progress)
        manifest = features_manifest(images, split, tasks)
        write_manifest(Path(out), manifest)
    return manifest
