import io
import pickle

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, InMemoryDataset
from torch_geometric.io import read_planetoid_data

from graphs import GraphTransformer, PlanetoidData, SavedGraphData
from graphs.nodes.data.planetoid import read_planetoid

from ..node_files import communities, write_planetoid


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("name", "missing"), [("cora", 0), ("citeseer", 3)])
def test_planetoid_is_read_as_pyg_reads_it(tmp_path, name, missing):
    folder = write_planetoid(tmp_path, name, missing=missing)
    theirs = read_planetoid_data(str(folder), name)
    data, split = read_planetoid(folder, name)
    for key in ("x", "y", "edge_index"):
        assert torch.equal(data[key], theirs[key]), key
    for part, mask in zip(split, (theirs.train_mask, theirs.val_mask, theirs.test_mask), strict=True):
        assert np.array_equal(part, mask.nonzero()[:, 0].numpy())
    assert len(split.test) == 40 - missing and len(split.train) == 9
    described = np.concatenate([split.train, split.val, split.test])
    assert torch.equal(data.y[described], torch.from_numpy(described) % 3)  # what was written


def test_planetoid_is_found_and_normalised(tmp_path):
    write_planetoid(tmp_path / "Cora" / "raw")
    data = PlanetoidData(str(tmp_path))
    data.setup()
    assert torch.allclose(data.whole.data.x.sum(1), torch.ones(549))
    assert data.num_features == 12 and data.classes == ("0", "1", "2") and data.edge_dim is None
    assert data.fingerprint() == PlanetoidData(str(tmp_path / "Cora" / "raw")).fingerprint()
    assert data.describe_split() == "the split of the data's authors: train 9, val 500, test 40"
    batch = next(iter(data.train_dataloader()))
    assert len(data.train_dataloader()) == 1 and batch.target.tolist() == list(range(9))
    assert data.names_of(torch.tensor([4])) == ["4"]


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize("content", [Evil(), [Evil()], {0: [Evil()]}])
def test_planetoid_runs_no_code(tmp_path, capsys, content):
    folder = write_planetoid(tmp_path)
    (folder / "ind.cora.graph").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ValueError, match=r"ind.cora.graph: expected one of Planetoid's files, got \w+.print"):
        read_planetoid(folder, "cora")
    assert not capsys.readouterr().out


def damaged(folder, part, content):
    (folder / f"ind.cora.{part}").write_bytes(content)


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("x", b"", "ind.cora.x: expected one of Planetoid's files"),
        ("x", pickle.dumps([1, 2], protocol=2), "ind.cora.x: expected a matrix, got a list"),
        ("y", pickle.dumps({}, protocol=2), "ind.cora.y: expected a matrix, got a dict"),
        ("graph", pickle.dumps([], protocol=2), "ind.cora.graph: expected a dictionary"),
        ("graph", pickle.dumps({0: [1, 700]}, protocol=2), "ind.cora.graph: expected papers 0 .. 548, got 700"),
        ("test.index", b"509\nx\n", "ind.cora.test.index, line 2: expected a paper's number, got 'x'"),
    ],
)
def test_planetoid_names_what_is_damaged(tmp_path, part, content, message):
    folder = write_planetoid(tmp_path)
    damaged(folder, part, content)
    with pytest.raises(ValueError, match=message):
        read_planetoid(folder, "cora")


def test_planetoid_names_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"root: expected the folder of ind.cora.x"):
        PlanetoidData().setup()
    with pytest.raises(FileNotFoundError, match=r"root: expected a folder with ind.citeseer.x \(or Citeseer/raw"):
        PlanetoidData(str(tmp_path), "Citeseer").setup()
    (write_planetoid(tmp_path) / "ind.cora.ty").unlink()
    with pytest.raises(FileNotFoundError, match=r"ind.cora.ty: expected one of Planetoid's files, got none"):
        PlanetoidData(str(tmp_path)).setup()


