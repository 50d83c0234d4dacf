import csv
import json

import lightning as L
import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from core.training.cli import main
from graphs import InputOutputData, SupplyChainTask, SyntheticEconomy, SyntheticEconomyData
from graphs.layers.receptive import hop_distances
from graphs.supply.data.flows import join
from graphs.supply.input_output import leontief_inverse, truncated_series

from ..fakes import write_make_use, write_square

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore::DeprecationWarning:jsonargparse"),  # lightning's command line
    pytest.mark.filterwarnings("ignore:.*skip_none.*:DeprecationWarning"),
]


def data(**options):
    module = SyntheticEconomyData(
        **{"economies": 12, "held_out": 2, "min_sectors": 12, "max_sectors": 16, "count": 16, **options}
    )
    module.setup()
    return module


def fit(task, module, epochs):
    L.seed_everything(0, verbose=False)
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
        limit_val_batches=0,
    )
    trainer.fit(task, module)
    return task, trainer


def test_batches_are_block_diagonal():
    items = data().items("train")[:3]
    batch = join(items)
    sizes = [len(item.economy) for item in items]
    assert batch.shock.shape == (sum(sizes), max(sizes)) and batch.number.tolist() == [0, 1, 2]
    dense = torch.zeros(sum(sizes), sum(sizes), dtype=torch.float64)
    dense[batch.supplier, batch.buyer] = batch.coefficient
    assert torch.equal(dense, torch.block_diag(*(item.economy.coefficients for item in items)))
    assert (batch.graph[batch.supplier] == batch.graph[batch.buyer]).all()
    short = sizes.index(min(sizes))
    assert not batch.observed[batch.graph == short][:, min(sizes) :].any()


@pytest.mark.parametrize("target", ["requirement", "price", "demand"])
@pytest.mark.parametrize("truth", ["series", "inverse"])
def test_truths(target, truth):
    items = data().items("train")[:2]
    found = SupplyChainTask(target, hops=2, truth=truth).answer(join(items))
    first = 0
    for item in items:
        matrix, n = item.economy.coefficients, len(item.economy)
        whole = leontief_inverse(matrix) if truth == "inverse" else truncated_series(matrix, 2)
        expected = {"requirement": whole, "price": whole.T, "demand": torch.eye(n) - matrix}[target]
        assert torch.allclose(found[first : first + n, :n], expected.double(), atol=1e-10)
        first += n


def test_economies_do_not_see_each_other():
    """A batch answers what its economies answer alone, also beside one with other numbers."""
    items = data().items("train")[:3]
    torch.manual_seed(0)
    task = SupplyChainTask(hops=2)
    with torch.no_grad():
        together = task(join(items).edges("demand"), join(items).shock)
        first = 0
        for item in items:
            n = len(item.economy)
            alone = task(item.economy.edges(), item.shock)
            assert torch.allclose(together[first : first + n, :n], alone, atol=1e-6)
            first += n


def test_parts_share_no_economy_and_depend_on_nothing_else():
    module = data()
    parts = {stage: [i.economy.coefficients for i in module.items(stage)] for stage in ("train", "val", "test")}
    everything = [a for part in parts.values() for a in part]
    assert not any(
        a.shape == b.shape and torch.allclose(a, b) for k, a in enumerate(everything) for b in everything[:k]
    )
    more = data(economies=20)
    first = [item.economy.coefficients for item in more.items("train")[:12]]
    assert all(torch.equal(a, b) for a, b in zip(parts["train"], first, strict=True))
    assert all(torch.equal(a.economy.coefficients, b) for a, b in zip(more.items("test"), parts["test"], strict=True))
    assert data(seed=1).fingerprint() != module.fingerprint() == data().fingerprint()


def test_masked_answers_do_not_train():
    module = data(observed=0.5)
    item = module.items("train")[0]
    known = item.observed[:, 0]
    assert known.sum() == round(0.5 * len(known)) and (item.observed == known[:, None]).all()
    assert all(other.observed.all() for other in module.items("test"))
    batch = join([item])
    task = SupplyChainTask(hops=2)
    truth = task.answer(batch)
    task.answer = lambda batch: torch.where(batch.observed, truth, 77.0)
    loss = task.shared_step(batch, "train").loss
    task.answer = lambda batch: torch.where(batch.observed, truth, 0.001)
    assert torch.equal(task.shared_step(batch, "train").loss, loss)


