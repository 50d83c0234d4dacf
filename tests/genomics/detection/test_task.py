import csv
import json

import lightning as L
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from core.training.cli import main
from genomics import MotifDetectionTask, PlantedMotifsData, SequenceClassificationData, best_scores
from genomics.detection.baselines import fit_baselines, kmer_regression, matrix_scan
from genomics.detection.data.batch import Item, collate
from genomics.detection.task import overlap
from genomics.detector.model import top_site
from genomics.motifs.files import write_motifs
from genomics.motifs.matrices import Motif
from genomics.sequences.kmers import kmer_counts

from ..fakes import SITE, random_sequences, with_site, write_deepbind, write_fasta

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore::DeprecationWarning:jsonargparse"),  # lightning's command line
    pytest.mark.filterwarnings("ignore:.*skip_none.*:DeprecationWarning"),
]

TINY = {"features": 8, "filters": 8, "width": 13, "depth": 1, "encoder_heads": 2, "heads": 2, "dropout": 0.0}


def task(**options):
    torch.manual_seed(0)
    return MotifDetectionTask(**{"model_options": TINY, **options})


def batch(labels=(1, 0, 0), lengths=(20, 20, 15)):
    sequences = [s[:n] for s, n in zip(random_sequences(len(labels), 20), lengths, strict=True)]
    return collate([Item(s, y, k) for k, (s, y) in enumerate(zip(sequences, labels, strict=True))])


def trainer(tmp_path, **options):
    return L.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def cross_entropy(p, t):
    return -(t * p.log() + (1 - t) * (1 - p).log())


def test_the_loss_by_its_formula():
    model, b = task(label_smoothing=0.2, positive_weight=3.0), batch()
    p = model(b.x, b.lengths).sigmoid()
    t = torch.tensor([0.9, 0.1, 0.1])
    m = torch.tensor([3.0, 1.0, 1.0])
    assert torch.allclose(model.shared_step(b, "train").loss, (m * cross_entropy(p, t)).sum() / 5, atol=1e-6)
    out = model.shared_step(b, "val")
    assert torch.allclose(out.loss, cross_entropy(p, b.label.float()).mean(), atol=1e-6)
    assert torch.allclose(out.prediction, p, atol=1e-6) and torch.equal(out.target, b.label)


def test_without_padding_the_loss_is_the_same():
    model, b = task(), batch(lengths=(20, 20, 20))
    longer = b._replace(x=torch.nn.functional.pad(b.x, (0, 0, 0, 3), value=torch.nan))
    assert torch.allclose(model.shared_step(b, "train").loss, model.shared_step(longer, "train").loss, atol=1e-6)


def test_overlap_by_hand():
    a = torch.zeros(1, 2, 3, 2)
    a[0, 0, 0, 0] = 1.0  # head 0: the given strand's first base
    a[0, :, 1] = 0.25  # head 1: everywhere
    a[0, 0, 2, 0] = 0.5  # head 2: half of head 0's place, half of the other strand's
    a[0, 1, 2, 0] = 0.5
    assert overlap(a).item() == pytest.approx((0.25 + 0.5 + 0.25) / 3)
    assert overlap(a[:, :, :1]).item() == 0


def test_the_penalty_adds_to_the_training_loss_alone():
    plain, b = task(), batch()
    punished = task(diversity=2.0)
    shared = overlap(plain.model.look(b.x, b.lengths).attention)
    expected = plain.shared_step(b, "train").loss + 2 * shared
    assert torch.allclose(punished.shared_step(b, "train").loss, expected, atol=1e-6) and shared > 0
    assert torch.equal(punished.shared_step(b, "val").loss, plain.shared_step(b, "val").loss)


def test_balanced_weights_and_the_length_come_from_the_training_part(tmp_path):
    a = write_fasta(tmp_path / "a.fa", with_site(random_sequences(20, 30)), "a")
    b = write_fasta(tmp_path / "b.fa", random_sequences(60, 25, seed=3), "b")
    data = SequenceClassificationData(
        positives=str(a), negatives=str(b), batch_size=16, val_fraction=0.1, test_fraction=0.1
    )
    model = task(positive_weight="balanced")
    trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=1, num_sanity_val_steps=0).fit(model, data)
    assert model.class_weight.tolist() == [1.0, 3.0] and int(model.training_length) == 30
    shuffles = SequenceClassificationData(train=str(a), ratio=2, val_fraction=0.1, test_fraction=0.1)
    trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=0).fit(model, shuffles)
    assert model.class_weight.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("architecture", ["attention", "cnn"])
