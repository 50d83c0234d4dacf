import copy
import math

import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.nn import HeteroConv, Sequential, TransformerConv

from graphs import GraphAttention, hop_pairs

from .attention_fakes import DIAMOND, random_graph, shaken, sizes


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("beta", [True, False])
@pytest.mark.parametrize(
    ("edge_dim", "root_weight", "bipartite"), [(None, True, False), (4, True, True), (4, False, False)]
)
@pytest.mark.parametrize("heads", [1, 3])
def test_equals_transformer_conv_with_copied_weights(heads, concat, beta, edge_dim, root_weight, bipartite):
    edge_index = random_graph(25)
    width = (5, 6) if bipartite else 5
    conv = TransformerConv(width, 8, heads, concat=concat, beta=beta, edge_dim=edge_dim, root_weight=root_weight)
    ours = GraphAttention.from_transformer_conv(conv)
    inputs = [torch.randn(25, 5, requires_grad=True)]
    if bipartite:
        inputs.append(torch.randn(25, 6, requires_grad=True))
    x = tuple(inputs) if bipartite else inputs[0]
    edge_attr = None
    if edge_dim:
        edge_attr = torch.randn(edge_index.shape[1], edge_dim, requires_grad=True)
        inputs.append(edge_attr)
    expected, (_, weights) = conv(x, edge_index, edge_attr, return_attention_weights=True)
    answer = ours(x, edge_index, edge_attr, return_attention=True)
    assert torch.allclose(answer.out, expected, atol=1e-12)
    assert torch.equal(answer.edge_index, edge_index)
    assert torch.allclose(answer.edge_weights, weights, atol=1e-12)
    direction = torch.randn_like(expected)
    theirs = dict(conv.named_parameters())
    names = [name for name, _ in ours.named_parameters()]
    a = torch.autograd.grad((answer.out * direction).sum(), [*inputs, *dict(ours.named_parameters()).values()])
    b = torch.autograd.grad((expected * direction).sum(), [*inputs, *(theirs[name] for name in names)])
    for one, other in zip(a, b, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_a_state_of_transformer_conv_loads_as_it_is():
    conv = TransformerConv(5, 4, heads=2, edge_dim=3, beta=True)
    layer = GraphAttention(5, 4, 2, edge_dim=3, beta=True)
    layer.load_state_dict(conv.state_dict())
    x, edge_index = torch.randn(9, 5), random_graph(9, 0.4)
    edge_attr = torch.randn(edge_index.shape[1], 3)
    assert torch.allclose(layer(x, edge_index, edge_attr), conv(x, edge_index, edge_attr), atol=1e-12)


def by_loops(layer, x, edge_index, edge_attr=None, weight=None, kind=None, degree=None):
    """The class's equation, head by head and node by node, for concatenated heads and without beta."""
    H, C, s = layer.heads, layer.out_channels, layer.structural
    q, k, v = (f(x).view(-1, H, C) for f in (layer.lin_query, layer.lin_key, layer.lin_value))
    out = torch.zeros(len(x), H, C)
    for i in range(len(x)):
        for h in range(H):
            edges = [e for e in range(edge_index.shape[1]) if edge_index[1, e] == i]
            logits, values = [], []
            for e in edges:
                j = int(edge_index[0, e])
                z = torch.zeros(C) if edge_attr is None else layer.lin_edge(edge_attr[e]).view(H, C)[h]
                logit = q[i, h] @ (k[j, h] + z) / math.sqrt(C)
                if weight is not None:
                    logit = logit + s.log_weight[h] * math.log(weight[e])
                if degree is not None:
                    logit = logit + s.degree[h] * math.log(1 + degree[j])
                if s.distance is not None:
                    logit = logit + s.distance[int(i != j), h]
                if kind is not None:
                    logit = logit + s.relation[kind[e], h]
                logits.append(logit / layer.temperature)
                values.append(v[j, h] + z)
            if edges:
                a = torch.stack(logits)
                out[i, h] = a.softmax(0) @ torch.stack(values)
                if layer.gate == "mass":
                    out[i, h] = a.exp() @ torch.stack(values)
            if layer.gate == "head":
                out[i, h] = out[i, h] * layer.lin_gate(x)[i, h].sigmoid()
            if layer.gate == "feature":
                out[i, h] = out[i, h] * layer.lin_gate(x)[i].view(H, C)[h].sigmoid()
    return out.flatten(1) + layer.lin_skip(x)


@pytest.mark.parametrize("gate", [None, "head", "feature", "mass"])
def test_structure_temperature_and_gate_follow_the_equation(gate):
    edge_index = torch.cat([random_graph(8, 0.3), torch.tensor([[2], [2]])], dim=1).unique(dim=1)
    E = edge_index.shape[1]
    layer = shaken(
        GraphAttention(
            3, 4, 2, edge_dim=2, structure=("log_weight", "degree", "shortest_path"), relations=3, gate=gate,
            temperature=1.7,
        )
    )  # fmt: skip
    x, edge_attr, weight = torch.randn(8, 3), torch.randn(E, 2), torch.rand(E) + 0.1
    kind = torch.arange(E) % 3
    degree = torch.bincount(edge_index[1], minlength=8).tolist()
    expected = by_loops(layer, x, edge_index, edge_attr, weight.tolist(), kind.tolist(), degree)
    answer = layer(x, edge_index, edge_attr, edge_weight=weight, edge_type=kind)
    assert torch.allclose(answer, expected, atol=1e-12)
    other = layer(x, edge_index, edge_attr, edge_weight=weight, edge_type=kind, degree=torch.full((8,), 5.0))
    assert torch.allclose(other, by_loops(layer, x, edge_index, edge_attr, weight, kind, [5.0] * 8), atol=1e-12)


def test_gradients_by_finite_differences():
    layer = shaken(GraphAttention(2, 2, 2, edge_dim=1, structure=("degree",), gate="head", global_attention=True))
    x = torch.randn(4, 2, requires_grad=True)
    edge_attr = torch.randn(6, 1, requires_grad=True)
    parameters = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    names = [name for name, _ in layer.named_parameters()]

    def f(x, edge_attr, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x, DIAMOND, edge_attr))

    assert torch.autograd.gradcheck(f, (x, edge_attr, *parameters), fast_mode=True)


