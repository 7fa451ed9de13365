"""Files that are no checkpoints, or more than that: refused in one sentence, never executed."""

from __future__ import annotations

import argparse
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import checkpoint_lookalikes as lookalikes
from multibodies.errors import UserError
from multibodies.imports import readers
from multibodies.imports.readers import read_state

STATE = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}


class Hostile:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


class HostileCommand(Hostile):
    """The same by a shell."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_of_pytorch_are_read(tmp_path: Path, zipped: bool) -> None:
    file = tmp_path / "x.pt"
    file.write_bytes(lookalikes.saved(STATE, zipped=zipped))
    loaded = read_state(file)
    assert all(torch.equal(loaded.tensors[name], STATE[name]) for name in STATE)
    assert (loaded.not_tensors, loaded.notes) == ((), ())


def test_safetensors_are_read_and_when_damaged_named(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file(STATE, file)
    assert torch.equal(read_state(file).tensors["a"], STATE["a"])
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"x\.safetensors: not a whole .safetensors file"):
        read_state(file)


def test_container_and_data_parallel_are_taken_off_and_told(tmp_path: Path) -> None:
    file = tmp_path / "x.pt"
    wrapped = {"state_dict": {f"module.{k}": v for k, v in STATE.items()}, "epoch": 90}
    file.write_bytes(lookalikes.saved(wrapped))
    loaded = read_state(file, ("state_dict", "model"))
    assert set(loaded.tensors) == {"a", "b"}
    assert loaded.notes == (
        "read its 'state_dict'; beside it lay epoch",
        "took off the prefix 'module.' (DataParallel)",
    )


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", [Hostile, HostileCommand])
def test_a_hostile_pickle_is_refused_and_not_executed(
    tmp_path: Path, kind: type[Hostile], zipped: bool
) -> None:
    marker, file = tmp_path / "marker", tmp_path / "x.pt"
    file.write_bytes(lookalikes.saved({"model": kind(marker)}, zipped=zipped))
    with pytest.raises(UserError, match=r"x\.pt: its pickle needs the global '[\w.]+'.*not be"):
        read_state(file)
    assert not marker.exists()


def test_a_bare_hostile_pickle_is_not_executed_either(tmp_path: Path) -> None:
    marker, file = tmp_path / "marker", tmp_path / "x.pkl"
    content = pickle.dumps(Hostile(marker))
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.pkl"):
        read_state(file)
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists()  # it would have


@pytest.mark.parametrize("content", [argparse.Namespace(lr=1), torch.nn.Linear(1, 1)])
def test_other_peoples_classes_are_named(tmp_path: Path, content: object) -> None:
    file = tmp_path / "x.pt"
    file.write_bytes(lookalikes.saved({"model": STATE, "args": content}))
    name = f"{type(content).__module__}.{type(content).__qualname__}"
    with pytest.raises(UserError, match=f"needs the global '{name}'.*save only the tensors"):
        read_state(file, ("model",))


WHOLE = lookalikes.saved(STATE)
OLD = lookalikes.saved(STATE, zipped=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds 0 bytes"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (WHOLE[:-60], "truncated, damaged or not a PyTorch checkpoint"),
        (WHOLE[: len(WHOLE) // 2], "truncated"),
        (OLD[:-5], "truncated"),
        (OLD[:40], "truncated"),
        (b"hello world", "truncated, damaged or not"),
        (lookalikes.saved([1, 2]), "holds a list, expected a state dict"),
        (lookalikes.saved({"epoch": 3}), "no state dict: expected named tensors, found epoch"),
        (lookalikes.saved({}), "found nothing"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "x.pt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=rf"x\.pt: .*{message}") as caught:
        read_state(file)
    assert "weights_only" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.pt"):
        with pytest.raises(UserError, match="no such file"):
            read_state(path)


def test_files_that_would_swell_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(1_000_000))
    monkeypatch.setattr(readers, "MAX_BYTES", 100_000)
    assert file.stat().st_size < 100_000
    with pytest.raises(UserError, match="holds 1000000 bytes, expected 1 to 100000"):
        read_state(file)


def test_torchscript_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x/constants.pkl", b"")
        archive.writestr("x/version", b"3")
        archive.writestr("x/data.pkl", b"")
    with pytest.raises(UserError, match=r"x\.pt: (a TorchScript archive|truncated)"):
        read_state(file)
