"""GraphCMR: the image's feature at every vertex of a template graph, graph convolutions, then
SMPL's parameters from the mesh (Kolotouros, Pavlakos, Daniilidis, CVPR 2019).

Its hypothesis is the regressed SMPL body, by which the paper's Table 1 compares it. Stage 1 gives
trunk, pooling and mean parameters; the head starts at random, for stage 1's is of another kind.
Shapes: B image, V vertex of the coarse mesh, K = 24 joints (j24). Metres.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from multibodies.bodies.coarsening import coarsen
from multibodies.config import Config
from multibodies.core import losses
from multibodies.core.body import BodyArrays
from multibodies.core.camera import project
from multibodies.core.graph import row_normalised
from multibodies.core.graph_head import GraphHead
from multibodies.core.joint_body import PosedPoints, mesh_regressor
from multibodies.core.joints import centre_on_mid_hips
from multibodies.core.loss_forms import joint_error, reprojection_error, vertices_error
from multibodies.core.objective import Labels, Loss, Objective, Outcome
from multibodies.core.pooling import POOLINGS
from multibodies.core.regressor import Hypotheses, Regressor, RegressorSpec
from multibodies.core.resnet import ResNet
from multibodies.core.rotations import axis_angle_to_matrix, rotation_6d_to_matrix
from multibodies.core.spec import CAMERA, POSE, SHAPE
from multibodies.systems.base import System
from multibodies.systems.recipes import seeded
from multibodies.training import Memory, build_objective, regressor_spec

MESH = "graph_mesh"


class GraphRegressor(Regressor):
    """The regressor with GraphCMR's head: one hypothesis, and the graph's mesh for the loss."""

    def parts(self, spec: RegressorSpec) -> tuple[Any, nn.Module, Any]:
        """Make trunk, pooling and head."""
        trunk = ResNet(spec.trunk, spec.width)
        pooling = POOLINGS[spec.pooling](trunk.channels)
        return trunk, pooling, GraphHead(pooling.num_features, spec)

    def from_features(self, features: Tensor, heatmaps: Tensor | None = None) -> Hypotheses:
        """Decode features [B, F] into one hypothesis."""
        state, mesh = self.head(features)
        pose, beta, camera = state[:, None].split([POSE, SHAPE, CAMERA], -1)
        rotation_6d = pose.unflatten(-1, (24, 6))
        rotations = rotation_6d_to_matrix(rotation_6d)
        return Hypotheses(
            rotations,
            beta,
            camera,
            rotation_6d,
            heatmaps,
            extras={MESH: mesh} if self.training else None,
        )


class GraphObjective(Loss):
    """Eq. 8 of the SMPL body, and GraphCMR's losses of the graph's mesh.

    They are the vertices' L1 at the coarse vertices, and the joints and keypoints that the
    regressors of a mesh read off it: rows over the body's vertices times the upsampling, hence rows
    [K, V] over the coarse ones.
    """

    rows: Tensor

    def __init__(self, eq8: Objective, arrays: BodyArrays, config: Config) -> None:
        super().__init__()
        settings = config.graphcmr
        coarse = coarsen(arrays, settings.vertices)
        kept = torch.eye(len(arrays.v_template), dtype=torch.float64)[coarse.kept]
        self.eq8 = eq8
        self.truth = PosedPoints(arrays, kept.new_zeros(len(kept), 24), kept)
        rows = (coarse.upsampling.t() @ mesh_regressor(arrays, "j24").t()).t()
        self.register_buffer("rows", rows.float(), persistent=False)
        self.own = {
            "graph_vertices": settings.mesh,
            "graph_joints": settings.joints,
            "graph_keypoints": settings.keypoints,
        }
        self.weights = eq8.weights | self.own

    def forward(self, hypotheses: Hypotheses, labels: Labels) -> Outcome:
        """Return the loss and its terms per image."""
        assert hypotheses.extras is not None, "the network gives its mesh while it trains"
        outcome: Outcome = self.eq8(hypotheses, labels)
        terms = self.mesh_terms(hypotheses.extras[MESH], hypotheses.camera, labels)
        return outcome._replace(
            total=outcome.total + losses.total(terms, self.own), terms=outcome.terms | terms
        )

    def mesh_terms(self, mesh: Tensor, camera: Tensor, labels: Labels) -> dict[str, Tensor]:
        """Mesh [B, V, 3], camera [B, 1, 3] -> GraphCMR's losses [B]; unknown labels give 0."""
        with torch.no_grad():
            truth = self.truth(axis_angle_to_matrix(labels.theta), labels.beta)
        joints = (self.rows @ mesh)[:, None]
        wanted, confidence = labels.joints[..., :3], labels.joints[..., 3] * labels.has_3d[:, None]
        vertices = vertices_error(mesh, truth)
        centred = centre_on_mid_hips(joints), centre_on_mid_hips(wanted)
        return {
            "graph_vertices": torch.where(labels.has_smpl > 0, vertices, 0.0),
            "graph_joints": joint_error(*centred, confidence)[:, 0],
            "graph_keypoints": reprojection_error(project(joints, camera), labels.keypoints)[:, 0],
        }


class GraphCMR(System):
    """One hypothesis, from a head that no stage 1 has."""

    def network(self, spec: RegressorSpec) -> Regressor:
        """Make the untrained network of a checkpoint's recipe; it takes no body."""
        return GraphRegressor(spec)

    def spec(self, config: Config) -> RegressorSpec:
        """Return the recipe of the network."""
        shapes = config.graphcmr.model_dump(include={"vertices", "channels", "blocks"})
        return replace(regressor_spec(config.model, 1), system="graphcmr", options=shapes)

    def start(self, stage1: Regressor, config: Config, arrays: BodyArrays) -> Regressor:
        """Take all but the head from stage 1; draw the head with stage2.seed.

        Raises UserError where the body cannot be coarsened to graphcmr.vertices.
        """
        coarse = coarsen(arrays, config.graphcmr.vertices)
        with seeded(config):
            model = GraphRegressor(self.spec(config))
        model.trunk.load_state_dict(stage1.trunk.state_dict())
        model.pooling.load_state_dict(stage1.pooling.state_dict())
        head: Any = model.head
        head.template.copy_(arrays.v_template[coarse.kept])
        head.adjacency.copy_(row_normalised(coarse.edges, len(coarse.kept)))
        head.init_state.copy_(stage1.head.init_state)
        return model

    def objective(self, config: Config, arrays: BodyArrays, memory: Memory | None) -> Loss:
        """Make eq. 8 at M = 1 and GraphCMR's losses."""
        return GraphObjective(build_objective(arrays, config.loss.for_stage1()), arrays, config)


SYSTEM = GraphCMR()
