import pytest
import torch
from torch_geometric.data import Batch, Data

from graphs import GraphAttention, GraphTransformer, receptive_field


def ring_with_tail(nodes=12):
    """A directed ring of 8 and a path that leads away from it, with a shortcut from 2 to 5."""
    source = [*range(8), 7, *range(8, nodes - 1), 2]
    target = [*range(1, 8), 0, 8, *range(9, nodes), 5]
    return Data(x=torch.randn(nodes, 3, dtype=torch.float64), edge_index=torch.tensor([source, target]))


def model(layers, **options):
    made = GraphTransformer(3, 2, hidden=4, heads=2, layers=layers, dropout=0.0, attention_dropout=0.0, **options)
    return made.double().eval()


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("self_loops", [True, False])
def test_d_layers_over_edges_see_d_hops_and_no_further(layers, self_loops):
    data = ring_with_tail()
    field = receptive_field(model(layers, self_loops=self_loops), data)
    assert field.depth == layers and not len(field.beyond(layers))
    for hops in range(layers + 1):
        assert field.share(hops) == 1.0  # and all that lies within reach is seen
    assert field.share(layers + 1) == 0.0


def test_several_hops_in_a_layer_multiply():
    data = ring_with_tail()
    field = receptive_field(model(2, hops=2), data)
    assert field.depth == 4 and not len(field.beyond(4)) and field.share(4) == 1.0


def test_the_global_branch_breaks_the_guarantee():
    data = ring_with_tail()
    field = receptive_field(model(2, global_attention=True), data)
    assert field.reaches.all() and field.depth == -1
    assert len(field.beyond(2)) == int((field.hops > 2).sum() + (field.hops < 0).sum()) > 0


def test_nothing_reaches_another_graph_of_a_batch():
    batch = Batch.from_data_list([ring_with_tail(), ring_with_tail(10)])
    field = receptive_field(model(2, global_attention=True), batch)
    assert torch.equal(field.reaches, batch.batch[:, None] == batch.batch)


def test_a_function_with_a_known_field():
    data = Data(x=torch.randn(4, 1), edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]))

    def second_to_last(data):
        relu = torch.relu(data.x)  # hides some influences in one draw, not in many
        return torch.stack([data.x[0], relu[0] + data.x[1], relu[1], 0 * data.x[3] + 1])

    field = receptive_field(second_to_last, data, torch.tensor([1, 2, 3]), draws=12)
    assert field.reaches.int().tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert field.hops.tolist() == [[1, 0, -1, -1], [2, 1, 0, -1], [3, 2, 1, 0]]
    assert field.depth == 1 and field.beyond(0).tolist() == [[0, 0], [1, 1]]
    assert field.share(1) == pytest.approx(2 / 3)


def test_refuses_what_is_no_answer_for_every_node():
    data = ring_with_tail()
    with pytest.raises(ValueError, match=r"model: expected answers \(12, ...\), got \(\)"):
        receptive_field(lambda data: data.x.sum(), data)
    with pytest.raises(ValueError, match="without a gradient"):
        receptive_field(lambda data: data.x.detach(), data)


def test_a_layer_without_root_sees_itself_only_where_it_has_a_choice():
    data = ring_with_tail()
    field = receptive_field(GraphAttention(3, 2, root_weight=False).double(), data)
    expected = field.hops == 1
    expected[5, 5] = True  # the one node with two neighbours: its query decides between them
    assert torch.equal(field.reaches, expected)
