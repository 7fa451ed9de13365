"""Checkpoints: a folder with weights.safetensors, whose header carries the meta, and meta.json, its
copy for people.

One file holds both, so no crash can pair new weights with an old recipe. Never a pickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor, nn

from multibodies.config import fingerprint
from multibodies.core.regressor import Regressor, RegressorSpec
from multibodies.errors import UserError
from multibodies.files import write_bytes
from multibodies.systems import system_of

if TYPE_CHECKING:
    from multibodies.core.prior import SkeletonPrior

WEIGHTS, META = "weights.safetensors", "meta.json"
Spec = TypeVar("Spec")


def save_module(
    directory: str | Path, state: Mapping[str, Tensor], meta: Mapping[str, Any]
) -> None:
    """Write a state dict and its meta (plain JSON values) atomically; the same input gives the same
    bytes.

    Raises UserError where the folder cannot be written; what was there before is then untouched.
    """
    directory = Path(directory)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    text = json.dumps(dict(meta), sort_keys=True, allow_nan=False)
    header = json.dumps({"meta": json.loads(text), "sha256": _digest(tensors)}, sort_keys=True)
    write_bytes(directory / WEIGHTS, save(tensors, {"multibodies": header}))
    write_bytes(directory / META, (json.dumps(json.loads(text), indent=2) + "\n").encode())


def load_module(directory: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back (state, meta).

    Raises UserError naming the file that is missing, truncated, damaged or not written by
    `save_module`.
    """
    path = Path(directory) / WEIGHTS
    header = _read_header(path)
    try:
        with safetensors.safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged checkpoint ({error}); make it again") from None
    if _digest(state) != header["sha256"]:
        raise UserError(
            f"{path}: damaged checkpoint (its weights differ from their checksum); make it again"
        )
    return state, header["meta"]


def load_into(module: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Load a state dict after checking every name and shape.

    Raises UserError naming `path` and the first tensor that is missing, left over or of another
    shape.
    """
    expected = module.state_dict()
    for name, tensor in expected.items():
        if name not in state:
            raise UserError(
                f"{path}: no tensor '{name}', which the network needs; is it another model's?"
            )
        if state[name].shape != tensor.shape:
            shapes = f"{tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
            raise UserError(f"{path}: tensor '{name}' has shape {shapes}; is it another model's?")
    for name in state:
        if name not in expected:
            raise UserError(
                f"{path}: tensor '{name}' has no place in the network; is it another model's?"
            )
    module.load_state_dict(dict(state))


def load_regressor(directory: str | Path) -> Regressor:
    """Build the regressor of a checkpoint, in evaluation mode.

    Raises UserError as load_module and load_into.
    """
    state, meta = load_module(directory)
    spec = _spec(RegressorSpec, meta, directory)
    model = system_of(spec.system).network(spec)
    load_into(model, state, Path(directory) / WEIGHTS)
    return model.eval()


def load_prior(directory: str | Path) -> SkeletonPrior:
    """Build the prior of a checkpoint, in evaluation mode.

    Raises UserError as load_module and load_into.
    """
    from multibodies.core.prior import PriorSpec, SkeletonPrior  # nflows is slow to import

    state, meta = load_module(directory)
    prior = SkeletonPrior(_spec(PriorSpec, meta, directory))
    load_into(prior, state, Path(directory) / WEIGHTS)
    return prior.eval()


def read_meta(directory: str | Path) -> dict[str, Any]:
    """Return a checkpoint's meta without reading its weights. Raises UserError."""
    return _read_header(Path(directory) / WEIGHTS)["meta"]


def identity(directory: str | Path) -> str:
    """Return 16 hex digits of the weights' checksum and the network's recipe; other meta does not
    count.
    """
    header = _read_header(Path(directory) / WEIGHTS)
    return fingerprint(header["sha256"], header["meta"].get("spec"))


def _read_header(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; train it first")
    try:
        with safetensors.safe_open(path, "pt") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})["multibodies"])
        return {"meta": dict(header["meta"]), "sha256": str(header["sha256"])}
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged checkpoint ({error}); make it again") from None
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path}: its header has no multibodies meta; it was not written by multibodies"
        ) from None


def _spec(kind: type[Spec], meta: Mapping[str, Any], directory: str | Path) -> Spec:
    try:
        return kind(**meta["spec"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{directory}: meta['spec'] is not a {kind.__name__} ({error})") from None


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, shapes, types and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
