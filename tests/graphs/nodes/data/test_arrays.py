import lightning as L
import numpy as np
import pytest
import torch

from core.training import load_run, read_checkpoint
from graphs import GraphArrayData, NodeClassificationTask

from ..node_files import communities

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # lightning 2.6 on torch 2.14

GRAPH = communities(60, edge_dim=2)
X, EDGES, Y = GRAPH.x.numpy(), GRAPH.edge_index.numpy(), GRAPH.y.numpy()


def ready(*arrays, **options):
    data = GraphArrayData(*arrays, **options)
    data.setup()
    return data


class Frame:
    """What is asked of a data frame."""

    def __init__(self, array, columns):
        self.array, self.columns = np.asarray(array), columns

    def to_numpy(self):
        return self.array


@pytest.mark.parametrize(
    "arrays",
    [
        (GRAPH.x, GRAPH.edge_index, GRAPH.y),
        (X.astype(np.float64), EDGES.astype(np.int32), Y),
        (X.tolist(), EDGES.tolist(), Y.tolist()),
        (Frame(X, ["a", "b", "c"]), Frame(EDGES.T, ["source", "target"]), Y),
        (X, EDGES, [str(k) for k in Y]),
    ],
    ids=["torch", "numpy", "lists", "frames", "names"],
)
def test_the_same_graph_in_every_form(arrays):
    data = ready(*arrays)
    assert torch.equal(data.whole.data.x, GRAPH.x) and torch.equal(data.whole.data.edge_index, GRAPH.edge_index)
    assert torch.equal(data.whole.data.y, GRAPH.y) and data.classes == ("0", "1", "2")
    assert data.fingerprint() == ready(X, EDGES, Y).fingerprint()
    assert data.describe_split() == "by node, seed 0: train 36, val 12, test 12"


def test_names_of_classes_and_unknown_ones():
    found = ready(X[:6], np.zeros((2, 0), int), ["b", "a", None, "b", float("nan"), "a"], val_fraction=0.0)
    assert found.whole.data.y.tolist() == [1, 0, -1, 1, -1, 0] and found.classes == ("a", "b")
    assert found.whole.data.edge_index.shape == (2, 0)
    ordered = ready(X[:4], [[0], [1]], ["b", "a", "b", "a"], class_names=["b", "a"], val_fraction=0.0)
    assert ordered.whole.data.y.tolist() == [0, 1, 0, 1] and ordered.classes == ("b", "a")
    assert ready(X, EDGES, Y, names=[f"n{k}" for k in range(60)]).names_of(torch.tensor([3])) == ["n3"]