def save(tmp_path, content, name="graph.pt"):
    torch.save(content, tmp_path / name)
    return str(tmp_path / name)


def test_saved_graphs_in_every_form(tmp_path):
    graphs = [communities(30, edge_dim=2, seed=s) for s in range(4)]
    one = SavedGraphData(save(tmp_path, graphs[0]))
    one.setup()
    assert one.scheme == "node" and torch.equal(one.whole.data.x, graphs[0].x) and one.edge_dim == 2
    several = SavedGraphData(save(tmp_path, graphs), val_fraction=0.25, test_fraction=0.25)
    InMemoryDataset.save(graphs, str(tmp_path / "data.pt"))
    dataset = SavedGraphData(str(tmp_path / "data.pt"), val_fraction=0.25, test_fraction=0.25)
    joint = Batch.from_data_list(graphs)
    for data in (several, dataset):
        data.setup()
        assert data.scheme == "graph"
        for name in ("x", "edge_index", "edge_attr", "y", "batch"):
            assert torch.equal(data.whole.data[name], joint[name]), name


def test_a_split_by_graph_or_time_hides_the_rest(tmp_path):
    data = SavedGraphData(save(tmp_path, [communities(30, seed=s) for s in range(5)]))
    data.setup()
    graphs = [set(data.whole.data.batch[part.nodes].tolist()) for part in data.parts.values()]
    assert [len(found) for found in graphs] == [3, 1, 1] and not graphs[0] & graphs[1] and not graphs[0] & graphs[2]
    assert data.parts["train"].data.batch.unique().tolist() == [0, 1, 2]  # numbered anew
    graph = communities(60)
    graph.time = torch.arange(60.0)
    later = SavedGraphData(save(tmp_path, graph), split="time")
    later.setup()
    assert [int(part.nodes.max()) for part in later.parts.values()] == [35, 47, 59]
    graph.time[7] = torch.nan
    unknown = SavedGraphData(save(tmp_path, graph), split="time")
    unknown.setup()
    assert all(7 not in part.nodes for part in unknown.parts.values())
    assert later.parts["train"].data.edge_index.max() <= 35 and later.parts["test"].target.tolist() == list(
        range(48, 60)
    )


def test_given_masks(tmp_path):
    graph = communities(12)
    place = torch.arange(12)
    graph.train_mask = torch.stack([place < 4, place >= 8], dim=1)
    graph.val_mask = ((place >= 4) & (place < 8))[:, None].expand(12, 2).clone()
    graph.test_mask = graph.train_mask.flip(1)
    path = save(tmp_path, graph)
    for mask, first in ((0, 0), (1, 8)):
        data = SavedGraphData(path, mask=mask)
        data.setup()
        assert data.scheme == "given" and data.split.train[0] == first and len(data.split.test) == 4
    with pytest.raises(ValueError, match=r"mask: expected 0 \.\. 1, got 2"):
        SavedGraphData(path, mask=2).setup()
    graph.val_mask[0, 0] = True
    with pytest.raises(ValueError, match="got node 0 in two"):
        SavedGraphData(save(tmp_path, graph)).setup()


def test_sampled_batches_are_the_same_each_time_and_new_each_epoch(tmp_path):
    path = save(tmp_path, communities(200))
    drawn = []
    for _ in range(2):
        data = SavedGraphData(path, fanouts=[3, 2], batch_size=16, seed=5)
        data.setup()
        loader = data.train_dataloader()
        loader.batch_sampler, epochs = None, []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            epochs.append([(batch.index.tolist(), batch.data.edge_index.tolist()) for batch in loader])
        drawn.append(epochs)
    assert drawn[0] == drawn[1] and drawn[0][0] != drawn[0][1]
    assert len(drawn[0][0]) == len(data.split.train) // 16
    batch = next(iter(data.train_dataloader()))
    assert torch.equal(batch.data.y[batch.target], data.whole.data.y[batch.index])
    assert torch.equal(batch.data.x[batch.target], data.whole.data.x[batch.index])
    model = GraphTransformer(3, 3, structure=("degree",))
    assert model(batch.data)[batch.target].shape == (16, 3)  # the degrees are those of the whole graph
    assert batch.data.degree[batch.target].max() > 3
    validation = next(iter(data.val_dataloader()))
    assert validation.data.num_nodes == 200


