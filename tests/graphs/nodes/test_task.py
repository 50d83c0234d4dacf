import csv
import json

import lightning as L
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GATv2Conv, TransformerConv

from core.training.cli import main
from graphs import AddHops, GraphTransformer, NodeClassificationTask, SavedGraphData
from graphs.layers.transformer import drop_features
from graphs.nodes.baselines import label_propagation, logistic_regression
from graphs.nodes.data.base import NodeBatch

from .node_files import communities

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore::DeprecationWarning:jsonargparse"),
    pytest.mark.filterwarnings("ignore:.*skip_none.*:DeprecationWarning"),
]

TINY = {"hidden": 4, "heads": 2, "dropout": 0.0, "attention_dropout": 0.0}


def task(**options):
    return NodeClassificationTask(**{**TINY, "in_channels": 3, "num_classes": 3, **options})


def batch(n=9):
    data = communities(30)
    return NodeBatch(data, torch.arange(n), torch.arange(n))


def test_loss_is_smoothed_cross_entropy_and_l2_of_the_targets():
    model, b = task(l2=0.3, label_smoothing=0.2).eval(), batch()
    log_p = model(b.data)[:9].log_softmax(1)
    target = F.one_hot(b.data.y[:9], 3) * 0.8 + 0.2 / 3
    norm = sum(p.square().sum() for p in model.model.parameters())
    assert torch.allclose(model.shared_step(b, "train").loss, -(target * log_p).sum(1).mean() + 0.15 * norm, atol=1e-5)
    evaluated = model.shared_step(b, "val")
    assert torch.allclose(evaluated.loss, -log_p.gather(1, b.data.y[:9, None]).mean(), atol=1e-6)
    assert torch.allclose(evaluated.prediction, log_p.exp(), atol=1e-6) and torch.equal(evaluated.target, b.data.y[:9])


def test_l2_is_adams_weight_decay():
    b = batch()
    ends = []
    for penalty in (True, False):
        torch.manual_seed(1)
        model = task(l2=0.1 if penalty else 0.0)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.0 if penalty else 0.1)
        for _ in range(5):
            optimizer.zero_grad()
            model.shared_step(b, "train").loss.backward()
            optimizer.step()
        ends.append(torch.cat([p.flatten() for p in model.parameters()]))
    assert torch.allclose(*ends, atol=1e-6)


def test_two_classes_answer_the_probability_of_class_1():
    model, b = task(num_classes=2).eval(), batch()
    b.data.y = b.data.y.clamp_max(1)
    out = model.shared_step(b, "test")
    assert torch.allclose(out.prediction, model(b.data)[:9].softmax(1)[:, 1])


def by_hand(x, edge_index, layers):
    for depth, layer in enumerate(layers):
        x = layer(x, edge_index)
        x = F.elu(x) if depth < len(layers) - 1 else x
    return x


@pytest.mark.parametrize(("conv", "kind"), [("gat", GATConv), ("gatv2", GATv2Conv), ("transformer", TransformerConv)])
def test_the_peers_are_pygs_layers(conv, kind):
    data = communities(30)
    model = GraphTransformer(3, 5, 4, 2, conv=conv, self_loops=conv != "transformer").eval()
    assert [type(layer) for layer in model.layers] == [kind, kind]
    assert torch.allclose(model(data), by_hand(data.x, data.edge_index, model.layers), atol=1e-6)
    with pytest.raises(ValueError, match=f"conv: expected 'attention' with gate, got '{conv}'"):
        GraphTransformer(3, 5, conv=conv, gate="head")


def test_the_model_is_its_layers_with_self_loops_where_there_are_none():
    data = communities(30, edge_dim=2)
    data.edge_index = torch.cat([data.edge_index, torch.tensor([[4], [4]])], dim=1)
    data.edge_attr = torch.cat([data.edge_attr, torch.ones(1, 2)])
    model = GraphTransformer(3, 5, 4, 2, edge_dim=2, norm=True).eval()
    own = torch.tensor([i for i in range(30) if i != 4])
    edge_index = torch.cat([data.edge_index, own.expand(2, -1)], dim=1)
    edge_attr = torch.cat([data.edge_attr, torch.zeros(29, 2)])
    hidden = F.elu(model.norms[0](model.layers[0](data.x, edge_index, edge_attr)))
    assert torch.allclose(model(data), model.layers[1](hidden, edge_index, edge_attr), atol=1e-6)
    weighted = GraphTransformer(3, 5, structure=("log_weight",)).eval()
    ones = Data(x=data.x, edge_index=data.edge_index, edge_weight=torch.ones(data.num_edges))
    explicit = by_hand_weighted(weighted, data.x, edge_index)
    assert torch.allclose(weighted(ones), explicit, atol=1e-6)


def by_hand_weighted(model, x, edge_index):
    weight = torch.ones(edge_index.shape[1])
    hidden = F.elu(model.layers[0](x, edge_index, edge_weight=weight))
    return model.layers[1](hidden, edge_index, edge_weight=weight)