def test_two_neighbours_by_hand():
    layer = GraphAttention(1, 1, structure=("log_weight",), root_weight=False, bias=False)
    with torch.no_grad():
        layer.lin_query.weight.zero_()
        layer.lin_value.weight.fill_(1.0)
    edge_index = torch.tensor([[0, 1], [2, 2]])
    answer = layer(torch.tensor([[10.0], [20.0], [0.0]]), edge_index, edge_weight=torch.tensor([1.0, 3.0]))
    assert answer[:, 0].tolist() == pytest.approx([0, 0, 17.5])  # weights 1/4 and 3/4
    layer.gate = "mass"
    answer = layer(torch.tensor([[10.0], [20.0], [0.0]]), edge_index, edge_weight=torch.tensor([1.0, 3.0]))
    assert answer[:, 0].tolist() == pytest.approx([0, 0, 70.0])  # 1 * 10 + 3 * 20
    answer = layer(torch.tensor([[10.0], [20.0], [0.0]]), edge_index, edge_weight=torch.tensor([0.0, 3.0]))
    assert answer[:, 0].tolist() == pytest.approx([0, 0, 60.0])  # an edge of weight 0 is none


@pytest.mark.parametrize("gate", [None, "mass"])
def test_a_weight_of_zero_has_no_gradient_of_nan(gate):
    layer = GraphAttention(2, 2, structure=("log_weight",), gate=gate)
    weight = torch.tensor([0.0, 0.0, 1.0, 2.0, 0.0, 1.0])
    layer(torch.randn(4, 2), DIAMOND, edge_weight=weight).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())


