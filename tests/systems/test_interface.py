"""The interface of systems: which there are, what a further one takes, whose weights count."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from model_samples import save_dataset, save_prior
from multibodies.checkpoints import load_regressor, save_module
from multibodies.config import SYSTEMS, Config
from multibodies.config.systems import About
from multibodies.core.body import BodyArrays, load_body
from multibodies.core.regressor import Hypotheses, Regressor, RegressorSpec
from multibodies.errors import UserError
from multibodies.evaluation import infer_tasks, score_tasks
from multibodies.local import fit_local
from multibodies.systems import System, module_of, system_of
from multibodies.training import regressor_spec
from multibodies.travelling import copy_source
from training_samples import tiny_config

ROW = {"mdn": 3, "cvae": 3, "ours": 3}  # M; all others give one hypothesis


def test_every_system_of_the_registry_is_a_module() -> None:
    assert list(SYSTEMS) == ["hmr", "graphcmr", "spin", "mdn", "cvae", "ours"]
    assert all(isinstance(system_of(name), System) for name in SYSTEMS)
    assert {name for name, about in SYSTEMS.items() if not about.single} == set(ROW)
    with pytest.raises(UserError, match=r"unknown system 'spine'.*spin"):
        system_of("spine")


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name not in ROW])
def test_a_single_system_has_no_further_hypotheses(name: str) -> None:
    with pytest.raises(UserError, match=rf"system '{name}' gives one hypothesis, set it to 1"):
        tiny_config({"system.name": name})


class Halved(Regressor):
    """The plain regressor with half the shape."""

    def from_features(self, features: Tensor, heatmaps: Tensor | None = None) -> Hypotheses:
        found = super().from_features(features, heatmaps)
        return found._replace(beta=found.beta / 2)


class Seventh(System):
    def network(self, spec: RegressorSpec) -> Regressor:
        return Halved(spec)

    def start(self, stage1: Regressor, config: Config, arrays: BodyArrays) -> Regressor:
        model = Halved(replace(regressor_spec(config.model, 1), system="seventh"))
        model.load_state_dict(stage1.state_dict())
        return model


@pytest.mark.slow
def test_a_seventh_system_is_one_module_and_one_line(
    rows: Path, stage1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("multibodies.systems.seventh")
    monkeypatch.setattr(module, "SYSTEM", Seventh(), raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(SYSTEMS, "seventh", About("Seventh", single=True))
    one = {"system.name": "seventh", "stage2.num_hypotheses": 1, "evaluation.n": [1]}
    weights = fit_local(
        tiny_config(one), "stage2", rows, tmp_path, start_from=stage1, progress=False
    )
    model = load_regressor(weights)
    assert isinstance(model, Halved)
    plain = Regressor(replace(model.spec, system="ours"))
    plain.load_state_dict(model.state_dict())
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(images).beta * 2, plain.eval()(images).beta)


@pytest.mark.drill
@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_its_source_travels_whole(name: str, tmp_path: Path) -> None:
    source = copy_source([module_of(name), "multibodies.bundles"], tmp_path)
    code = f"import {module_of(name)} as m; print(m.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(source / "systems" / f"{name}.py")


@pytest.mark.parametrize("name", ["mdn", "ours"])
def test_another_prior_weighs_only_what_no_system_weighs_itself(
    name: str, stage1: Path, tmp_path: Path
) -> None:
    save_dataset(tmp_path / "data", {"wild-val": [2]})
    priors = [tmp_path / "first", tmp_path / "second"]
    for seed, folder in enumerate(priors):
        save_prior(folder, seed=seed)
    config = tiny_config({"system.name": name})
    model = system_of(name).start(load_regressor(stage1), config, load_body())
    save_module(tmp_path / "model", model.state_dict(), {"spec": model.spec.to_json()})
    of = config, tmp_path / "data"
    out, splits = tmp_path / "hypotheses", ["wild-val"]
    (task,) = infer_tasks(*of, tmp_path / "model", splits, out, prior=priors[0])
    task.run()
    (first,) = score_tasks(*of, out, splits, tmp_path / "a", prior=priors[0])
    (second,) = score_tasks(*of, out, splits, tmp_path / "b", prior=priors[1])
    same = np.allclose(first.stored().log_density, second.stored().log_density)
    assert same is (name == "mdn")
