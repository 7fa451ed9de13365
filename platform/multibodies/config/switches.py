"""Where the paper and its released code differ: one setting each, the paper's value the default.

README's table is made from this list (`make readme`), the profile `released` as well. Sources:
"3D Multi-bodies" (NeurIPS 2020) and benjiebob/3D-Multibodies (MIT, September 2022).
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Switch(NamedTuple):
    """One choice: in the paper's words, in the released code's, and as our setting.

    values: (paper, released code) of the setting `key`; note: what the setting does not cover.
    """

    what: str
    paper: str
    released: str
    key: str = ""
    values: tuple[Any, Any] = (None, None)
    note: str = ""


SWITCHES = (
    Switch(
        "which of the n outputs counts",
        "each metric takes its own minimum over the n",
        "one output serves both: the smallest squared error over 24 joints, mid-hip aligned, "
        "weighted by confidence",
        "evaluation.selection",
        ("strict", "official"),
    ),
    Switch(
        "n = 1",
        "K-means with K = 1",
        "hypothesis 0",
        "evaluation.single",
        ("kmeans", "first"),
    ),
    Switch(
        "n > 1",
        "K-means with K = n over all M",
        "hypothesis 0, and K = n - 1 over the others",
        "evaluation.keep_first",
        (False, True),
    ),
    Switch(
        "what a cluster returns",
        "its centroid",
        "its medoid: the hypothesis nearest to the centroid",
        "evaluation.representative",
        ("centroid", "medoid"),
    ),
    Switch(
        "features of K-means",
        "joints",
        "24 joints, mid-hip centred, not rotation-normalised",
        "evaluation.features",
        ("j24", "j24"),
        "also `j24_upright`, `h36m14`",
    ),
    Switch(
        "M, the number of hypotheses",
        "not stated; 100 is ours",
        "25 by default",
        "stage2.num_hypotheses",
        (100, 25),
    ),
    Switch(
        "extra supervision of hypothesis 0",
        "none",
        "every best-hypothesis loss is applied to it too",
        "loss.supervise_first",
        (False, True),
    ),
    Switch(
        "loss form",
        "norms",
        "squared errors; vertices L1 on the joint regressor's support",
        "loss.form",
        ("norm", "squared"),
    ),
    Switch("eq. 5 over hypotheses", "sum", "mean", "loss.ri_reduction", ("sum", "mean")),
    Switch("lambda_rb", "no value; 1.0 is ours", "1.0", "loss.rb", (1.0, 1.0)),
    Switch("depth term", "none", "exp(-10 s)^2, s the camera's scale", "loss.depth", (0.0, 1.0)),
    Switch(
        "regressor head",
        "HMR's last layer made M times larger",
        "a copy of ResNet's layer4 widened to 2048 M channels, one shared HMR head",
        "model.head",
        ("stacked", "layer5"),
    ),
    Switch(
        "layers that train in stage 2",
        "none stated as frozen",
        "only the widened convolution and its batch norm",
        "model.trains",
        ("all", "widened"),
    ),
    Switch(
        "input of the flow",
        "3D skeletons",
        "24 joints, root rotation = identity, mid-hip centred, metres, true shape",
        "prior.frame",
        ("body", "body"),
        "also `camera`",
    ),
    Switch(
        "flow, masks",
        "RealNVP",
        "random Bernoulli(.5), stored",
        "prior.architecture",
        ("permutations", "bernoulli"),
    ),
    Switch("flow, couplings", "RealNVP, no number", "20", "prior.couplings", (20, 20)),
    Switch("flow, width", "no number", "512", "prior.hidden", (512, 512)),
    Switch("flow, dropout", "none", "0.2", "prior.dropout", (0.0, 0.2)),
    Switch(
        "flow, noise on joints",
        "none stated; 20 mm is ours",
        "none",
        "prior.noise_mm",
        (20.0, 0.0),
    ),
    Switch(
        "optimiser's weight decay", "0 (Adam, 1e-5)", "5e-4", "stage2.weight_decay", (0.0, 0.0005)
    ),
    Switch("learning rate", "constant", "a tenth from epoch 15", "stage2.drop_epoch", (0, 15)),
    Switch("batch", "not stated; 64 is ours", "48", "stage2.batch_size", (64, 48)),
    Switch(
        'occlusion strategy "head"',
        "hides the head",
        'hides the arms (joints 6-11); its "none" crashes, ours hides nothing',
        "data.occlusion_head",
        ("head", "arms"),
    ),
    Switch(
        "crop after hiding, padding",
        "slightly padded box around the visible joints; 15 % is ours",
        "none",
        "data.crop_padding",
        (0.15, 0.0),
    ),
    Switch("crop after hiding, side", "the box's", "1 px longer", "data.crop_extra_px", (0, 1)),
    Switch(
        "protocol on H36M",
        "#2 in the text, #1 in the supplement",
        "#2: camera 60457274, S9 and S11, every 5th frame",
        "evaluation.protocol",
        ("auto", "h36m-p2"),
        "`auto` is h36m-p2 on H36M; also `h36m-p1`",
    ),
    Switch(
        "alignment of RE",
        '"rigid"; its numbers are those of the released code',
        "Procrustes with scale",
        "evaluation.alignment",
        ("similarity", "similarity"),
        "also `rigid`, without scale",
    ),
    Switch(
        "centring of the ground truth",
        "pelvis",
        "mid-hips for H36M ground truth, H36M joint 0 for predictions",
        "evaluation.truth_centre",
        ("pelvis", "mid_hips"),
    ),
)