def test_it_learns_a_site(tmp_path, architecture):
    train = write_deepbind(tmp_path / "train.seq.gz", with_site(random_sequences(200, 40), 1))
    positives = with_site(random_sequences(40, 40, seed=7), 2)
    test = write_deepbind(tmp_path / "test.seq.gz", positives, random_sequences(40, 40, seed=8))
    options = {"depth": 0, "filters": 32} if architecture == "attention" else {"hidden": 8}
    kept = {k: v for k, v in TINY.items() if architecture == "attention" or k not in ("encoder_heads", "heads")}
    L.seed_everything(0, verbose=False)
    model = MotifDetectionTask(architecture, kept | options, lr=0.02 if "depth" in options else 0.01, baselines=[])
    data = SequenceClassificationData(train=str(train), test=str(test), batch_size=10)
    fitted = trainer(tmp_path, max_epochs=6)
    fitted.fit(model, data)
    (result,) = fitted.test(model, data, verbose=False)
    assert result["test/auroc"] > 0.97
    if architecture == "attention":
        b = collate([data.test_set[k] for k in range(40)])
        peak = top_site(model.eval().model.look(b.x, b.lengths)).position
        near = [abs(s.index(SITE) + len(SITE) / 2 - float(p)) <= 8 for s, p in zip(positives, peak, strict=True)]
        assert np.mean(near) > 0.9


@pytest.fixture
def files(tmp_path):
    train = write_deepbind(tmp_path / "train.seq.gz", with_site(random_sequences(60, 40), 1))
    positives, negatives = with_site(random_sequences(12, 40, seed=7), 2), random_sequences(12, 40, seed=8)
    test = write_deepbind(tmp_path / "test.seq.gz", positives, negatives)
    return str(train), str(test)


def test_the_kmer_baseline_is_scikit_learns_regression(files):
    data = SequenceClassificationData(train=files[0], test=files[1], fresh=False)
    data.setup()
    result = kmer_regression(data, 4, shuffles=1)
    train, test = data.plain_train_set, data.test_set
    letters = train.letters()[:54]
    from genomics.detection.data.batch import fixed_shuffles

    x = np.log1p(kmer_counts(letters + fixed_shuffles(letters, 1, 0), 4).toarray())
    chosen = float(result.chosen.removeprefix("C = "))
    machine = LogisticRegression(C=chosen, class_weight="balanced", max_iter=1000).fit(x, [1] * 54 + [0] * 54)
    expected = machine.decision_function(np.log1p(kmer_counts(test.letters(), 4).toarray()))
    assert np.allclose(result.score, expected, atol=1e-3)
    assert result.metrics()["test/auroc"] == roc_auc_score(test.targets(), result.score)
    assert result.metrics()["test/accuracy"] == ((result.score > 0) == test.targets()).mean()
    assert 0.5 < result.validation <= 1


def test_given_negatives_are_what_the_regression_trains_on(tmp_path):
    a = write_fasta(tmp_path / "a.fa", ["A" * 30] * 20, "a")
    b = write_fasta(tmp_path / "b.fa", ["C" * 30] * 20, "b")
    nothing_drawn = {"val_fraction": 0.0, "test_fraction": 0.0}
    data = SequenceClassificationData(positives=str(a), negatives=str(b), split_k=32, **nothing_drawn)
    data.setup()
    data.test_set = data.plain_train_set
    result = kmer_regression(data, 4)
    assert result.metrics()["test/auroc"] == 1.0 and np.isnan(result.validation) and result.chosen == "C = 0.01"
    data.test_set = None
    with pytest.raises(ValueError, match="test part"):
        kmer_regression(data, 4)


def test_the_matrix_is_chosen_on_validation(files):
    data = SequenceClassificationData(train=files[0], test=files[1])
    data.setup()
    right, wrong = Motif.from_sites([SITE], id="right"), Motif.from_sites(["GGGGGGGG"], id="wrong")
    result = matrix_scan(data, [wrong, right])
    assert result.chosen == "right" and result.metrics() == {"test/auroc": 1.0, "test/auprc": 1.0}
    assert np.allclose(result.score, best_scores(right, data.test_set.letters()))
    assert result.validation == 1.0
    short = Motif.from_sites(["A" * 50], id="longer than the sequences")
    assert (matrix_scan(data, [short]).score == -1e6).all()
    with pytest.raises(ValueError, match="motifs"):
        matrix_scan(data, [])


def config(tmp_path, **model):
    entries = {
        "seed_everything": 0,
        "model": {
            "class_path": "MotifDetectionTask",
            "init_args": {"model_options": TINY, "lr": 0.01, **model},
        },
        "data": {"class_path": "SequenceClassificationData", "init_args": {"batch_size": 16}},
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False},
    }
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(entries))
    quiet = ["--trainer.default_root_dir", str(tmp_path / "runs"), "--trainer.enable_model_summary", "false"]
    return ["--config", str(path), *quiet]