def test_it_learns_and_transfers_to_a_table(tmp_path):
    """Trained on small economies, tested on a table of another size; scores as scikit-learn counts them."""
    matrix = np.random.default_rng(0).dirichlet(np.ones(4), size=20).T * 0.6
    square = np.zeros((20, 20))
    for buyer in range(20):
        square[[(buyer + k) % 20 for k in (1, 2, 5, 7)], buyer] = matrix[:, buyer]
    path = write_square(tmp_path / "a.csv", square)
    task, trainer = fit(SupplyChainTask(hops=2, lr=0.02, weight_decay=0.0), data(economies=48), 12)
    table = InputOutputData(table=str(path), economies=1)
    found = trainer.test(task, table, verbose=False)[0]
    economy = table.items("test")[0].economy
    with torch.no_grad():
        answer = task(economy.edges(), torch.eye(20)).double()
    truth, distance = truncated_series(economy.coefficients, 2), hop_distances(economy.edges().index, 20)
    within = (distance > 0) & (distance <= 2)
    assert found["test/r2"] == pytest.approx(r2_score(truth[within].log(), answer[within].log()), abs=1e-5)
    assert found["test/r2_linear"] == pytest.approx(r2_score(truth[within], answer[within]), abs=1e-4)
    assert found["test/r2"] > 0.9
    assert found["test/beyond"] == 0.0 and (answer[(distance > 2) | (distance < 0)] == 0).all()
    assert ((distance > 2) | (distance < 0)).any()
    baselines = task.baselines("test")
    assert baselines["two_rounds"]["test/r2"] == 1.0  # it is the truth of two hops
    assert baselines["one_round"]["test/reached"] == pytest.approx(float((distance[within] == 1).double().mean()))
    assert baselines["one_round"]["test/r2"] < found["test/r2"]


@pytest.mark.parametrize(("target", "hops"), [("price", 2), ("demand", 1)])
def test_other_targets_learn(target, hops):
    task, trainer = fit(SupplyChainTask(target, hops=hops, lr=0.02, weight_decay=0.0), data(economies=24), 10)
    assert trainer.test(task, data(), verbose=False)[0]["test/r2"] > 0.8
    names = {"price": ["one_round", "two_rounds", "series_against_inverse"], "demand": ["output_itself"]}[target]
    assert list(task.baselines("test")) == names


def test_columns_are_split_without_overlap(tmp_path):
    use, make = write_make_use(tmp_path)
    square = np.diag(np.full(29, 0.1), 1) + np.diag(np.full(29, 0.2), -1)
    module = InputOutputData(table=str(write_square(tmp_path / "b.csv", square)), train_on="columns")
    module.setup()
    labels = {
        stage: [name for item in module.items(stage) for name in item.labels] for stage in ("train", "val", "test")
    }
    assert len(labels["val"]) == 3 and len(labels["test"]) == 9
    assert sorted(name for part in labels.values() for name in part) == sorted(module.economy.names)
    for item in module.items("train"):
        assert item.shock.sum(0).tolist() == [1.0] * len(item.labels)
    assert module.describe_split() == "columns drawn, seed 0: train 18, val 3, test 9"
    with pytest.raises(ValueError, match="columns for training"):
        InputOutputData(str(use), str(make), train_on="columns", test_fraction=0.9, val_fraction=0.05).setup()


def test_drawn_economies_have_the_tables_threshold(tmp_path):
    square = np.diag(np.full(9, 0.1), 1) + np.diag(np.full(9, 0.07), -1)
    module = InputOutputData(table=str(write_square(tmp_path / "c.csv", square)), threshold=0.08, economies=3)
    module.setup()
    for stage in ("train", "val", "test"):
        for item in module.items(stage):
            a = item.economy.coefficients
            assert a[a > 0].min() > 0.08
    assert int((module.items("test")[0].economy.coefficients > 0).sum()) == 9
    assert module.items("test")[0].shock.shape == (10, 10)
    words = "economies drawn one by one, seed 0, the table for the test: train 3, val 1, test 1"
    assert module.describe_split() == words


def write_config(tmp_path, task, module):
    entries = {
        "seed_everything": 0,
        "model": {"class_path": "SupplyChainTask", "init_args": task},
        "data": module,
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False},
    }
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(entries))
    return ["--config", str(path), "--trainer.default_root_dir", str(tmp_path / "runs")]


