import lightning as L
import numpy as np
import pytest
import torch

from graphs import DemandForecastTask, SupplyGraphData
from graphs.demand.data import SERIES
from graphs.demand.model import ForecastModel

from ..fakes import write_supplygraph

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # lightning 2.6 on torch 2.14


def data(root, **options):
    module = SupplyGraphData(str(root), lags=options.pop("lags", 7), batch_size=8, **options)
    module.setup()
    return module


def test_reading(tmp_path):
    module = data(write_supplygraph(tmp_path))
    whole = module.whole
    assert whole.names == ("A1", "B1", "C1", "D1")  # A1 stood twice
    assert whole.values.shape == (60, 4, 4) and whole.days[0].startswith("2023-01-01")
    pairs = {(kind, *edge) for kind, edge in zip(whole.edge_type.tolist(), whole.edge_index.T.tolist(), strict=True)}
    assert pairs == {(kind, *ends) for kind in range(4) for ends in ((0, 1), (1, 0), (1, 2), (2, 1))}


def test_split_by_time_and_no_look_ahead(tmp_path):
    module = data(write_supplygraph(tmp_path))
    parts = [module.days(stage) for stage in ("train", "val", "test")]
    assert parts == [list(range(7, 42)), list(range(42, 48)), list(range(48, 60))]
    assert len(module.training_values()) == 42
    assert module.describe_split() == "days by time: train 35, val 6, test 12"
    assert module.names_of(torch.tensor([0, 59])) == ["2023-01-01", "2023-03-01"]
    batch = module.join([20, 30])
    values = module.whole.values
    assert torch.equal(batch.history[:4], values[13:20].transpose(0, 1))
    assert torch.equal(batch.target[4:], values[30, :, SERIES.index("sales order")])
    assert (
        batch.weekday.tolist()
        == [np.datetime64("2023-01-21").item().weekday()] * 4 + [np.datetime64("2023-01-31").item().weekday()] * 4
    )
    first, second = batch.edge_index.view(2, 2, -1).transpose(0, 1)
    assert torch.equal(first, module.whole.edge_index) and torch.equal(second, first + 4)


def trained(module, epochs=3, **options):
    L.seed_everything(0, verbose=False)
    task = DemandForecastTask(dim=8, heads=2, dropout=0.0, lr=0.01, **options)
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, module)
    return task, trainer


def test_moments_are_of_the_training_days_alone(tmp_path):
    module = data(write_supplygraph(tmp_path))
    module.whole.values[42:] *= 1000  # what comes later
    task, _ = trained(module, epochs=1)
    logs = module.whole.values[:42].log1p()
    assert torch.allclose(task.mean, logs.mean(0)) and torch.allclose(task.std, logs.std(0, correction=0))
    assert task.hparams["products"] == ["A1", "B1", "C1", "D1"] and task.hparams["lags"] == 7
    again = DemandForecastTask(**{name: value for name, value in task.hparams.items() if not name.startswith("_")})
    again.load_state_dict(task.state_dict())
    batch = module.join([50])
    assert torch.equal(again.eval()(batch), task.eval()(batch))


def test_a_weekly_pattern_is_learned_and_scored(tmp_path):
    module = data(write_supplygraph(tmp_path))
    task, trainer = trained(module, epochs=30)
    found = trainer.test(task, module, verbose=False)[0]["test/rmse"]
    baselines = task.baselines("test")
    assert set(baselines) == {"lag_1", "training_mean", "ridge"}
    assert found < 0.6 * baselines["training_mean"]["test/rmse"] < baselines["lag_1"]["test/rmse"]
    batch = module.join(module.days("test"))
    target, scored = task.standardised(batch)
    assert scored.view(-1, 4).all(0).tolist() == [True, True, True, False]  # a product without sales is not scored
    last = (batch.history[:, -1, 0].log1p().view(-1, 4) - task.mean[:, 0]) / task.spread()[:, 0]
    by_hand = float((last - target.view(-1, 4))[:, :3].square().mean().sqrt())
    assert baselines["lag_1"]["test/rmse"] == pytest.approx(by_hand, rel=1e-5)
    prediction = task.predict_step(batch)
    assert prediction["id"][:2] == ["2023-02-18:A1", "2023-02-18:B1"]
    assert torch.equal(prediction["truth"], batch.target) and (prediction["prediction"] >= 0).all()