def test_residuals_and_the_place_of_the_global_branch():
    model = GraphTransformer(8, 3, 4, 2, layers=3, residual=True, global_attention=True, self_loops=False).eval()
    assert [layer.global_branch is not None for layer in model.layers] == [True, True, False]
    assert GraphTransformer(8, 3, layers=1, global_attention=True).layers[0].global_branch is not None
    data = communities(20)
    x = torch.randn(20, 8)
    h = F.elu(model.layers[0](x, data.edge_index)) + x
    h = F.elu(model.layers[1](h, data.edge_index)) + h
    assert torch.allclose(model(x, data.edge_index), model.layers[2](h, data.edge_index), atol=1e-6)


def test_sparse_features_change_nothing_but_the_time():
    x = (torch.rand(400, 200) < 0.02).float() * torch.rand(400, 200)
    sparse = drop_features(x, 0.5, training=False)
    assert sparse.layout == torch.sparse_coo and torch.equal(sparse.to_dense(), x)
    dropped = drop_features(x, 0.5, training=True).to_dense()
    kept = dropped != 0
    assert torch.allclose(dropped[kept], 2 * x[kept]) and 0.4 < kept.sum() / (x != 0).sum() < 0.6
    edge_index = communities(400).edge_index
    for conv in ("attention", "gat", "gatv2", "transformer"):
        options = {"structure": ("degree",), "global_attention": True} if conv == "attention" else {}
        model = GraphTransformer(200, 3, conv=conv, **options).eval()
        dense = model(x.clone().requires_grad_(), edge_index)
        answer = model(x, edge_index)
        assert torch.allclose(answer, dense, atol=1e-6)
        names = [name for name, _ in model.named_parameters()]
        for name, a, b in zip(
            names,
            torch.autograd.grad(answer.square().sum(), list(model.parameters())),
            torch.autograd.grad(dense.square().sum(), list(model.parameters())),
            strict=True,
        ):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-5), name


def test_hops_from_the_data_reach_the_layers():
    data = AddHops(2)(communities(30))
    model = GraphTransformer(3, 3, hops=2, structure=("shortest_path",)).eval()
    assert torch.allclose(model(data), model(data.x, data.edge_index), atol=1e-6)
    with pytest.raises(ValueError, match="structure: expected some of edge_attr"):
        model(data.x, data.edge_index, hop=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_name": "x"}, "model_name: expected one of attention, gat"),
        ({"layers": 0}, "layers"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"l2": -1.0}, "l2"),
        ({"baselines": ["svc"]}, "baselines: expected names among logistic, label_propagation"),
        ({"model_options": {"gate": "x"}}, "gate"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        task(**options)


def write(tmp_path, **options):
    torch.save(communities(90, **options), tmp_path / "graph.pt")
    return str(tmp_path / "graph.pt")


def trainer(tmp_path, **options):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    return L.Trainer(default_root_dir=tmp_path, devices=1, enable_model_summary=False, **quiet, **options)


def test_takes_what_it_needs_from_the_data(tmp_path):
    data = SavedGraphData(write(tmp_path, edge_dim=2))
    model = NodeClassificationTask(**TINY, edge_features=True)
    trainer(tmp_path, max_epochs=1).fit(model, data)
    known = dict(model.hparams)
    assert (known["in_channels"], known["num_classes"], known["edge_dim"]) == (3, 3, 2)
    assert known["class_names"] == ["0", "1", "2"]
    again = NodeClassificationTask(**{k: v for k, v in known.items() if not k.startswith("_")})
    again.load_state_dict(model.state_dict())
    whole = data.parts["test"].data
    assert torch.equal(again.eval()(whole), model.eval()(whole))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 5, "num_classes": 3}, "in_channels: expected 5, as the model has, got 3 in the data"),
        ({"in_channels": 3, "num_classes": 4}, "num_classes: expected 4, as the model has, got 3 in the data"),
        ({"class_names": ["a", "b", "c"]}, "class_names: expected .*, as the model has"),
        ({"edge_features": True}, "edge_features: expected data whose edges have features"),
    ],
)
def test_refuses_other_data(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path, max_epochs=1).fit(NodeClassificationTask(**TINY, **options), SavedGraphData(write(tmp_path)))


def test_without_data_that_know_it_says_what_is_missing():
    with pytest.raises(ValueError, match="in_channels, num_classes: expected values, or data of NodeData, which knows"):
        NodeClassificationTask().setup("fit")
    with pytest.raises(ValueError, match="edge_dim: expected values"):
        NodeClassificationTask(in_channels=3, num_classes=3, edge_features=True).setup("fit")


