"""Graph convolutions against SciPy's Laplacian and naive loops; the networks' gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import laplacian
from torch import Tensor
from torch.nn.functional import relu

from multibodies.core.graph import GraphBlock, GraphConvolution, group_norm, row_normalised
from multibodies.core.graph_head import GraphHead, GraphNetwork
from multibodies.core.spec import RegressorSpec

pytestmark = pytest.mark.slow

V, F = 12, 7
OPTIONS = {"vertices": V, "channels": 8, "blocks": 1}


def _edges(vertices: int = V, seed: int = 0) -> Tensor:
    """Return a ring with some chords, each edge in both directions."""
    rng = np.random.default_rng(seed)
    pairs = {(i, (i + 1) % vertices) for i in range(vertices)}
    pairs |= {tuple(sorted(rng.choice(vertices, 2, replace=False))) for _ in range(vertices)}
    both = {(int(a), int(b)) for a, b in pairs} | {(int(b), int(a)) for a, b in pairs}
    return torch.tensor(sorted(both)).t()


def _scipy(edges: Tensor, vertices: int) -> csr_matrix:
    return csr_matrix((np.ones(edges.shape[1]), tuple(edges.numpy())), (vertices, vertices))


@pytest.mark.parametrize("vertices", [V, 60])
def test_the_normalised_adjacency_is_the_identity_less_scipys_scaled_laplacian(
    vertices: int,
) -> None:
    """D^-1 (A + I) = I - D^-1 L, D the degrees with the loops, L = D_0 - A."""
    edges = _edges(vertices)
    graph = _scipy(edges, vertices)
    degree = np.asarray(graph.sum(1)).ravel() + 1
    expected = np.eye(vertices) - laplacian(graph).toarray() / degree[:, None]
    ours = row_normalised(edges, vertices).double().numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-7)
    np.testing.assert_allclose(ours.sum(1), 1, atol=1e-6)
    assert np.array_equal(ours > 0, (graph + csr_matrix(np.eye(vertices))).toarray() > 0)


def test_a_convolution_equals_a_loop_over_every_vertex_and_its_neighbours() -> None:
    edges, layer = _edges(), GraphConvolution(5).double()
    x = torch.randn(3, 5, V, dtype=torch.float64)
    weight, bias = layer.linear.weight, layer.linear.bias
    expected = torch.empty(3, 5, V, dtype=torch.float64)
    for v in range(V):
        around = [v, *edges[1][edges[0] == v].tolist()]
        expected[..., v] = torch.stack([x[..., u] @ weight.T for u in around]).mean(0) + bias
    torch.testing.assert_close(layer(x, row_normalised(edges, V).double()), expected)


def _norm(x: Tensor, groups: int) -> Tensor:
    """Normalise every image's groups of channels over channels and vertices, by loops."""
    parts = []
    for image in x:
        for group in image.chunk(groups):
            deviation = ((group - group.mean()).square().mean() + 1e-5).sqrt()
            parts.append((group - group.mean()) / deviation)
    return torch.cat(parts).view_as(x)


@pytest.mark.parametrize(("channels", "out"), [(16, 16), (32, 16), (16, 4)])
def test_a_block_equals_its_formula(channels: int, out: int) -> None:
    block, adjacency = GraphBlock(channels, out).double(), row_normalised(_edges(), V).double()
    x, inner = torch.randn(2, channels, V, dtype=torch.float64), out // 2
    y = relu(_norm(x, channels // 8))
    y = torch.einsum("oc,bcv->bov", block.first.weight, y) + block.first.bias[:, None]
    y = relu(_norm(y, max(1, inner // 8)))
    linear = block.convolution.linear
    y = torch.einsum("wv,oc,bcv->bow", adjacency, linear.weight, y) + linear.bias[:, None]
    y = relu(_norm(y, max(1, inner // 8)))
    y = torch.einsum("oc,bcv->bov", block.last.weight, y) + block.last.bias[:, None]
    skip = x
    if channels != out:
        own = dict(block.skip.named_parameters())
        skip = torch.einsum("oc,bcv->bov", own["weight"], x) + own["bias"][:, None]
    torch.testing.assert_close(block(x, adjacency), skip + y)


def test_group_norms_have_8_channels_a_group_or_one_group() -> None:
    assert [group_norm(c).num_groups for c in (2, 8, 12, 64)] == [1, 1, 1, 8]


def test_every_vertex_gets_the_template_and_the_images_feature() -> None:
    """The first layer equals one linear map of [template in [-1, 1], feature] at each vertex."""
    network, template = GraphNetwork(F, V, 8, 1), torch.randn(V, 3)
    features, seen = torch.randn(2, F), []
    next(network.trunk.children()).register_forward_hook(
        lambda _, inputs, __: seen.append(inputs[0])
    )
    network(features, template, torch.eye(V))
    box = (template.max(0).values + template.min(0).values) / 2
    place = (template - box) / (template - box).abs().max()
    assert float(place.abs().max()) == 1
    weight = torch.cat([network.place.weight, network.image.weight], 1)
    for b in range(2):
        for v in range(V):
            expected = weight @ torch.cat([place[v], features[b]]) + network.place.bias
            torch.testing.assert_close(seen[0][b, :, v], expected)


def test_the_mesh_does_not_depend_on_the_order_of_the_vertices() -> None:
    network, template = GraphNetwork(F, V, 16, 2), torch.randn(V, 3)
    adjacency, features = row_normalised(_edges(), V), torch.randn(2, F)
    order = torch.randperm(V)
    mesh = network(features, template, adjacency)[0]
    moved = network(features, template[order], adjacency[order][:, order])[0]
    torch.testing.assert_close(moved, mesh[:, order], atol=1e-5, rtol=1e-4)


@pytest.fixture
def head() -> GraphHead:
    made = GraphHead(F, RegressorSpec(hidden=16, options=OPTIONS))
    made.template.copy_(torch.randn(V, 3))
    made.adjacency.copy_(row_normalised(_edges(), V))
    return made


def _touched(head: GraphHead, value: Tensor) -> set[str]:
    """Return the children of the head for which a value has a gradient that is not 0."""
    head.zero_grad(set_to_none=True)
    value.backward(retain_graph=True)
    return {
        name.split(".")[0]
        for name, parameter in head.named_parameters()
        if parameter.grad is not None and bool(parameter.grad.any())
    }


def test_the_bodys_parameters_send_no_gradient_into_the_graph(head: GraphHead) -> None:
    state, mesh = head(torch.randn(2, F))
    assert state.shape == (2, 157)
    assert mesh.shape == (2, V, 3)
    assert _touched(head, state[:, :154].sum()) == {"regressor"}
    assert _touched(head, state[:, 154:].sum()) == {"graph"}
    assert _touched(head, mesh.sum()) == {"graph"}


def test_pose_and_shape_are_read_off_the_graphs_mesh_alone(head: GraphHead) -> None:
    features = torch.randn(2, F)
    state, mesh = head(features)
    other = GraphHead(F, RegressorSpec(hidden=16, options=OPTIONS))
    other.load_state_dict(head.state_dict())
    with torch.no_grad():
        other.graph.mesh_out.get_parameter("2.bias").add_(0.1)
    moved, shifted = other(features)
    torch.testing.assert_close(shifted, mesh + 0.1)
    assert not torch.allclose(moved[:, :154], state[:, :154])
    torch.testing.assert_close(moved[:, 154:], state[:, 154:])
