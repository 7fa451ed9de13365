"""The sections of a configuration: frozen, closed, typed. Defaults are the paper's values.

Where the paper and its released code differ, a setting holds both; `switches.py` lists them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from multibodies.config.section import Section

FeatureSet = Literal["j24", "j24_upright", "h36m14"]


class DataConfig(Section):
    """The dataset that `prepare` writes and everything later reads."""

    source: Literal[
        "embedded", "files", "h36m", "mpii3d", "3dpw", "coco", "lsp", "lspet", "mpii"
    ] = "embedded"  # files: datasets of several sets, prepared one by one
    image_size: int = Field(64, ge=16, le=512)  # pixels, square crop
    image_format: Literal["raw", "jpeg"] = "raw"  # of the shards' pictures
    jpeg_quality: int = Field(95, ge=50, le=100)
    context: float = Field(
        1.0, ge=1, le=3
    )  # of training splits of files: side of the stored picture over that of the crop
    heading_std_deg: float = Field(
        20.0, ge=0
    )  # spread of the body's heading about the camera; 180 = any
    lying_share: float = Field(0.0, ge=0, le=1)  # share of lying and floor poses that is kept
    occlusion_share: float = Field(
        0.5, ge=0, le=1
    )  # share of lab-train images hidden by the paper's strategies
    occlusion_head: Literal["head", "arms"] = "head"  # what the strategy "head" hides
    clutter: float = Field(0.5, ge=0, le=1)  # strength of background texture and of drawn occluders
    crop_padding: float = Field(
        0.15, ge=0
    )  # padding of the re-computed crop, share of the visible box's side
    crop_extra_px: int = Field(0, ge=0)  # pixels of the crop that its side is longer besides
    train_rows: int = Field(24000, ge=8)
    val_rows: int = Field(512, ge=8)  # rows of each val split
    test_rows: int = Field(512, ge=8)  # rows of each test split
    rows_per_shard: int = Field(1024, ge=1)
    seed: int = 0


class SplitsConfig(Section):
    """Which splits are learnt from, and on which the prior is judged."""

    train: str = "lab-train"  # "mix-train": all training splits of a collection, by `mix`
    val: str = "lab-val"


class BodyConfig(Section):
    """The body model, a file or the name of an imported one; None is the embedded, licence-free
    SMPL-format body.

    `male` and `female` are for true meshes of people whose gender a dataset knows, as 3DPW's.
    """

    path: str | None = None
    male: str | None = None
    female: str | None = None


class ModelConfig(Section):
    """The regressor G: trunk, pooling, and a head that gives M hypotheses."""

    trunk: Literal["resnet18", "resnet50"] = "resnet18"
    width: int = Field(64, ge=8)  # channels of the first stage; 64 is torchvision's
    pooling: Literal["average", "keypoints"] = (
        "average"  # keypoints: soft-argmax keypoints beside the average
    )
    head: Literal["stacked", "layer5"] = (
        "stacked"  # stacked: HMR's last layer M times larger; layer5: one HMR head, M features
    )
    hidden: int = Field(1024, ge=16)
    dropout: float = Field(0.5, ge=0, lt=1)
    iterations: int = Field(3, ge=1)
    feedback: Literal["all", "mean"] = (
        "all"  # what the stacked head reads back: every hypothesis' state, or their mean
    )
    rank: int = Field(
        0, ge=0
    )  # stacked: each hypothesis' decoder differs by a matrix of this rank; 0 = freely
    activation: Literal["none", "relu"] = "none"  # between fc1, fc2 and the decoders; SPIN has none
    mean_params: str | None = None  # HMR's start, smpl_mean_params.npz; None: an upright mean body
    trains: Literal["all", "head", "widened"] = (
        "all"  # in stage 2: everything, the head, or only the layers that grow with M
    )

    @property
    def freeze_trunk(self) -> bool:
        """Whether stage 2 leaves the trunk and the pooling as they are."""
        return self.trains != "all"

    @property
    def caches_features(self) -> bool:
        """Whether stage 2 can read pooled features, made once, instead of images."""
        return self.freeze_trunk and self.head == "stacked"


class LossConfig(Section):
    """Weights and forms of eq. 8 as the paper gives them; rb has no value in the paper, 1.0 in the
    released code."""

    ri: float = Field(1.0, ge=0)
    best: float = Field(25.0, ge=0)
    theta: float = Field(1.0, ge=0)
    beta: float = Field(0.001, ge=0)
    vertices: float = Field(1.0, ge=0)
    rb: float = Field(1.0, ge=0)
    depth: float = Field(0.0, ge=0)  # weight of exp(-10 s)^2, s the camera's scale
    form: Literal["norm", "squared"] = "norm"  # of every distance in eq. 1 and 5 to 7
    supervise_first: bool = False  # every best-hypothesis loss also on hypothesis 0
    ri_reduction: Literal["sum", "mean"] = (
        "sum"  # eq. 5 sums over hypotheses; the released code takes their mean
    )
    vertices_sampled: int = Field(
        0, ge=0
    )  # vertices in L_V, scaled to all of them; 0 = all (paper)
    heatmap: float = Field(0.0, ge=0)  # ours: cross-entropy of the keypoint pooling's heat maps

    def for_stage1(self) -> LossConfig:
        """Return the weights for M = 1: eq. 5 would repeat eq. 7, hypothesis 0 is the best."""
        return self.model_copy(update={"ri": 0.0, "supervise_first": False})


class AugmentConfig(Section):
    """SPIN's augmentation of training images; everything 0 leaves them as they are."""

    flip: float = Field(0.0, ge=0, le=1)  # share of mirrored images (SPIN: 0.5)
    rotation_deg: float = Field(0.0, ge=0, le=90)  # std, clipped at twice that (SPIN: 30)
    upright: float = Field(0.6, ge=0, le=1)  # share of images that are not turned
    scale: float = Field(0.0, ge=0, lt=1)  # std about 1, clipped at once that (SPIN: 0.25)
    noise: float = Field(0.0, ge=0, lt=1)  # channels times 1 - noise to 1 + noise (SPIN: 0.4)


