"""The released flow imported is the same density; files without it, or with half of it, are
named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import checkpoint_lookalikes as lookalikes
from multibodies import cli
from multibodies.checkpoints import load_prior, read_meta
from multibodies.errors import UserError
from multibodies.imports.released_prior import adopt_prior

Capture = pytest.CaptureFixture[str]


def written(tmp_path: Path, content: dict[str, Any]) -> Path:
    file = tmp_path / "model_epoch_00000412.pth"
    file.write_bytes(lookalikes.saved({f"module.{k}": v for k, v in content.items()}))
    return file


def test_it_is_the_same_density(tmp_path: Path, capsys: Capture) -> None:
    flow = lookalikes.realnvp()
    file, out = written(tmp_path, flow), tmp_path / "out"
    assert cli.main(["import-checkpoint", "multibodies-prior", str(file), "--out", str(out)]) == 0
    prior = load_prior(out).double()
    skeletons = 0.3 * torch.randn(50, 24, 3, dtype=torch.float64)
    state = {name: tensor.double() for name, tensor in flow.items()}
    expected = lookalikes.run_realnvp(state, skeletons.flatten(1))
    assert float(expected.std()) > 0.1
    with torch.no_grad():
        torch.testing.assert_close(prior.log_prob(skeletons), expected, rtol=0, atol=1e-9)
    text = capsys.readouterr().out
    assert "a flow of 3 couplings" in text
    assert "missing    2: whitening.mean, whitening.std" in text
    assert read_meta(out)["spec"]["architecture"] == "bernoulli"


def test_the_regressors_file_holds_it_too(tmp_path: Path) -> None:
    whole = lookalikes.multibodies()
    file = written(tmp_path, {name.removeprefix("module."): t for name, t in whole.items()})
    adopted = adopt_prior(file)
    assert len(adopted.report.taken) == 3 * (1 + 2 * 6)
    assert set(adopted.report.left_over.values()) == {"the regressor", "the body model"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_realnvp.mask": None}, "no 'model_realnvp.mask', which the released flow has"),
        ({"model_realnvp.mask": torch.rand(3, 72)}, "expected zeros and ones"),
        ({"model_realnvp.mask": torch.ones(3, 70)}, r"of shape \(3, 70\), expected zeros and ones"),
        ({"model_realnvp.t.0.0.weight": None}, "whose rows tell the hidden size"),
        ({"model_realnvp.s.2.6.bias": None}, r"nothing for our 'flow.*0\.scale_net\.last\.bias'"),
        ({"model_realnvp.s.1.3.weight": torch.zeros(8, 9)}, r"shape \(8, 9\), expected \(8, 8\)"),
        ({"model_realnvp.s.1.3.bias": torch.full((8,), torch.nan)}, "s.1.3.bias' holds a NaN"),
    ],
)
def test_misfits_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    flow = {k: v for k, v in (lookalikes.realnvp() | change).items() if v is not None}
    with pytest.raises(UserError, match=rf"412\.pth: .*{message}"):
        adopt_prior(written(tmp_path, flow))


def test_options_of_a_regressor_are_refused(tmp_path: Path, capsys: Capture) -> None:
    file = written(tmp_path, lookalikes.realnvp())
    call = ["import-checkpoint", "multibodies-prior", str(file), "--out", str(tmp_path / "out")]
    assert cli.main([*call, "--num-hypotheses", "5"]) == 2
    assert "leave out the options" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