def test_duplicates_are_refused_or_merged():
    x, edge_index = torch.randn(3, 2), torch.tensor([[0, 1, 0, 2], [1, 1, 1, 0]])
    edge_attr, weight = torch.randn(4, 3), torch.tensor([1.0, 2.0, 5.0, 1.0])
    options = {"edge_dim": 3, "structure": ("log_weight",)}
    layer = shaken(GraphAttention(2, 2, **options))
    with pytest.raises(ValueError, match="expected one edge for each pair, got edges 0 and 2 from 0 to 1"):
        layer(x, edge_index, edge_attr, edge_weight=weight)
    once = torch.tensor([[2, 0, 1], [0, 1, 1]])  # by target, then source
    for how, share in (("sum", 1.0), ("mean", 0.5)):
        merged = GraphAttention(2, 2, **options, duplicates=how)
        merged.load_state_dict(layer.state_dict())
        answer = merged(x, edge_index, edge_attr, edge_weight=weight, return_attention=True)
        joint = torch.stack([edge_attr[3], (edge_attr[0] + edge_attr[2]) * share, edge_attr[1]])
        expected = layer(x, once, joint, edge_weight=torch.tensor([1.0, 6.0 * share, 2.0]))
        assert torch.allclose(answer.out, expected, atol=1e-12)
        assert torch.equal(answer.edge_index, once)


def test_isolated_nodes_self_loops_and_graphs_without_edges():
    layer = shaken(GraphAttention(3, 2, 2, edge_dim=1))
    x, edge_attr = torch.randn(4, 3), torch.randn(6, 1)
    answer = layer(x, DIAMOND, edge_attr, return_attention=True)
    assert torch.allclose(answer.out[0], layer.lin_skip(x[0]))  # nothing leads to node 0
    sums = torch.zeros(4, 2).index_add(0, DIAMOND[1], answer.edge_weights)
    assert torch.allclose(sums, torch.tensor([[0.0], [1.0], [1.0], [1.0]]).expand(4, 2))
    nothing = torch.zeros(2, 0, dtype=torch.long)
    assert torch.allclose(layer(x, nothing, torch.zeros(0, 1)), layer.lin_skip(x))
    assert layer(x[:0], nothing, torch.zeros(0, 1)).shape == (0, 4)
    alone = shaken(GraphAttention(3, 2, global_attention=True))
    assert alone(x[:0], nothing).shape == (0, 2)
    loop = alone(x[:1], torch.tensor([[0], [0]]), return_attention=True)
    assert loop.edge_weights.tolist() == [[1.0]] and loop.global_weights.weights.tolist() == [[[1.0]]]


def test_global_branch_follows_its_equation_and_its_weights_can_be_read():
    layer = shaken(
        GraphAttention(3, 4, 2, global_attention=True, structure=("degree", "shortest_path"), temperature=0.8)
    )
    edge_index, x = random_graph(10, 0.2), torch.randn(10, 3)
    batch = torch.tensor([0] * 6 + [1] * 4)
    edge_index = edge_index[:, batch[edge_index[0]] == batch[edge_index[1]]]
    branch = layer.global_branch
    q, k, v = (f(x).view(10, 2, 4) for f in (branch.lin_query, branch.lin_key, branch.lin_value))
    degree = torch.bincount(edge_index[1], minlength=10)
    near = hop_pairs(edge_index, 10, 3)
    far = torch.full((10, 10), 9).fill_diagonal_(0)
    far[near.index[1], near.index[0]] = near.distance
    logits = (
        torch.einsum("ihc,jhc->hij", q, k) / 2 + (branch.structural.degree * (1.0 + degree).log()[:, None]).T[:, None]
    )
    for distance in range(4):
        logits = logits + branch.structural.distance[distance][:, None, None] * (far == distance)
    logits = (logits / 0.8).masked_fill(batch[:, None] != batch, -math.inf)
    weights = logits.softmax(-1)
    expected = layer(x, edge_index, batch=batch, return_attention=True)
    edges_alone = copy.deepcopy(layer)
    edges_alone.global_branch = None
    across = torch.einsum("hij,jhc->ihc", weights, v) * layer.global_scale[:, None]
    assert torch.allclose(expected.out, edges_alone(x, edge_index, batch=batch) + across.flatten(1), atol=1e-12)
    top = weights.transpose(0, 1).topk(8, dim=-1)
    found = expected.global_weights
    assert torch.allclose(found.weights, top.values, atol=1e-12)
    assert torch.equal(found.keys.ge(0), top.values > 0) and found.weights[9, 0, 4:].tolist() == [0.0] * 4
    assert torch.equal(found.keys[:6, :, :6], top.indices[:6, :, :6])