@pytest.mark.filterwarnings("ignore:.*(does not have many workers|no `val_dataloader`)")  # plain loaders, as users have
def test_a_loader_of_the_users_own_predicts(tmp_path):
    module = data(write_supplygraph(tmp_path))
    task = DemandForecastTask(8, heads=2, products=list("ABCD"), series="sales order", lags=7)
    loader = torch.utils.data.DataLoader([module.join([20, 30])], batch_size=None)
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    assert trainer.predict(task, loader)[0]["id"] == [f"{day}:{name}" for day in (20, 30) for name in "ABCD"]
    assert task.baselines("test") == {}


def test_baselines_are_those_that_are_asked_for(tmp_path):
    task, _ = trained(data(write_supplygraph(tmp_path)), epochs=1, baselines=["ridge"])
    assert list(task.baselines("val")) == ["ridge"]


def test_a_product_sees_its_neighbours_only():
    torch.manual_seed(0)
    model = ForecastModel(3, 8, 1, 2, 4, 0.0)
    torch.nn.init.normal_(model.leave[1].weight)
    edge_index, edge_type = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), torch.tensor([0, 0, 1, 1])
    x = torch.randn(4, 3)
    jacobian = torch.autograd.functional.jacobian(lambda x: model(x, edge_index, edge_type, torch.zeros(4).long()), x)
    seen = jacobian.abs().sum(-1) > 0
    assert torch.equal(seen, torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]).bool())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda root: (root / "Edges" / "Edges (Plant).csv").write_text("node1,node2\nA1,Z9\n"),
            r"line 2: expected products of the series, got A1 - Z9",
        ),
        (lambda root: (root / "Edges" / "Edges (Plant).csv").write_text("a,b\n1,2\n"), "the columns node1 and node2"),
        (lambda root: _series(root, "2023-01-01,1,2,3,4,x"), "line 2: expected a date and numbers"),
        (lambda root: _series(root, "2023-01-01,1,2,3,4,-1"), "line 2: expected 5 finite numbers of at least 0"),
        (lambda root: _series(root, "2023-01-01,1,2,3,4,5"), "the same days and products in every series"),
        (lambda root: _series(root, "2023-01-02,1,2,3,4,5\n2023-01-01,1,2,3,4,5"), "ascending days"),
    ],
)
def test_broken_files(tmp_path, change, message):
    root = write_supplygraph(tmp_path)
    change(root)
    with pytest.raises(ValueError, match=message):
        data(root)


def _series(root, lines):
    (root / "Temporal Data" / "Unit" / "Sales Order.csv").write_text(f"Date,A1,B1,C1,D1,A1.1\n{lines}\n")


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected the SupplyGraph folder"):
        data(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="sales order"):
        data(tmp_path)
    for options, message in (
        ({"root": None}, "--data.root DIR"),
        ({"series": "x"}, "series: expected one of"),
        ({"unit": "x"}, "unit"),
        ({"lags": 0}, "lags"),
        ({"test_fraction": 1.0}, "test_fraction"),
    ):
        with pytest.raises(ValueError, match=message):
            SupplyGraphData(**{"root": "x", **options})
    for options in ({"dim": 6, "heads": 4}, {"depth": -1}, {"dropout": 1.0}):
        with pytest.raises(ValueError, match="dim, depth, heads, dropout"):
            DemandForecastTask(**options)
    with pytest.raises(ValueError, match="products, series, lags"):
        DemandForecastTask().setup("fit")
    with pytest.raises(ValueError, match="data: expected SupplyGraphData for DemandForecastTask, got object"):
        DemandForecastTask().meet(object())
    with pytest.raises(ValueError, match="baselines: expected names among lag_1, training_mean, ridge"):
        DemandForecastTask(baselines=["lag 1"])
    module = data(write_supplygraph(tmp_path / "data"))
    with pytest.raises(ValueError, match="lags: expected 3, as the model has, got 7 in the data"):
        DemandForecastTask(lags=3).adapt_to(module)