def test_from_files_to_table(tmp_path, files, capsys):
    options = config(tmp_path)
    write_motifs([Motif.from_sites([SITE], id="site")], tmp_path / "site.meme")
    paths = ["--data.train", files[0], "--data.test", files[1], "--data.motif", str(tmp_path / "site.meme")]
    main(["fit", *options, *paths])
    run = tmp_path / "runs" / "run" / "version_0"
    best = ["--ckpt_path", str(run / "best.ckpt")]
    main(["test", *options, *paths, *best])
    metrics, baselines = (json.loads((run / f"{name}.json").read_text()) for name in ("metrics", "baselines"))
    assert {"test/auroc", "test/auprc", "test/accuracy", "test/loss", "val/auroc"} <= set(metrics)
    assert set(baselines) == {"logistic_4mers", "logistic_6mers", "matrix_scan"}
    assert baselines["matrix_scan"]["test/auroc"] == 1.0
    new = write_fasta(tmp_path / "new.fa", ["ACGTNACGTTTAGGG", "CC" + SITE + "AAAAAAAAAAAAA"], "new")
    out = tmp_path / "table.csv"
    main(["predict", *options, "--data.predict", str(new), *best, "--out", str(out)])
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "probability", "site_position", "site_strand", "site_head", "site_weight"]
    assert [row["id"] for row in rows] == ["new0", "new1"]
    assert 0 <= int(rows[0]["site_position"]) < 15 and {row["site_strand"] for row in rows} <= {"+", "-"}
    model = MotifDetectionTask.load_from_checkpoint(run / "best.ckpt", weights_only=True).eval()
    assert int(model.training_length) == 40
    b = collate([Item("ACGTNACGTTTAGGG", -1, 0), Item("CC" + SITE + "AAAAAAAAAAAAA", -1, 1)])
    expected = model(b.x, b.lengths).sigmoid().tolist()
    assert [float(row["probability"]) for row in rows] == pytest.approx(expected, abs=1e-6)
    main(["predict", *options, *paths, *best, "--out", str(out)])  # without new files: the test part and its labels
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["1"] * 12 + ["0"] * 12 and rows[0]["id"] == "peak0"


def test_the_network_predicts_without_sites(tmp_path, files):
    options = config(tmp_path, model_name="cnn", model_options={"features": 8, "filters": 8, "hidden": 8})
    paths = ["--data.train", files[0], "--data.test", files[1]]
    main(["fit", *options, *paths, "--trainer.max_epochs", "1"])
    best = ["--ckpt_path", str(tmp_path / "runs" / "run" / "version_0" / "best.ckpt")]
    main(["predict", *options, *paths, *best, "--out", str(tmp_path / "t.csv")])
    assert (tmp_path / "t.csv").read_text().startswith("id,label,probability\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_name": "x"}, "model_name: expected one of"),
        ({"model_options": {"layers": 3}}, "model_options: expected options of MotifDetector, got .*layers"),
        ({"model_options": {"width": 4}}, "width"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"positive_weight": "x"}, "positive_weight"),
        ({"positive_weight": 0.0}, "positive_weight"),
        ({"diversity": -1.0}, "diversity"),
        ({"diversity": 1.0, "model_name": "cnn", "model_options": {}}, "diversity"),
        ({"baselines": ["x"]}, "baselines: expected names among logistic_4mers"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        task(**options)


def test_one_clear_message(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["fit", *config(tmp_path), "--data.train", str(tmp_path / "none.fa")])
    error = capsys.readouterr().err
    assert "none.fa" in error and "Traceback" not in error


def test_options_are_primitives():
    for made in (task(), SequenceClassificationData(train="a.fa"), PlantedMotifsData()):
        for value in made.hparams.values():
            assert isinstance(value, (int, float, str, bool, list, tuple, dict, type(None)))


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_loader_of_ones_own(tmp_path):
    b = batch(labels=(1, 0, 1, 0), lengths=(20, 20, 15, 20))
    model = task()
    before = model.model.values.detach().clone()
    fitted = trainer(tmp_path, max_epochs=1)
    one, two = (torch.utils.data.DataLoader([b] * count, batch_size=None) for count in (1, 2))
    fitted.fit(model, two, one)
    assert not torch.equal(before, model.model.values) and int(model.training_length) == 0
    (table,) = fitted.predict(model, one)
    assert table["id"] == ["0", "1", "2", "3"] and table["probability"].shape == (4,)
    assert model.baselines("test") == {}
    expected = r"batch: expected SequenceBatch\(x, lengths, label, index\) for MotifDetectionTask, got list; genomics"
    with pytest.raises(TypeError, match=expected):
        trainer(tmp_path, max_epochs=1).fit(task(), torch.utils.data.DataLoader([[b.x, b.label]], batch_size=None), one)
    with pytest.raises(ValueError, match="positive_weight: expected a number without a SequenceDataModule"):
        trainer(tmp_path, max_epochs=1).fit(task(positive_weight="balanced"), two, one)


def test_baselines_are_chosen_by_name(files):
    data = SequenceClassificationData(train=files[0], test=files[1])
    data.setup()
    (one,) = fit_baselines(data, ["logistic_6mers", "matrix_scan"])  # the data name no matrix
    assert one.name == "logistic_6mers" and one.metrics() == kmer_regression(data, 6).metrics()
    assert fit_baselines(data, []) == []