def test_bad_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="path: expected a file"):
        SavedGraphData().setup()
    with pytest.raises(FileNotFoundError, match=r"nothing.pt"):
        SavedGraphData(str(tmp_path / "nothing.pt")).setup()
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match=r"text.pt: expected graphs in a file that loads without running code"):
        SavedGraphData(str(tmp_path / "text.pt")).setup()
    buffer = io.BytesIO()
    torch.save(Evil(), buffer)
    (tmp_path / "evil.pt").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=r"evil.pt: .* one that holds print"):
        SavedGraphData(str(tmp_path / "evil.pt")).setup()
    with pytest.raises(ValueError, match="got a dict"):
        SavedGraphData(save(tmp_path, {"x": 1})).setup()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.x.__setitem__((3, 1), float("nan")), "x: expected finite numbers, got nan at node 3"),
        (
            lambda g: setattr(g, "y", g.y.float()),
            r"expected y with a class for each of 20 nodes, got \(20,\) torch.float",
        ),
        (lambda g: setattr(g, "y", g.y[:5]), r"expected y with a class for each of 20 nodes, got \(5,\)"),
        (lambda g: setattr(g, "y", torch.zeros(20, dtype=torch.long)), "expected 2 or more classes"),
        (lambda g: setattr(g, "x", g.x.long()), r"x: expected \(nodes, features\) numbers, got \(20, 3\) torch.int64"),
        (lambda g: setattr(g, "x", None), "expected x, edge_index and y, got"),
        (lambda g: setattr(g, "edge_attr", g.edge_index.T / 0.0), "edge_attr: expected finite numbers, got"),
        (lambda g: g.edge_index.__setitem__((0, 2), 20), "got edge 2 from 20"),
    ],
)
def test_bad_graphs_are_named(tmp_path, change, message):
    graph = communities(20)
    change(graph)
    with pytest.raises(ValueError, match=message):
        SavedGraphData(save(tmp_path, graph)).setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "x"}, "split: expected one of given, node, time, graph"),
        ({"split": "given"}, "since these data come without, got 'given'"),
        ({"split": "time"}, "a time of each node"),
        ({"split": "graph"}, "expected several graphs"),
        ({"hops": 2, "fanouts": [3]}, "hops"),
        ({"class_names": ["a"]}, "3 and 1 names"),
    ],
)
def test_bad_options_are_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        SavedGraphData(save(tmp_path, communities(20)), **options).setup()


def test_an_empty_list_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got a list"):
        SavedGraphData(save(tmp_path, [])).setup()


def test_numbers_of_another_precision_are_converted(tmp_path):
    data = communities(edge_dim=2)
    data.x, data.edge_attr = data.x.double(), data.edge_attr.half()
    torch.save(data, tmp_path / "graph.pt")
    module = SavedGraphData(str(tmp_path / "graph.pt"))
    module.setup()
    assert module.ready().data.x.dtype == module.ready().data.edge_attr.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda data: data.update({"y": data.y * 10**9}),
            "y: expected class numbers below the 60 nodes, got",
        ),
        (
            lambda data: data.update({"x": torch.zeros(1, 1).expand(60, 1 << 26)}),
            "graph 0: x: expected 16,106,127,360",
        ),
    ],
)
def test_files_that_claim_too_much_are_refused(tmp_path, change, message):
    data = communities()
    change(data)
    torch.save(data, tmp_path / "graph.pt")
    assert (tmp_path / "graph.pt").stat().st_size < 50_000
    with pytest.raises(ValueError, match=message):
        SavedGraphData(str(tmp_path / "graph.pt")).setup()