class MixConfig(Section):
    """Shares of the training sets in a batch: SPIN's. Sets that share a number share it by size.

    A set that is not there leaves its share to the others.
    """

    h36m: float = Field(0.3, ge=0)
    mpii3d: float = Field(0.1, ge=0)
    wild: float = Field(0.6, ge=0)  # of coco, lsp, lspet and mpii together, by their sizes
    others: float = Field(0.0, ge=0)  # of all other sets together, by their sizes


class StageConfig(Section):
    """One training: stage 1 (M = 1) or stage 2 (best-of-M)."""

    num_hypotheses: int = Field(1, ge=1)
    steps: int = Field(1000, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-5, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup_steps: int = Field(0, ge=0)
    cosine: bool = False  # decay the learning rate to zero by a cosine
    drop_epoch: int = Field(0, ge=0)  # a tenth of the learning rate from this epoch on; 0 = never
    spread: float = Field(
        0.02, ge=0
    )  # stage 2: noise that tells the M copies of stage 1's decoder apart
    checkpoint_every: int = Field(500, ge=1)
    fresh_rows: int = Field(
        0, ge=0
    )  # stage 1: rows of each chunk of images rendered while it trains; 0 = the dataset's images
    seed: int = 0


class PriorConfig(Section):
    """RealNVP on skeletons, eq. 4."""

    architecture: Literal["permutations", "bernoulli"] = (
        "permutations"  # how couplings split the coordinates: ours, or the released random masks
    )
    couplings: int = Field(20, ge=2)
    hidden: int = Field(512, ge=8)
    dropout: float = Field(0.0, ge=0, lt=1)  # in the couplings' nets
    frame: Literal["body", "camera"] = "body"  # body: identity root rotation; camera: as seen
    noise_mm: float = Field(
        20.0, ge=0
    )  # Gaussian noise on the joints while fitting (dequantisation)
    std_floor_mm: float = Field(10.0, gt=0)  # bounded whitening
    steps: int = Field(2000, ge=1)
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    seed: int = 0


class EvaluationConfig(Section):
    """From M hypotheses to n, and from n to numbers."""

    flow_weight: float = Field(
        1.0, ge=0
    )  # alpha: weights proportional to p^alpha; 0 uniform, 1 eq. 2
    n: tuple[int, ...] = (1, 5, 10, 25)
    features: FeatureSet = "j24"  # what K-means sees
    single: Literal["kmeans", "first"] = "kmeans"  # n = 1: K-means with K = 1, or hypothesis 0
    keep_first: bool = False  # n > 1: hypothesis 0, and K = n - 1 over the others
    representative: Literal["centroid", "medoid"] = "centroid"
    selection: Literal["strict", "official"] = "strict"
    alignment: Literal["similarity", "rigid"] = "similarity"  # of RE; rigid: without scale
    truth_centre: Literal["pelvis", "mid_hips"] = "pelvis"  # where MPJPE centres the truth
    pve: bool = False  # also per-vertex errors, of each output's medoid; meshes cost time
    protocol: str = "auto"  # a name of protocols.py; auto: the dataset's own
    restarts: int = Field(4, ge=1)
    splits: tuple[str, ...] = ("wild-test", "awild-test")
    bootstrap_samples: int = Field(2000, ge=100)
