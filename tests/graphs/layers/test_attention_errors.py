"""What the attention layer refuses."""

import math

import pytest
import torch
from torch_geometric.nn import TransformerConv

from graphs import GraphAttention

from .attention_fakes import DIAMOND, shaken


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"edge_index": torch.tensor([[0, 1], [1, 4]])}, ValueError, "expected nodes 0 .. 3, got edge 1 from 1 to 4"),
        ({"edge_index": torch.tensor([[0, -1], [1, 1]])}, ValueError, "edge 1 from -1 to 1"),
        ({"edge_index": torch.tensor([[0.0], [1.0]])}, TypeError, "edge_index: expected integers, got torch.float32"),
        ({"edge_index": torch.tensor([[0, 1, 2]])}, ValueError, r"edge_index: expected \(2, E\)"),
        ({"edge_index": torch.eye(4).to_sparse()}, TypeError, "edge_index: expected a dense integer tensor"),
        ({"edge_index": None}, ValueError, r"edge_index: expected \(2, E\), got None"),
        ({"x": torch.zeros(4, 3, dtype=torch.long)}, TypeError, "x: expected a floating-point tensor, got torch.int64"),
        ({"x": torch.zeros(4, 2)}, ValueError, r"x: expected \(nodes, 3\), got \(4, 2\)"),
        ({"edge_attr": torch.zeros(2, 1)}, ValueError, "edge_attr: expected None: this layer takes none"),
        ({"edge_weight": torch.ones(2)}, ValueError, "edge_weight: expected None: this layer takes none"),
        ({"batch": torch.zeros(3, dtype=torch.long)}, ValueError, r"batch: expected \(4,\), got \(3,\)"),
        ({"batch": torch.zeros(4)}, TypeError, "batch: expected integers"),
        ({"edge_weight": torch.ones(2, dtype=torch.long)}, TypeError, "edge_weight: expected a floating-point tensor"),
        ({"degree": torch.zeros(2)}, ValueError, r"degree: expected \(4,\)"),
    ],
)
def test_bad_input_is_named(changes, error, message):
    given = {"x": torch.randn(4, 3), "edge_index": torch.tensor([[0, 1], [1, 2]]), **changes}
    with pytest.raises(error, match=message):
        GraphAttention(3, 2)(**given)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_bad_weights_are_named(value):
    layer = GraphAttention(3, 2, structure=("log_weight",))
    weight = torch.tensor([1.0, value])
    with pytest.raises(ValueError, match=rf"edge_weight: expected numbers >= 0, got {value} at edge 1, from 1 to 2"):
        layer(torch.randn(4, 3), torch.tensor([[0, 1], [1, 2]]), edge_weight=weight)
    with pytest.raises(ValueError, match=r"edge_weight: expected a tensor \(2,\), got None"):
        layer(torch.randn(4, 3), torch.tensor([[0, 1], [1, 2]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 0}, "heads"),
        ({"dropout": 1.0}, "dropout"),
        ({"structure": ("size",)}, "structure: expected some of log_weight, degree, shortest_path"),
        ({"structure": ("degree", "degree")}, "each once"),
        ({"hops": 2, "structure": ("log_weight",)}, "hops"),
        ({"hops": 0}, "hops"),
        ({"gate": "x"}, "gate"),
        ({"duplicates": "keep"}, "duplicates"),
        ({"relations": 2, "relation_heads": [2]}, "relation_heads: expected 1 relations in 0 .. 1"),
        ({"in_channels": (3, 4), "global_attention": True}, "global_attention"),
        ({"max_distance": 0}, "max_distance"),
        ({"heads": 4, "global_heads": 3}, "global_heads"),
        ({"edge_dim": 0}, "edge_dim"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        GraphAttention(**{"in_channels": 3, "out_channels": 2, **options})


def test_an_edge_type_that_is_unknown_is_named():
    layer = GraphAttention(3, 2, relations=2)
    with pytest.raises(ValueError, match=r"edge_type: expected relations 0 .. 1, got 2"):
        layer(torch.randn(4, 3), torch.tensor([[0, 1], [1, 2]]), edge_type=torch.tensor([0, 2]))


def test_a_layer_of_sources_and_targets_has_no_global_branch_and_needs_degrees():
    x = torch.randn(3, 2), torch.randn(4, 2)
    with pytest.raises(ValueError, match="got sources and targets"):
        GraphAttention(2, 2, global_attention=True)(x, DIAMOND[:, :3])
    layer = shaken(GraphAttention(2, 2, structure=("degree",)))
    with pytest.raises(ValueError, match="degree: expected that of each source"):
        layer(x, DIAMOND[:, :3])
    assert layer(x, DIAMOND[:, :3], degree=torch.ones(3)).shape == (4, 2)


def test_weights_of_zero_and_relations_that_add_up_exclude_each_other():
    layer = GraphAttention(2, 2, structure=("log_weight",), relations=2)
    given = {"edge_type": torch.arange(6) % 2, "edge_weight": torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0, 1.0])}
    with pytest.raises(ValueError, match="edge_weight: expected numbers above 0 with relations"):
        layer(torch.randn(4, 2), DIAMOND, **given)
    own = GraphAttention(2, 2, 2, structure=("log_weight",), relations=2, relation_heads=[0, 1])
    assert own(torch.randn(4, 2), DIAMOND, return_attention=True, **given).edge_weights[0].tolist() == [0.0, 0.0]


def test_weights_without_a_place_are_not_lost():
    with pytest.raises(ValueError, match="leave lin_key"):
        GraphAttention.from_transformer_conv(TransformerConv(3, 2), shared_projection=True)
