"""Rows contribute what they know: batches of 2D, SMPL or 3D labels alone, and of all kinds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from multibodies.core.body import JointBody, load_body
from multibodies.core.camera import project
from multibodies.core.loss_forms import FORMS
from multibodies.core.objective import TERMS, Labels, Objective
from multibodies.core.regressor import Hypotheses
from multibodies.core.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_rotation_6d,
)
from multibodies.core.skinning import VertexBody

M = 3
# a row's name tells what it knows: keypoints, joints in 3D, a body
BATCHES = {
    "2d": ["2d"] * 2,
    "smpl": ["smpl"] * 2,
    "3d": ["3d"] * 2,
    "mixed": ["2d", "smpl", "3d", "2d 3d", "2d smpl", "2d smpl 3d", ""],
    "nobody has 3d": ["2d", "smpl", "2d smpl"],
}
USES = {
    "keypoints": ("ri", "rb", "heatmap"),
    "joints": ("best",),
    "theta": ("theta", "vertices"),
    "beta": ("beta", "vertices"),
}
NEEDS = {"keypoints": "2d", "joints": "3d", "theta": "smpl", "beta": "smpl"}


@pytest.fixture(scope="module", params=["norm", "squared"])
def objective(request: pytest.FixtureRequest) -> Objective:
    arrays, form = load_body(), FORMS[request.param]
    joints = JointBody(arrays, ("j24",), dtype=torch.float64)
    vertices = VertexBody(arrays, 32, dtype=torch.float64, on_support=form.on_support)
    return Objective(joints, vertices, dict.fromkeys(TERMS, 1.0), "sum", form)


def _hypotheses(rows: int) -> Hypotheses:
    rotations = axis_angle_to_matrix(0.3 * torch.randn(rows, M, 24, 3, dtype=torch.float64))
    start = torch.tensor([0.9, 0.0, 0.0], dtype=torch.float64)
    camera = start + 0.05 * torch.randn(rows, M, 3, dtype=torch.float64)
    beta, maps = torch.randn(rows, M, 10).double(), torch.randn(rows, 24, 8, 8).double()
    made = Hypotheses(rotations, beta, camera, matrix_to_rotation_6d(rotations))
    return made.each(Tensor.requires_grad_)._replace(heatmaps=maps.requires_grad_())


def _labels(kinds: list[str]) -> Labels:
    """Return labels that are filled in where a row does not know them, and marked as unknown."""
    known = {k: torch.tensor([k in kind.split() for kind in kinds]) for k in ("2d", "3d", "smpl")}
    rows = len(kinds)
    seen = known["2d"][:, None, None].double().expand(rows, 24, 1)
    keypoints = torch.cat([torch.rand(rows, 24, 2).double() - 0.5, seen], -1)
    joints = torch.cat([torch.randn(rows, 24, 3), torch.ones(rows, 24, 1)], -1).double()
    theta, beta = 0.3 * torch.randn(rows, 24, 3).double(), torch.randn(rows, 10).double()
    return Labels(keypoints, joints, theta, beta, known["3d"].double(), known["smpl"].double())


def _gradients(objective: Objective, made: Hypotheses, labels: Labels, name: str) -> Tensor:
    """Return per row the largest gradient of a term in any output of the network."""
    term = objective(made, labels).terms[name].sum()
    if not term.requires_grad:
        return torch.zeros(len(labels.theta))
    outputs = [field for field in made if isinstance(field, Tensor)]
    found = torch.autograd.grad(term, outputs, allow_unused=True)
    sizes = [g.flatten(1).abs().amax(1) for g in found if g is not None]
    return torch.stack(sizes).amax(0)


@pytest.mark.parametrize("kinds", BATCHES.values(), ids=BATCHES)
def test_unknown_labels_have_exactly_no_gradient_and_known_ones_have(
    objective: Objective, kinds: list[str]
) -> None:
    made, labels = _hypotheses(len(kinds)), _labels(kinds)
    outcome = objective(made, labels)
    assert torch.isfinite(outcome.total).all()
    for label, terms in USES.items():
        for term in terms:
            gradient = _gradients(objective, made, labels, term)
            assert torch.isfinite(gradient).all()
            knows = torch.tensor([NEEDS[label] in kind.split() for kind in kinds])
            assert (gradient[~knows] == 0).all(), term
            assert (gradient[knows] > 0).all(), term
            assert (outcome.terms[term][~knows] == 0).all(), term


@pytest.mark.parametrize("label", USES)
def test_an_unknown_label_s_numbers_bear_on_nothing(objective: Objective, label: str) -> None:
    kinds = BATCHES["mixed"]
    made, labels = _hypotheses(len(kinds)), _labels(kinds)
    unknown = torch.tensor([NEEDS[label] not in kind.split() for kind in kinds])
    other = getattr(labels, label).clone()
    other[unknown] += 1.0
    if label == "keypoints":
        other[unknown, :, 2] = 0
    first, second = objective(made, labels), objective(made, labels._replace(**{label: other}))
    # a row that knows nothing at all still draws some index; what it costs is nothing
    assert torch.equal(first.best[:-1], second.best[:-1])
    assert torch.equal(first.total, second.total)


@pytest.mark.parametrize(
    ("kind", "truth"), [("3d", "joints"), ("2d", "keypoints"), ("smpl", "theta")]
)
def test_the_best_hypothesis_is_chosen_by_what_a_row_knows(
    objective: Objective, kind: str, truth: str
) -> None:
    """Hypothesis 2 fits each label in turn; all others fit it less."""
    rotations = axis_angle_to_matrix(0.4 * torch.randn(1, M, 24, 3, dtype=torch.float64))
    camera = torch.tensor([0.9, 0.0, 0.0], dtype=torch.float64).expand(1, M, 3)
    beta = torch.zeros(1, M, 10, dtype=torch.float64)
    made = Hypotheses(rotations, beta, camera, matrix_to_rotation_6d(rotations))
    labels = _labels([kind])
    skeleton = objective.skeletons(rotations, beta)[:, 2]
    right = {
        "joints": torch.cat([skeleton, torch.ones(1, 24, 1)], -1),
        "keypoints": torch.cat([project(skeleton, camera[:, 2]), torch.ones(1, 24, 1)], -1),
        "theta": matrix_to_axis_angle(rotations[:, 2]),
    }
    outcome = objective(made, labels._replace(**{truth: right[truth]}))
    assert outcome.best.tolist() == [2]