def test_dropout_drops_a_whole_edge_and_keeps_the_mean():
    layer = GraphAttention(2, 3, 2, edge_dim=2, dropout=0.5, root_weight=False, bias=False)
    edge_index = random_graph(12, 0.5)
    x, edge_attr = torch.ones(12, 2), -torch.ones(edge_index.shape[1], 2)
    with torch.no_grad():
        layer.lin_edge.weight.copy_(layer.lin_value.weight)  # v + z = 0 on every edge
    assert layer(x, edge_index, edge_attr).abs().max() < 1e-12
    edge_attr = torch.randn(edge_index.shape[1], 2)
    draws = torch.stack([layer(x, edge_index, edge_attr) for _ in range(200)])
    expected = layer.eval()(x, edge_index, edge_attr)
    deviations = (draws.mean(0) - expected) / (draws.std(0) / 200**0.5).clamp_min(1e-9)
    assert 0.5 < deviations[:-1].square().mean() < 2  # the last node has no incoming edge


def test_relations_add_up_or_have_heads_of_their_own():
    x = torch.randn(3, 2)
    edge_index, kind = torch.tensor([[0, 1, 0], [2, 2, 2]]), torch.tensor([0, 0, 1])
    layer = shaken(GraphAttention(2, 2, 2, relations=2, root_weight=False))
    answer = layer(x, edge_index, edge_type=kind, return_attention=True)
    q, k = layer.lin_query(x[2]).view(2, 2), layer.lin_key(x[:2]).view(2, 2, 2)
    logits = torch.einsum("hc,jhc->jh", q, k) / math.sqrt(2) + layer.structural.relation[0]
    logits[0] = logits[0] + layer.structural.relation[1]
    weights = logits.softmax(0)
    assert torch.allclose(answer.edge_weights, weights[[0, 1, 0]], atol=1e-12)
    own = shaken(GraphAttention(2, 2, 2, relations=2, relation_heads=[0, 1], edge_dim=1, root_weight=False))
    edge_attr = torch.randn(3, 1)
    answer = own(x, edge_index, edge_attr, edge_type=kind, return_attention=True)
    single = GraphAttention(2, 2, 2, relations=2, edge_dim=1, root_weight=False)
    single.load_state_dict(own.state_dict())
    first = single(x, edge_index[:, :2], edge_attr[:2], edge_type=kind[:2])
    second = single(x, edge_index[:, 2:], edge_attr[2:], edge_type=kind[2:])
    assert torch.allclose(answer.out, torch.cat([first[:, :2], second[:, 2:]], dim=1), atol=1e-12)
    assert (answer.edge_weights == 0).tolist() == [[False, True], [False, True], [True, False]]


def hetero():
    data = HeteroData()
    data["firm"].x, data["good"].x = torch.randn(4, 3), torch.randn(2, 3)
    data["firm", "makes", "good"].edge_index = torch.tensor([[0, 1, 3], [0, 0, 1]])
    data["good", "feeds", "firm"].edge_index = torch.tensor([[0, 1], [2, 2]])
    return data


