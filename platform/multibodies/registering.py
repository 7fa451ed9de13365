"""A cell's model, registered: network, prior and settings of a run -> a version with an alias."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

from multibodies.bodies.loading import load_body
from multibodies.bundles import settings_of, write_bundle
from multibodies.checkpoints import read_meta
from multibodies.errors import UserError
from multibodies.sweep import Plan
from multibodies.systems import module_of
from multibodies.tracking import RunLog, Tracker
from multibodies.tracking.registry import Registry, check_alias, save_pyfunc
from multibodies.travelling import copy_source
from multibodies.winners import cell_of, choose_winner, read_models, write_models

LOG = logging.getLogger("multibodies.tracking")
WINNER = "winner"  # the alias of what won its sweep


@dataclass(frozen=True)
class Registered:
    """A version of a registered model; new: whether it was made just now."""

    name: str
    alias: str
    version: str
    cell: str
    new: bool

    @property
    def uri(self) -> str:
        """What `mlflow.pyfunc.load_model` takes."""
        return f"models:/{self.name}@{self.alias}"


def register(run_dir: Path, uri: str, cell: str | None = None, alias: str = WINNER) -> Registered:
    """Register a cell's model, or the winner's, as multibodies-<sweep>; the same weights once.

    Raises UserError on an unknown cell, where no cell won, on damaged weights, and where the server
    does not answer or has no run of that cell.
    """
    check_alias(alias)
    told = read_models(run_dir)
    chosen = cell_of(told, cell)
    entry, name = told["cells"][chosen], f"multibodies-{told['sweep']}"
    registry = Registry(uri)
    run = registry.run_of(told["sweep"], chosen)
    with tempfile.TemporaryDirectory(prefix="multibodies-model-") as temporary:
        folder = Path(temporary)
        network, body = run_dir / entry["network"], load_body(entry["body"])
        settings = settings_of(network, body, entry["image_size"], entry["evaluation"])
        bundle = folder / "bundle"
        digest = write_bundle(bundle, network, run_dir / entry["prior"], body, settings)
        version = registry.version_of(name, digest)
        new = version is None
        if version is None:
            spec = read_meta(network)["spec"]
            modules = "multibodies.bundles", module_of(spec.get("system", "ours"))
            source = copy_source(modules, folder)
            defaults = {"n": settings.n, "flow_weight": settings.flow_weight}
            save_pyfunc(folder / "model", bundle, source, defaults)
            tags = {"sweep": told["sweep"], "cell": chosen}
            if chosen == told["winner"]:
                tags["chosen"] = told["reason"]
            version = registry.add(name, digest, run, folder / "model", tags)
    registry.name_alias(name, alias, version)
    return Registered(name, alias, version, chosen, new)


def register_winner(tracker: Tracker, parent: RunLog, plan: Plan, run_dir: Path) -> None:
    """Choose a finished sweep's winner on val and register it; the parent run tells the outcome.

    The sweep is done: whatever fails here is told, and may be made good by `multibodies register`.
    """
    choice = choose_winner(plan, run_dir)
    write_models(plan, run_dir, choice)
    if choice.cell is None:
        parent.tags({"registered": f"nothing: {choice.reason}"})
        return
    parent.tags({"winner": choice.cell, "winner_chosen": choice.reason})
    if tracker.uri is None:
        return
    tracker.flush()
    try:
        made = register(run_dir, tracker.uri)
    except Exception as error:  # as all of tracking: it stops nothing
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        LOG.warning("the winner is not registered (%s); `multibodies register RUN` does it", reason)
        parent.tags({"registered": f"not yet: {reason}"})
    else:
        parent.tags({"registered": f"{made.uri}, version {made.version}"})