def test_from_tables_to_predictions(tmp_path, capsys):
    use, make = write_make_use(tmp_path / "io")
    module = {"class_path": "InputOutputData", "init_args": {"use": str(use), "make": str(make), "economies": 4}}
    options = write_config(tmp_path, {"hops": 2, "scenarios": 5}, module)
    main(["fit", *options])
    run = tmp_path / "runs" / "run" / "version_0"
    best = ["--ckpt_path", str(run / "best.ckpt")]
    main(["test", *options, *best])
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"test/r2", "test/r2_linear", "test/rmse", "test/beyond"} <= set(metrics)
    baselines = json.loads((run / "baselines.json").read_text())
    assert list(baselines) == ["one_round", "series_against_inverse", "two_rounds"]
    assert baselines["two_rounds"]["test/r2"] == 1.0
    main(["predict", *options, *best, "--out", str(tmp_path / "table.csv")])
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 and rows[1]["id"] == "0:farm:mill"
    assert all(
        float(row["low"]) <= float(row["prediction"]) * 1.2 and float(row["low"]) <= float(row["high"]) for row in rows
    )
    economy = InputOutputData(str(use), str(make)).read().threshold(0.02)
    truth = truncated_series(economy.coefficients, 2)
    assert [float(row["truth"]) for row in rows] == pytest.approx(truth.T.flatten().tolist(), rel=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SupplyChainTask("profit"), "target: expected one of requirement, price, demand"),
        (lambda: SupplyChainTask(truth="x"), "truth"),
        (lambda: SupplyChainTask(scenarios=1), "scenarios"),
        (lambda: SupplyChainTask(hops=0), "hops"),
        (lambda: SupplyChainTask().meet(object()), "data: expected FlowData for SupplyChainTask, got object"),
        (lambda: SupplyChainTask(baselines=["output_itself"]), "baselines: expected names among one_round"),
        (lambda: SyntheticEconomyData(shocks="x"), "shocks: expected one of unit, sparse"),
        (lambda: SyntheticEconomyData(economies=0), "economies"),
        (lambda: SyntheticEconomyData(observed=0.0), "observed"),
        (lambda: SyntheticEconomyData(hit=31), "hit"),
        (lambda: InputOutputData(), "--data.use USE.csv.gz"),
        (lambda: InputOutputData("u"), "use, make, table"),
        (lambda: InputOutputData(table="t", train_on="x"), "train_on"),
        (lambda: InputOutputData(table="t", test_fraction=1.0), "val_fraction, test_fraction"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_options_are_primitives():
    for made in (SupplyChainTask(), SyntheticEconomyData(), InputOutputData(table="t")):
        for value in made.hparams.values():
            assert isinstance(value, (int, float, str, bool, list, tuple, dict, type(None)))


def test_training_draws_some_unit_shocks_and_the_test_has_all():
    module = data(count=5)
    for stage, expected in (("train", lambda n: 5), ("val", lambda n: n), ("test", lambda n: n)):
        for item in module.items(stage):
            n = len(item.economy)
            assert item.shock.shape == (n, expected(n)) and item.shock.sum(0).eq(1).all() and item.shock.max() == 1
            assert [item.economy.names[int(k)] for k in item.shock.argmax(0)] == list(item.labels)
            assert len(set(item.labels)) == len(item.labels)
    assert len({item.labels for item in module.items("train")}) > 1


def test_sparse_shocks_in_a_module():
    module = data(shocks="sparse", count=5, hit=2)
    item = module.items("train")[0]
    assert item.shock.shape[1] == 5 and item.labels[0] == "shock 0" and set((item.shock > 0).sum(0).tolist()) <= {1, 2}


def test_the_former_name_draws_the_same():
    options = {"economies": 2, "held_out": 1, "min_sectors": 12, "max_sectors": 16}
    old, new = SyntheticEconomy(**options), SyntheticEconomyData(**options)
    for module in (old, new):
        module.setup()
    assert old.former and old.fingerprint() == new.fingerprint()
    assert new.describe_split() == "economies drawn one by one, seed 0: train 2, val 1, test 1"
    again = SyntheticEconomyData(**new.hparams)
    assert (again.economies, again.batch_size) == (2, 4)
    with pytest.raises(TypeError, match="val_fraction"):
        SyntheticEconomyData(val_fraction=0.5)


@pytest.mark.filterwarnings("ignore:.*(does not have many workers|no `val_dataloader`)")  # plain loaders, as users have
def test_a_loader_of_the_users_own_trains_and_predicts():
    items = data().items("train")[:2]
    loader = torch.utils.data.DataLoader([join(items)], batch_size=None)
    task = SupplyChainTask(hops=2)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"accelerator": "cpu", "max_epochs": 1, "enable_model_summary": False}
    L.Trainer(**quiet).fit(task, loader)
    table = L.Trainer(**quiet).predict(task, loader)[0]
    sizes = [item.shock.shape for item in items]
    assert len(table["id"]) == sum(n * m for n, m in sizes)  # no rows of shocks that an economy does not have
    assert table["id"][:2] == ["0:0:0", "0:0:1"] and table["id"][-1] == f"1:{sizes[1][1] - 1}:{sizes[1][0] - 1}"
    assert task.baselines("test") == {}
    with pytest.raises(TypeError, match=r"expected ShockBatch\(supplier, .*\) for SupplyChainTask, got Tensor"):
        L.Trainer(**quiet).fit(task, torch.utils.data.DataLoader([items[0].shock], batch_size=None))