def test_hetero_data_is_one_graph_with_relations_or_a_layer_for_each():
    data = hetero()
    layer = shaken(GraphAttention(3, 2, 2, relations=2))
    answer = layer(data)
    joint = torch.tensor([[0, 1, 3, 4, 5], [4, 4, 5, 2, 2]])
    x = torch.cat([data["firm"].x, data["good"].x])
    expected = layer(x, joint, edge_type=torch.tensor([0, 0, 0, 1, 1]))
    assert torch.equal(answer["firm"], expected[:4]) and torch.equal(answer["good"], expected[4:])
    data["good"].x = torch.randn(2, 5)
    with pytest.raises(ValueError, match="HeteroConv"):
        layer(data)
    convs = {
        ("firm", "makes", "good"): GraphAttention((3, 5), 2),
        ("good", "feeds", "firm"): GraphAttention((5, 3), 2),
    }
    out = HeteroConv(convs)(data.x_dict, data.edge_index_dict)
    direct = convs["firm", "makes", "good"]((data["firm"].x, data["good"].x), data["firm", "good"].edge_index)
    assert torch.equal(out["good"], direct) and out["firm"].shape == (4, 2)


def test_inside_pyg_sequential():
    model = Sequential(
        "x, edge_index, edge_attr, batch",
        [
            (GraphAttention(3, 4, 2, edge_dim=2), "x, edge_index, edge_attr -> x"),
            torch.nn.ReLU(),
            (GraphAttention(8, 2, edge_dim=2, global_attention=True), "x, edge_index, edge_attr, batch -> x"),
        ],
    )
    batch = Batch.from_data_list(sizes(5, 9))
    out = model(batch.x, batch.edge_index, batch.edge_attr, batch.batch)
    assert torch.allclose(out, torch.cat([model(g.x, g.edge_index, g.edge_attr, None) for g in batch.to_data_list()]))


def test_hops_are_counted_if_they_are_not_given():
    layer = shaken(GraphAttention(3, 4, 2, hops=3, structure=("shortest_path",)))
    data = sizes(12)[0]
    assert torch.equal(layer(data), layer(data.x, data.edge_index))
    seen = layer(data, return_attention=True)
    near = hop_pairs(data.edge_index, 12, 3)
    loops = int((data.edge_index[0] == data.edge_index[1]).sum())
    assert seen.edge_index.shape[1] == near.index.shape[1] + loops


def test_fewer_global_heads_serve_several_heads_each():
    layer = shaken(GraphAttention(3, 2, 4, global_attention=True, global_heads=2, root_weight=False))
    x, nothing = torch.randn(5, 3), torch.zeros(2, 0, dtype=torch.long)
    answer = layer(x, nothing).view(5, 4, 2) / layer.global_scale[:, None]
    assert torch.allclose(answer[:, 0], answer[:, 1]) and torch.allclose(answer[:, 2], answer[:, 3])
    assert torch.allclose(answer[:, ::2], layer.global_branch(x))


def test_a_shared_projection_is_three_equal_ones():
    options = {"edge_dim": 2, "structure": ("degree",)}
    layer = shaken(GraphAttention(3, 4, 2, shared_projection=True, **options))
    plain = GraphAttention(3, 4, 2, **options)
    state = layer.state_dict()
    for name in ("lin_query", "lin_key"):
        state |= {f"{name}.{kind}": state[f"lin_value.{kind}"] for kind in ("weight", "bias")}
    plain.load_state_dict(state)
    x, edge_attr = torch.randn(4, 3), torch.randn(6, 2)
    assert torch.allclose(layer(x, DIAMOND, edge_attr), plain(x, DIAMOND, edge_attr), atol=1e-12)
    pair = (x, torch.randn(4, 3))
    degree = torch.ones(4)
    two = [each(pair, DIAMOND, edge_attr, degree=degree) for each in (layer, plain)]
    assert torch.allclose(*two, atol=1e-12)
    with pytest.raises(ValueError, match="shared_projection"):
        GraphAttention((3, 4), 2, shared_projection=True)


def test_a_data_object_may_hold_what_the_layer_does_not_read():
    data = Data(
        x=torch.randn(4, 3), edge_index=DIAMOND, edge_attr=torch.randn(6, 2), degree=torch.ones(4, 1), y=torch.ones(1)
    )
    data.edge_weight, data.edge_type = -torch.ones(6), torch.arange(6)
    layer = GraphAttention(3, 2)
    assert torch.equal(layer(data), layer(data.x, DIAMOND))
