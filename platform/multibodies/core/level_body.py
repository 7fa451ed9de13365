"""The joints-only body for small batches: joints at one depth of the tree are posed together.

A pass over 32 bodies is bound by the number of operations, of which this has a seventh of
`JointBody`'s: 2.5 times as fast, forward and backward, and 1.5 times at 256. Autograd keeps more of
it between the two: best-of-M's thousands of bodies are better off with `JointBody`. Shapes: B body,
K joint, J = 24 kinematic joints, P pairs; inside, the batch comes last. Metres.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from multibodies.core.joint_body import PosedPoints


class LevelBody(nn.Module):
    """The same function as the `PosedPoints` from whose tables it is made, up to rounding."""

    offsets: Tensor  # [3 J, 11], coordinates first, joints by depth
    shape: Tensor  # [3 P, 11], coordinates first
    pose: Tensor  # [3 P, 207]
    mix: Tensor  # [K, P + J]
    sequence: Tensor  # [J] joints by depth
    of_pair: Tensor  # [P] where a pair's joint is among them

    def __init__(self, points: PosedPoints) -> None:
        super().__init__()
        levels = levels_of(points.parents)
        sequence = torch.tensor([j for level in levels for j in level])
        pairs = torch.arange(len(sequence)).repeat_interleave(torch.tensor(points.pairs_of))
        kinematic = len(pairs) + sequence  # columns of mix
        tables = {
            "sequence": sequence,
            "of_pair": sequence.argsort()[pairs],
            "offsets": _coordinates_first(points.offsets.unflatten(0, (-1, 3))[sequence]),
            "shape": _coordinates_first(points.shape.unflatten(0, (-1, 3))),
            "pose": _coordinates_first(points.pose.unflatten(0, (-1, 3))),
            "mix": points.mix[:, torch.cat([torch.arange(len(pairs)), kinematic])].contiguous(),
        }
        for depth, (above, joints) in enumerate(pairwise(levels), 1):
            tables[f"above_{depth}"] = torch.tensor(
                [above.index(points.parents[j]) for j in joints]
            )
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
        self.sizes = [len(level) for level in levels]

    def forward(self, rotations: Tensor, beta: Tensor) -> Tensor:
        """Rotations [B, 24, 3, 3] relative to the parent, beta [B, 10] -> points [B, K, 3]."""
        count = len(beta)
        local = rotations.reshape(count, -1).t()
        ones_beta = torch.cat([beta.new_ones(1, count), beta.t()])
        points = torch.addmm(self.shape @ ones_beta, self.pose, local[9:]).view(3, -1, count)
        turns = local.view(-1, 3, 3, count)[self.sequence].permute(1, 2, 0, 3)
        world, places = self.chained(turns, (self.offsets @ ones_beta).view(3, -1, count))
        turned = (world[:, :, self.of_pair] * points).sum(1)
        return (self.mix @ torch.cat([turned, places], 1)).permute(2, 1, 0)

    def root(self, beta: Tensor) -> Tensor:
        """Place of the root joint, about which its rotation turns the body: [B, 10] -> [B, 3]."""
        first = self.offsets.unflatten(0, (3, -1))[:, 0]
        return first[:, 0] + beta @ first[:, 1:].t()

    def chained(self, turns: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Forward kinematics of joints by depth: turns [3, 3, J, B] and bone offsets [3, J, B] ->
        global rotations [3, 3, J, B] and positions [3, J, B]."""
        own, bones = turns.split(self.sizes, 2), offsets.split(self.sizes, 1)
        world, places = [own[0]], [bones[0]]
        for depth in range(1, len(self.sizes)):
            above = self.get_buffer(f"above_{depth}")
            parents = world[-1][:, :, above]
            world.append((parents[:, :, None] * own[depth]).sum(1))
            places.append(places[-1][:, above] + (parents * bones[depth]).sum(1))
        return torch.cat(world, 2), torch.cat(places, 1)


def levels_of(parents: tuple[int, ...]) -> list[list[int]]:
    """Return the joints at each depth of the tree, the root first."""
    depth: list[int] = []
    for parent in parents:
        depth.append(0 if parent < 0 else depth[parent] + 1)
    return [[j for j, d in enumerate(depth) if d == level] for level in range(max(depth) + 1)]


def _coordinates_first(table: Tensor) -> Tensor:
    """[N, 3, C] -> [3 N, C]."""
    return table.transpose(0, 1).flatten(0, 1).contiguous()