def test_baselines_see_training_labels_alone(tmp_path):
    data = SavedGraphData(write(tmp_path))
    data.setup()
    features, edges = logistic_regression(data), label_propagation(data)
    assert (features.prediction == features.target).mean() > 0.9  # the features hint at the classes
    assert (edges.prediction == edges.target).mean() > 0.8  # so do the edges
    assert features.values["accuracy"] == pytest.approx((features.prediction == features.target).mean())
    assert np.allclose(edges.score.sum(1), 1, atol=1e-5)
    before = [method(data).score for method in (logistic_regression, label_propagation)]
    for name in ("val", "test"):  # swap what they must not see
        part = data.parts[name]
        part.data.y = part.data.y.clone()
    data.parts["test"].data.y[data.parts["test"].target] = 0
    after = [method(data).score for method in (logistic_regression, label_propagation)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_label_propagation_by_hand():
    class Path:
        classes = ("a", "b")
        data = Data(y=torch.tensor([0, 0, 0, 1, 1, 0]), edge_index=torch.tensor([[0, 1, 3, 4], [1, 0, 4, 3]]))
        data.num_nodes = 6
        part = type("Part", (), {"data": data, "target": torch.tensor([1, 3, 5]), "nodes": torch.arange(6)})
        train = type("Part", (), {"index": torch.tensor([0, 4])})
        parts = {"train": train, "val": part, "test": part}  # noqa: RUF012

    found = label_propagation(Path())
    assert found.prediction[:2].tolist() == [0, 1] and found.target.tolist() == [0, 1, 0]
    assert found.score[2].tolist() == [0.5, 0.5]  # no label reaches node 5
    assert found.values["accuracy"] == found.validation == 1.0 and found.chosen == "5 steps"


def test_former_options_are_accepted_with_a_note(capsys):
    class _Fresh(NodeClassificationTask):  # notes are printed once for each class
        pass

    new = task(model_name="attention", model_options={"gate": "head"})
    old = _Fresh(**TINY, in_channels=3, num_classes=3, conv="attention", layer_options={"gate": "head"})
    notes = capsys.readouterr().err
    assert "_Fresh: conv is now called model_name" in notes and "layer_options is now" in notes
    assert list(old.state_dict()) == list(new.state_dict()) and old.hparams == new.hparams
    assert (old.hparams.model_name, old.hparams.conv, old.hparams.layer_options) == ("attention", None, None)
    with pytest.raises(ValueError, match=r"model_name: expected one of model_name and conv \(its former name\)"):
        task(conv="gat", model_name="gatv2")


@pytest.mark.filterwarnings("ignore:.*(does not have many workers|no `val_dataloader`)")  # plain loaders, as users have
def test_a_loader_of_the_users_own_trains_and_predicts(tmp_path):
    loader = DataLoader([batch(20)], batch_size=None)
    run = trainer(tmp_path, max_epochs=1)
    model = task()
    run.fit(model, loader, loader)
    table = run.predict(model, loader)[0]
    assert table["id"] == [str(k) for k in range(20)] and model.baselines("test") == {}
    assert table["label"] == [str(k % 3) for k in range(20)]  # names are numbers
    with pytest.raises(
        TypeError,
        match=r"expected NodeBatch\(data, target, index\) for NodeClassificationTask, got list; graphs.GraphArrayData",
    ):
        trainer(tmp_path, max_epochs=1).fit(model, DataLoader([[1, 2]], batch_size=None))


def config(tmp_path, **model):
    entries = {
        "seed_everything": 0,
        "model": {
            "class_path": "NodeClassificationTask",
            "init_args": {**TINY, "lr": 0.05, "baselines": ["logistic", "label_propagation"], **model},
        },
        "data": {"class_path": "SavedGraphData", "init_args": {"path": write(tmp_path)}},
        "trainer": {"max_epochs": 15, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False},
    }
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(entries))
    return ["--config", str(path), "--trainer.default_root_dir", str(tmp_path / "runs")]


def test_from_a_file_to_a_table(tmp_path, capsys):
    options = config(tmp_path, model_options={"structure": ["degree"], "gate": "head"}, global_attention=True)
    main(["fit", *options])
    run = tmp_path / "runs" / "run" / "version_0"
    main(["test", *options, "--ckpt_path", str(run / "best.ckpt")])
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"test/accuracy", "test/auroc", "test/auprc", "test/loss"} <= set(metrics)
    assert metrics["test/accuracy"] > 0.9
    assert set(json.loads((run / "baselines.json").read_text())) == {"logistic", "label_propagation"}
    out = tmp_path / "table.csv"
    main(["predict", *options, "--ckpt_path", str(run / "best.ckpt"), "--out", str(out)])
    with out.open() as file:
        rows = list(csv.DictReader(file))
    right = [row["label"] == row["prediction"] == str(int(row["id"]) % 3) for row in rows]
    assert len(rows) == 18 and np.mean(right) == pytest.approx(metrics["test/accuracy"])
    for row in rows:
        assert abs(sum(float(row[f"probability_{k}"]) for k in range(3)) - 1) < 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.path", "/no/such/file.pt"], "/no/such/file.pt"),
        (["--model.conv", "gcn"], "model_name: expected one of"),
        (["--data.fanouts", "[0]"], "fanouts"),
    ],
)
def test_one_clear_message(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(["fit", *config(tmp_path), *arguments])
    assert caught.value.code != 0
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
