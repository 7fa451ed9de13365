"""Checkpoints: exact round trips, atomic replacement, and a clear word for every damaged file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from multibodies.checkpoints import (
    META,
    WEIGHTS,
    identity,
    load_module,
    load_prior,
    load_regressor,
    read_meta,
    save_module,
)
from multibodies.core.prior import PriorSpec, SkeletonPrior
from multibodies.core.regressor import Regressor, RegressorSpec
from multibodies.errors import UserError

STATE = {
    "a": torch.arange(6.0).view(2, 3),
    "step": torch.tensor(7),
    "flags": torch.tensor([True, False]),
}


def tiny_regressor(hypotheses: int = 3) -> Regressor:
    spec = RegressorSpec(
        width=8, hidden=16, pooling="keypoints", feedback="mean", num_hypotheses=hypotheses
    )
    return Regressor(spec).eval()


def saved_regressor(directory: Path) -> Regressor:
    model = tiny_regressor()
    save_module(directory, model.state_dict(), {"spec": model.spec.to_json(), "image_size": 32})
    return model


def test_round_trip_of_every_type_and_the_meta(tmp_path: Path) -> None:
    meta = {"spec": {"x": 1}, "history": [0.5, 1e-9], "name": "lambda ü"}
    save_module(tmp_path, STATE, meta)
    state, back = load_module(tmp_path)
    assert back == meta == read_meta(tmp_path) == json.loads((tmp_path / META).read_text())
    assert {k: v.dtype for k, v in state.items()} == {k: v.dtype for k, v in STATE.items()}
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    save_module(tmp_path / "a", STATE, {"x": 1, "y": 2})
    save_module(tmp_path / "b", dict(reversed(STATE.items())), {"y": 2, "x": 1})
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


def test_transposed_and_sliced_tensors_keep_their_values(tmp_path: Path) -> None:
    base = torch.arange(12.0).view(3, 4)
    save_module(tmp_path, {"t": base.t(), "s": base[:, 1:3]}, {})
    state, _ = load_module(tmp_path)
    assert torch.equal(state["t"], base.t())
    assert torch.equal(state["s"], base[:, 1:3])


def test_regressor_is_the_same_function_after_loading(tmp_path: Path) -> None:
    model = saved_regressor(tmp_path)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        before, after = model(images), load_regressor(tmp_path)(images)
    assert all(torch.equal(x, y) for x, y in zip(before[:4], after[:4], strict=True))
    assert not load_regressor(tmp_path).training


@pytest.mark.parametrize("architecture", ["permutations", "bernoulli"])
def test_prior_is_the_same_density_after_loading(tmp_path: Path, architecture: str) -> None:
    spec = PriorSpec(couplings=2, hidden=8, architecture=architecture, dropout=0.2)
    prior = SkeletonPrior(spec).eval()
    save_module(tmp_path, prior.state_dict(), {"spec": spec.to_json()})
    skeletons = torch.randn(4, 24, 3)
    assert load_prior(tmp_path).spec == spec
    with torch.no_grad():
        torch.testing.assert_close(
            load_prior(tmp_path).log_prob(skeletons), prior.log_prob(skeletons), rtol=0, atol=0
        )


def test_a_crash_while_writing_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_module(tmp_path, STATE, {"step": 1})
    before = (tmp_path / WEIGHTS).read_bytes()

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        save_module(tmp_path, {"a": torch.zeros(2)}, {"step": 2})
    assert (tmp_path / WEIGHTS).read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [META, WEIGHTS]
    assert load_module(tmp_path)[1] == {"step": 1}


def test_numbers_that_json_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_module(tmp_path, STATE, {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def _without(name: str) -> Callable[[dict[str, Tensor]], None]:
    def change(state: dict[str, Tensor]) -> None:
        del state[name]

    return change


def _with(name: str, tensor: Tensor) -> Callable[[dict[str, Tensor]], None]:
    return lambda state: state.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("head.fc2.bias"), "no tensor 'head.fc2.bias'"),
        (_with("head.extra", torch.zeros(1)), "'head.extra' has no place in the network"),
        (
            _with("head.fc2.bias", torch.zeros(5)),
            r"'head.fc2.bias' has shape \(5,\), expected \(16,\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], None], message: str
) -> None:
    model = tiny_regressor()
    state = dict(model.state_dict())
    change(state)
    save_module(tmp_path, state, {"spec": model.spec.to_json()})
    with pytest.raises(UserError, match=rf"weights\.safetensors: .*{message}"):
        load_regressor(tmp_path)


@pytest.mark.parametrize("spec", [{"couplings": 2}, None, {"width": 8, "wings": 2}])
def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, spec: object) -> None:
    save_module(tmp_path, STATE, {"spec": spec} if spec else {})
    with pytest.raises(UserError, match=r"meta\['spec'\] is not a RegressorSpec"):
        load_regressor(tmp_path)


def test_damaged_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"weights\.safetensors: no such checkpoint"):
        load_module(tmp_path)
    save_module(tmp_path, STATE, {})
    whole = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(whole[:-4])
    with pytest.raises(UserError, match="damaged checkpoint"):
        load_module(tmp_path)
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(flipped)
    with pytest.raises(UserError, match="its weights differ from their checksum"):
        load_module(tmp_path)
    save_file(STATE, tmp_path / WEIGHTS)
    with pytest.raises(UserError, match="it was not written by multibodies"):
        load_module(tmp_path)


def test_identity_is_of_weights_and_recipe_alone(tmp_path: Path) -> None:
    save_module(tmp_path / "a", STATE, {"spec": {"x": 1}, "seconds": 1.5})
    save_module(tmp_path / "b", STATE, {"spec": {"x": 1}, "seconds": 2.5})
    save_module(tmp_path / "c", STATE, {"spec": {"x": 2}})
    save_module(tmp_path / "d", {**STATE, "a": STATE["a"] + 1}, {"spec": {"x": 1}})
    a, b, c, d = (identity(tmp_path / name) for name in "abcd")
    assert a == b
    assert len({a, c, d}) == 3