def test_parts_by_numbers_or_masks_by_graph_and_by_time():
    mask = np.arange(60) >= 50
    data = ready(X, EDGES, Y, train=range(20), val=torch.arange(20, 30), test=mask)
    assert [part.tolist() for part in data.split] == [list(range(20)), list(range(20, 30)), list(range(50, 60))]
    assert data.describe_split() == "the split of the data's authors: train 20, val 10, test 10"
    inside = EDGES[:, EDGES[0] // 10 == EDGES[1] // 10]
    by_graph = ready(X, inside, Y, graph=np.arange(60) // 10)
    assert by_graph.describe_split().startswith("by graph, seed 0: train 20 samples of 2 graphs, val 20 samples of 2")
    by_time = ready(X, EDGES, Y, time=np.arange(60), split="time")
    assert by_time.split.train.tolist() == list(range(36)) and by_time.parts["val"].nodes.max() == 47


def test_normalising_leaves_the_arrays_alone():
    x = 2 * torch.ones(60, 3)
    data = ready(x, EDGES, Y, normalize_features=True)
    assert torch.allclose(data.whole.data.x.sum(1), torch.ones(60)) and x.eq(2).all()
    assert data.given.data.x.eq(2).all()


def test_from_arrays_to_predictions_of_a_run_that_is_read_back(tmp_path):
    given = {"edge_attr": GRAPH.edge_attr, "names": [f"n{k}" for k in range(60)]}
    data = GraphArrayData(X, EDGES, Y, class_names=["red", "green", "blue"], **given)
    task = NodeClassificationTask(hidden=4, heads=2, edge_features=True, baselines=["logistic"])
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = L.Trainer(max_epochs=1, default_root_dir=tmp_path, enable_checkpointing=False, **quiet)
    trainer.fit(task, data)
    assert 0 <= trainer.test(task, data, verbose=False)[0]["test/accuracy"] <= 1
    assert set(task.baselines("test")) == {"logistic"}
    table = trainer.predict(task, data)[0]
    assert list(table)[:3] == ["id", "label", "prediction"] and table["id"] == data.names_of(data.split.test)
    trainer.save_checkpoint(tmp_path / "best.ckpt")
    stored = read_checkpoint(tmp_path / "best.ckpt")
    assert stored["data"] == "graphs.GraphArrayData"
    assert stored["datamodule_hyper_parameters"]["normalize_features"] is False
    assert not {"x", "edge_index", "y", "edge_attr", "names", "train"} & set(stored["datamodule_hyper_parameters"])
    again = load_run(tmp_path).task
    new = GraphArrayData(X, EDGES, **given)  # no labels: every node is predicted
    everything = L.Trainer(**quiet, enable_checkpointing=False).predict(again, new)[0]
    assert everything["id"] == given["names"] and "label" not in everything
    assert torch.equal(everything["probability_blue"][data.split.test], table["probability_blue"])
    with pytest.raises(ValueError, match="expected train data, got none"):
        L.Trainer(**quiet, enable_checkpointing=False, max_epochs=1).fit(again, new)


def wrong(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ((wrong(X, (3, 1), np.nan), EDGES, Y), {}, "^x: expected finite numbers, got nan at node 3"),
        ((X[0], EDGES, Y), {}, r"^x: expected \(nodes, features\), got \(3,\)"),
        (([[1.0], [1.0, 2.0]], EDGES, Y), {}, "^x: expected an array, got list: .*inhomogeneous"),
        (([["a"]], EDGES, Y), {}, "^x: expected numbers, got <U1"),
        ((X, EDGES * 1.0, Y), {}, "^edge_index: expected whole numbers, got float64"),
        ((X, EDGES[0], Y), {}, r"^edge_index: expected \(2, E\)"),
        ((X, wrong(EDGES, (0, 2), 60), Y), {}, "^edge_index: expected nodes 0 .. 59, got edge 2 from 60"),
        ((X, EDGES, Y * 1.0), {}, "^y: expected whole numbers, got float64"),
        ((X, EDGES, Y[:5]), {}, r"^y: expected \(N,\) with 60 rows, got \(5,\)"),
        ((X, EDGES, wrong(Y, 4, -2)), {}, r"^y: expected classes 0 .. 2 \(or -1, unknown\), got -2 .. 2"),
        ((X, EDGES, Y), {"class_names": ["a", "b"]}, r"^y: expected classes 0 .. 1"),
        ((X, EDGES, Y * 0), {}, "^y: expected 2 or more classes, got 1"),
        ((X, EDGES, list("ab") * 30), {"class_names": ["a", "c"]}, "^y: expected classes among a, c, got 'b'"),
        ((X, EDGES, [(1,)] * 60), {}, r"^y: expected \(N,\) with 60 rows, got \(60, 1\)"),
        ((X, EDGES, Y), {"edge_attr": np.ones(3)}, r"^edge_attr: expected \(E, D\) with \d+ rows, got \(3,\)"),
        ((X, EDGES, Y), {"edge_weight": np.full(EDGES.shape[1], np.inf)}, "^edge_weight: expected finite numbers, got"),
        ((X, EDGES, Y), {"edge_type": np.full(EDGES.shape[1], -1)}, r"^edge_type: expected numbers of relations"),
        ((X, EDGES, Y * 2**40), {}, "^y: expected class numbers below the 60 nodes, got"),
        ((X, EDGES, Y), {"graph": np.arange(60)}, "^edge_index: expected edges within graphs, got"),
        ((X, EDGES, Y), {"names": ["a"] * 60}, "^names: expected 60 different names, got 1 in 60"),
        ((X, EDGES, Y), {"train": [60]}, r"^train: expected whole numbers 0 \.\. 59, got int64 up to 60"),
        ((X, EDGES, Y), {"train": np.ones(5, bool)}, r"^train: expected a mask of 60 items, got \(5,\)"),
        (
            (X, EDGES, Y),
            {"train": [1, 2], "val": [2]},
            "^split: expected every item in one part, got 1 in train and val",
        ),
        ((X, EDGES, Y), {"split": "x"}, "^split: expected one of given, node, time, graph"),
        ((X, EDGES, Y), {"test": [1]}, "^split: expected training nodes, got train 0, val 0, test 1"),
    ],
)
def test_what_does_not_fit_is_named(arrays, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ready(*arrays, **options)


def test_negative_strides_and_foreign_bytes_are_the_same_numbers():
    x = np.arange(6, dtype=np.float64).reshape(3, 2)
    data = GraphArrayData(x.astype(">f8")[::-1], np.array([[0, 1], [1, 2]])[::-1])
    assert data.given.data.x.tolist() == [[4, 5], [2, 3], [0, 1]]
    assert data.given.data.edge_index.tolist() == [[1, 2], [0, 1]]


def test_classes_are_told_apart():
    with pytest.raises(ValueError, match="class_names: expected different names, got a, a"):
        GraphArrayData(np.ones((2, 1)), [[0], [1]], [0, 1], class_names=["a", "a"])
    with pytest.raises(ValueError, match=r"y: expected \(N,\) with 2 rows, got \(2, 1\)"):
        GraphArrayData(np.ones((2, 1)), [[0], [1]], [["a"], ["b"]])
