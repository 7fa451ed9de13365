"""Evaluation protocols: which joints, centred and aligned how, of which images. A name beside every
number.

Facts from SPIN's evaluation (nkolot/SPIN, eval.py and datasets/preprocess/h36m.py) and the paper's
released code. Which frames and cameras a split holds is settled when its dataset is prepared;
scoring scores every image of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from multibodies.config import EvaluationConfig
from multibodies.core.joints import H36M_TO_J14, H36M_TO_J17
from multibodies.errors import UserError, nearest

AUTO = "auto"
TRUTH_CENTRES = {"pelvis": (0,), "mid_hips": (1, 4)}  # H36M joints whose mean is the truth's origin
ALIGNMENTS = {"similarity": "Procrustes with scale", "rigid": "Procrustes without scale"}


@dataclass(frozen=True)
class Protocol:
    """How one dataset is scored.

    joints, root, truth_root: rows of the regressor (H36M's 17 joints); both roots as sets whose
    mean is the origin. frames: every how many-th; cameras: () for all; changed: the settings in
    which it departs from the named protocol.
    """

    name: str
    version: int
    datasets: tuple[str, ...]
    joints: tuple[int, ...] = H36M_TO_J14
    regressor: str = "H36M"
    root: tuple[int, ...] = (0,)
    truth_root: tuple[int, ...] = (0,)
    alignment: str = "similarity"
    frames: int = 1
    cameras: tuple[str, ...] = ()
    note: str = ""
    changed: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """`name@version`, with `+setting` for each departure: what stands beside a number."""
        return "+".join((f"{self.name}@{self.version}", *self.changed))

    @property
    def label(self) -> str:
        """The key and what it means, for captions."""
        other = self.truth_root if self.truth_root != self.root else ()
        parts = [
            f"{self.key}: {len(self.joints)} of {self.regressor}'s 17 joints",
            f"root at joint {_words(self.root)}",
            *([f"truth's root at joints {_words(other)}"] if other else []),
            ALIGNMENTS[self.alignment],
            "all frames" if self.frames == 1 else f"every {self.frames}th frame",
            *([f"camera {_words(self.cameras)}"] if self.cameras else []),
            *([self.note] if self.note else []),
        ]
        return ", ".join(parts)


H36M = "S9 and S11"
GENDERED = "truth from the gendered mesh"
PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("embedded", 1, ("lab", "wild", "alab", "awild")),
        Protocol(
            "h36m-p2", 1, ("h36m", "ah36m"), frames=5, cameras=("60457274",), note=f"{H36M} (#2)"
        ),
        Protocol(
            "h36m-p1",
            1,
            ("h36m-p1", "ah36m-p1", "h36m", "ah36m"),
            frames=5,
            note=f"{H36M}, all cameras (#1)",
        ),
        Protocol(
            "ah36m", 1, ("ah36m",), frames=5, cameras=("60457274",), note=f"{H36M}, parts hidden"
        ),
        Protocol("3dpw", 1, ("3dpw",), note=f"test split, {GENDERED}"),
        Protocol("a3dpw", 1, ("a3dpw",), note=f"test split, {GENDERED}, parts hidden"),
        Protocol("mpii3d", 1, ("mpii3d",), joints=H36M_TO_J17, note="test split TS1 to TS6"),
    )
}
OWN = {name: PROTOCOLS["embedded"] for name in PROTOCOLS["embedded"].datasets} | {
    "h36m": PROTOCOLS["h36m-p2"],
    "h36m-p1": PROTOCOLS["h36m-p1"],
    "ah36m-p1": PROTOCOLS["h36m-p1"],
    **{name: PROTOCOLS[name] for name in ("ah36m", "3dpw", "a3dpw", "mpii3d")},
}


def dataset_of(split: str) -> str:
    """Return the dataset whose protocol a split is scored by: `h36m-p1-test` -> `h36m-p1`."""
    return split.rpartition("-")[0]


def protocol_of(evaluation: EvaluationConfig, dataset: str) -> Protocol:
    """Return the protocol by which a dataset (`wild`, `3dpw`) is scored under these settings.

    "auto" is the dataset's own. A named one is for its own datasets and for those that have none:
    H36M's protocol does not touch 3DPW. Raises UserError on an unknown name, and under "auto" on a
    dataset without a protocol.
    """
    named = evaluation.protocol
    if named not in (AUTO, *PROTOCOLS):
        hint = nearest(named, (AUTO, *PROTOCOLS))
        raise UserError(f"evaluation.protocol: unknown protocol '{named}'{hint}")
    if named == AUTO and dataset not in OWN:
        raise UserError(
            f"dataset '{dataset}' has no protocol of its own{nearest(dataset, OWN)}; "
            f"set evaluation.protocol to one of {', '.join(PROTOCOLS)}"
        )
    if named != AUTO and (dataset in PROTOCOLS[named].datasets or dataset not in OWN):
        return _with_settings(PROTOCOLS[named], evaluation)
    return _with_settings(OWN[dataset], evaluation)


def label_of(key: str) -> str:
    """Return the label of a recorded key such as `embedded@1+rigid`.

    The key itself where this program does not know it, as of another version.
    """
    base, *changed = key.split("+")
    own = PROTOCOLS.get(base.partition("@")[0])
    if own is None or own.key != base or set(changed) - {*ALIGNMENTS, *TRUTH_CENTRES}:
        return key
    alignment = next((name for name in changed if name in ALIGNMENTS), own.alignment)
    roots = [TRUTH_CENTRES[name] for name in changed if name in TRUTH_CENTRES]
    root = roots[0] if roots else own.truth_root
    return replace(own, alignment=alignment, truth_root=root, changed=tuple(changed)).label


def _with_settings(own: Protocol, evaluation: EvaluationConfig) -> Protocol:
    """Apply the settings of alignment and centring, and name those that the protocol has not."""
    root = TRUTH_CENTRES[evaluation.truth_centre]
    departs = {
        evaluation.alignment: own.alignment != evaluation.alignment,
        evaluation.truth_centre: own.truth_root != root,
    }
    changed = tuple(name for name, differs in departs.items() if differs)
    return replace(own, alignment=evaluation.alignment, truth_root=root, changed=changed)


def _words(names: tuple[object, ...]) -> str:
    return " and ".join(map(str, names))
