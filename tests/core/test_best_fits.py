"""The dictionary of best fits: what is kept, forgotten, counted, saved and exchanged."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed
from torch.multiprocessing.spawn import spawn

from multibodies.checkpoints import load_module, save_module
from multibodies.core import best_fits
from multibodies.core.best_fits import BestFits
from multibodies.core.smplify import Fit


def fit_of(errors: list[float], seed: int = 0) -> Fit:
    """Return random fits of the given errors."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((24, 3), (10,), (3,))
    theta, beta, camera = (torch.randn(len(errors), *s, generator=generator) for s in shapes)
    return Fit(theta, beta, camera, torch.tensor(errors))


def _keys(*keys: int) -> Tensor:
    return torch.tensor(keys, dtype=torch.int64)


def test_an_unknown_row_has_an_infinite_error_and_was_never_seen() -> None:
    fit, visits = BestFits().recall(_keys(5, -(2**63)))
    assert torch.isinf(fit.error).all()
    assert visits.tolist() == [0, 0]


def test_only_better_fits_are_kept_and_every_visit_counts() -> None:
    fits, first, second = BestFits(), fit_of([3.0, 4.0]), fit_of([1.0, 9.0], seed=1)
    fits.update(_keys(7, -8), first, torch.tensor([True, True]))
    fits.update(_keys(-8, 7), second, torch.tensor([False, False]))
    kept, visits = fits.recall(_keys(7, -8, 9))
    assert kept.error.tolist() == [3.0, 4.0, torch.inf]
    assert visits.tolist() == [2, 2, 0]
    fits.update(_keys(-8), Fit(*(x[:1] for x in second)), torch.tensor([True]))
    kept, _ = fits.recall(_keys(-8, 7))
    for value, new, old in zip(kept, second, first, strict=True):
        assert torch.equal(value[0], new[0])
        assert torch.equal(value[1], old[0])


def test_of_a_row_that_is_seen_twice_at_once_the_smaller_error_stays() -> None:
    for order in ([2.0, 1.0, 3.0], [1.0, 3.0, 2.0]):
        fits, made = BestFits(), fit_of(order)
        fits.update(_keys(4, 4, 4), made, torch.tensor([True, True, True]))
        kept, visits = fits.recall(_keys(4))
        assert torch.equal(kept.theta[0], made.theta[order.index(1.0)])
        assert visits.tolist() == [3]


def test_it_grows_and_survives_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(best_fits, "FIRST_ROWS", 2)
    fits, made = BestFits(), fit_of([1.0, torch.inf, 2.0, 0.5, 3.0])
    better = torch.tensor([True, False, True, True, True])
    fits.update(_keys(3, 1, 2**62, -5, 9), made, better)
    save_module(tmp_path, fits.tensors(), {"step": 1})
    again = BestFits()
    again.restore(load_module(tmp_path)[0])
    for name, tensor in fits.tensors().items():
        assert torch.equal(again.tensors()[name], tensor), name
    kept, _ = again.recall(_keys(-5, 1))
    assert torch.equal(kept.beta[0], made.beta[3])
    assert torch.isinf(kept.error[1])
    later = fit_of([0.1, 0.2], seed=2)
    for memory in (fits, again):
        memory.update(_keys(77, 3), later, torch.tensor([True, True]))
    for name, tensor in fits.tensors().items():
        assert torch.equal(again.tensors()[name], tensor), name


def _worker(rank: int, port: int, folder: str) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    fits = BestFits()
    keys = _keys(1, 2) if rank == 0 else _keys(2, 3)
    made = fit_of([5.0, 4.0] if rank == 0 else [3.0, 6.0], seed=rank)
    fits.update(keys, made, torch.tensor([True, True]))
    save_module(Path(folder) / str(rank), fits.tensors(), {})
    distributed.destroy_process_group()


@pytest.mark.slow
def test_all_workers_hold_the_fits_of_all(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(_worker, (port, str(tmp_path)), nprocs=2)
    first, second = (load_module(tmp_path / str(rank))[0] for rank in range(2))
    assert first["key"].tolist() == [1, 2, 3]
    assert first["error"].tolist() == [5.0, 3.0, 6.0]
    assert first["visits"].tolist() == [1, 2, 1]
    assert all(torch.equal(first[name], second[name]) for name in first)
