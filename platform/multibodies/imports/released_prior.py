"""The released code's flow as a prior of ours, with Bernoulli masks and without whitening.

Its layout is that of src/networks/benvp/benvp.py and src/model.py in benjiebob/3D-Multibodies: one
mask [L, D]; L nets `t` and `s` of Linear layers 0, 3 and 6. It maps x to z from coupling L - 1 down
to 0, so that coupling i is our L - 1 - i. The flow's own file and the regressor's both hold it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from torch import Tensor

from multibodies.core.prior import PriorSpec, SkeletonPrior
from multibodies.errors import UserError
from multibodies.imports.adopt import Adopted, origin
from multibodies.imports.convert import Renamed, convert
from multibodies.imports.keymaps import KeyMap
from multibodies.imports.readers import read_state

MASK: Final = "model_realnvp.mask"
NETS: Final = {"s": "scale_net", "t": "shift_net"}
LAYERS: Final = {"0": "first", "3": "second", "6": "last"}
KEYMAP: Final = KeyMap(
    kind="multibodies-prior",
    version=1,
    absent=r"whitening\.(mean|std)",  # the identity: the released flow sees plain metres
    unused=((r"model\..*", "the regressor"), (r"smpl_mini\..*", "the body model")),
)


def adopt_prior(path: Path) -> Adopted:
    """Read a file that holds the released flow and make it a prior's weights.

    Raises UserError where it cannot be read, holds no such flow or one of other shapes.
    """
    loaded = read_state(path)
    mask = _mask(loaded.tensors, path)
    renamed = rename_prior(loaded.tensors, len(mask))
    first = loaded.tensors.get("model_realnvp.t.0.0.weight")
    if first is None:
        raise UserError(f"{path}: no 'model_realnvp.t.0.0.weight', whose rows tell the hidden size")
    spec = PriorSpec(
        couplings=len(mask),
        hidden=len(first),
        noise=0.0,
        joints=mask.shape[1] // 3,
        architecture="bernoulli",
        dropout=0.2,
    )
    state, report = convert(renamed, SkeletonPrior(spec).state_dict(), KEYMAP, path)
    meta = {"spec": spec.to_json(), "imported": origin(path, KEYMAP, report, loaded.notes)}
    return Adopted(state, meta, report)


def rename_prior(tensors: Mapping[str, Tensor], couplings: int) -> Renamed:
    """Give every tensor of the flow our name; the mask becomes one per coupling."""
    result = Renamed({}, {}, {})
    pattern = r"model_realnvp\.([st])\.(\d+)\.([036])\.(weight|bias)"
    for name, tensor in tensors.items():
        match = re.fullmatch(pattern, name)
        if match:
            net, i, layer, leaf = match.groups()
            ours = f"{_coupling(int(i), couplings)}.{NETS[net]}.{LAYERS[layer]}.{leaf}"
            result.tensors[ours], result.origin[ours] = tensor, name
        elif name != MASK:
            result.left_over[name] = KEYMAP.why_unused(name)
    for i, row in enumerate(tensors[MASK]):
        ours = f"{_coupling(i, couplings)}.mask"
        result.tensors[ours], result.origin[ours] = row, f"{MASK}[{i}]"
    return result


def _coupling(i: int, couplings: int) -> str:
    return f"flow.transform._transforms.{couplings - 1 - i}"


def _mask(tensors: Mapping[str, Tensor], path: Path) -> Tensor:
    """Return the masks [L, D] of zeros and ones, D = 3 K. Raises UserError."""
    mask = tensors.get(MASK)
    if mask is None:
        found = ", ".join(f"'{name}'" for name in list(tensors)[:3])
        raise UserError(f"{path}: no '{MASK}', which the released flow has; found {found}")
    plain = mask.ndim == 2 and mask.shape[1] % 3 == 0 and mask.numel() > 0
    if not plain or not bool(((mask == 0) | (mask == 1)).all()):
        raise UserError(
            f"{path}: '{MASK}' of shape {tuple(mask.shape)}, expected zeros and ones [L, 3 K]"
        )
    return mask
