"""HMR (Kanazawa et al., CVPR 2018): one hypothesis by iterative regression, and an adversarial
prior that holds the estimate of every iteration to bodies of real motions.

Shapes: B image, T iteration, D = 25 discriminators.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from multibodies.config import Config
from multibodies.core.body import BodyArrays
from multibodies.core.discriminators import Critic, adversarial_loss, critic_loss
from multibodies.core.heads import StackedHead
from multibodies.core.losses import total
from multibodies.core.objective import Labels, Loss, Objective, Outcome
from multibodies.core.regressor import Hypotheses, Parts, Regressor, RegressorSpec, parts_with
from multibodies.core.rotations import axis_angle_to_matrix
from multibodies.data.motions import Motions, identity_of, motions_of
from multibodies.systems.base import System
from multibodies.systems.recipes import seeded
from multibodies.training import Batch, Forward, Memory, build_objective, regressor_spec


class HMRHead(StackedHead):
    """HMR's regression, every iteration's state told; its critic takes no part in inference."""

    def __init__(self, features: int, spec: RegressorSpec) -> None:
        super().__init__(features, spec)
        self.critic = Critic(int(spec.options["critic_hidden"]), float(spec.options["critic_rate"]))

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, F] to the states [B, T, 157] after each iteration."""
        state, states = self.init_state.expand(len(features), -1), []
        for _ in range(self.spec.iterations):
            state = state + self._decode(self._hidden(features, state))[:, 0]
            states.append(state)
        return torch.stack(states, 1)


class HMR(Regressor):
    """The one-hypothesis regressor; while it trains, extras has the bodies of every iteration,
    `rotations` [B, T, 24, 3, 3] and `beta` [B, T, 10]."""

    head: HMRHead

    def parts(self, spec: RegressorSpec) -> Parts:
        """Make trunk, pooling and head."""
        return parts_with(spec, HMRHead)

    def from_features(self, features: Tensor, heatmaps: Tensor | None = None) -> Hypotheses:
        """Decode features [B, F] into one hypothesis, the last iteration's."""
        every = super().from_features(features)
        last = every.each(lambda x: x[:, -1:])
        extras = {"rotations": every.rotations, "beta": every.beta} if self.training else None
        return last._replace(heatmaps=heatmaps, extras=extras)


class Judged(Forward):
    """A training network that also lets the critic judge: its extras are scores [B, T, 25], of the
    estimates as the regressor's loss (`fooled`) and as the critic's (`fake`) takes them, and of as
    many real bodies (`real`)."""

    model: HMR

    def __init__(self, model: HMR, motions: Motions) -> None:
        super().__init__(model)
        self.motions = motions  # no buffers: DDP would send them to all workers with every step

    def forward(self, batch: Batch) -> Hypotheses:
        """Map a batch of rows to hypotheses with scores."""
        hypotheses, critic = super().forward(batch), self.model.head.critic
        assert hypotheses.extras is not None, "only a network that trains is judged"
        fake = hypotheses.extras["rotations"], hypotheses.extras["beta"]
        scores = {
            "fooled": critic.frozen(*fake),
            "fake": critic(*[x.detach() for x in fake]),
            "real": critic(*draw(self.motions, fake[1])),
        }
        return hypotheses._replace(extras=scores)


def draw(motions: Motions, like: Tensor) -> tuple[Tensor, Tensor]:
    """Draw real bodies with replacement, as many as `like` [..., 10] has and on its device:
    rotations [..., 24, 3, 3], beta [..., 10]."""
    rows = torch.randint(len(motions.beta), like.shape[:-1])
    theta, beta = (x[rows].to(like) for x in motions)
    return axis_angle_to_matrix(theta), beta


class HMRObjective(Loss):
    """Eq. 8 at M = 1 and the adversarial losses, each a mean over iterations as in HMR's code.

    The critic's is weighed by 1/rate, which gives its gradient the size that it has without a rate.
    """

    def __init__(self, supervised: Objective, adversarial: float, critic_rate: float) -> None:
        super().__init__()
        self.supervised = supervised
        own = {"adversarial": adversarial, "critic": 1 / critic_rate}
        self.weights = {**supervised.weights, **own}

    def forward(self, hypotheses: Hypotheses, labels: Labels) -> Outcome:
        """Return the value and terms per image."""
        outcome: Outcome = self.supervised(hypotheses, labels)
        scores = hypotheses.extras
        assert scores is not None, "only judged hypotheses have an adversarial loss"
        terms = {
            **outcome.terms,
            "adversarial": adversarial_loss(scores["fooled"]).mean(1),
            "critic": critic_loss(scores["real"], scores["fake"]).mean(1),
        }
        return outcome._replace(total=total(terms, self.weights), terms=terms)


class HMRSystem(System):
    """HMR as Table 1 compares it."""

    def network(self, spec: RegressorSpec) -> HMR:
        """Make the untrained network of a checkpoint's recipe."""
        return HMR(spec)

    def start(self, stage1: Regressor, config: Config, arrays: BodyArrays) -> HMR:
        """Begin with stage 1's regressor and new discriminators."""
        options = {name: getattr(config.hmr, name) for name in ("critic_hidden", "critic_rate")}
        spec = replace(regressor_spec(config.model, 1), system="hmr", options=options)
        with seeded(config):
            model = HMR(spec)
        model.load_state_dict({**model.state_dict(), **stage1.state_dict()})
        return model

    def forward(self, model: Regressor, config: Config, arrays: BodyArrays) -> nn.Module:
        """Let the critic judge against the configured motions. Raises UserError on bad files."""
        assert isinstance(model, HMR)
        return Judged(model, motions_of(config.hmr.motions, config.hmr.bodies, config.data))

    def objective(self, config: Config, arrays: BodyArrays, memory: Memory | None) -> Loss:
        """Make eq. 8 at M = 1 with the adversarial losses."""
        supervised = build_objective(arrays, config.loss.for_stage1())
        return HMRObjective(supervised, config.hmr.adversarial, config.hmr.critic_rate)

    def recipe(self, config: Config) -> dict[str, Any]:
        """Count the motions by content. Raises UserError on bad files."""
        return {"motions": identity_of(config.hmr.motions, config.hmr.bodies, config.data)}


SYSTEM = HMRSystem()
