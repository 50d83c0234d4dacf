import lightning as L
import numpy as np
import pytest
import torch

from core.training import PredictionTable, Split, checks, load_run
from genomics import MotifDetectionTask, SequenceArrayData
from genomics.detection.data.batch import FreshShuffles
from genomics.sequences import one_hot, shares_kmer

from ...fakes import random_sequences, with_site

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # lightning 2.6 on torch 2.14

TINY = {"features": 8, "filters": 8, "depth": 0, "heads": 2}
SEQUENCES = [*with_site(random_sequences(20, 40)), *random_sequences(20, 40, seed=1)]
LABELS = [1] * 20 + [0] * 20


def ready(data, stage=None):
    data.setup(stage)
    return data


def arrays(**options):
    return SequenceArrayData(SEQUENCES, LABELS, **{"batch_size": 8, **options})


def test_parts_are_drawn_by_the_rule_of_the_domain():
    copies = [sequence[5:] + "ACGTA" for sequence in SEQUENCES]  # 35 letters in common
    data = ready(SequenceArrayData(SEQUENCES + copies, LABELS * 2, val_fraction=0.2, test_fraction=0.2))
    parts = [data.plain_train_set, data.val_set, data.test_set]
    assert [np.bincount(part.targets()).tolist() for part in parts] == [[24, 24], [8, 8], [8, 8]]
    assert not shares_kmer(parts[2].letters(), parts[0].letters() + parts[1].letters()).any()
    assert data.describe_split() == (
        "positives + negatives: train 24 + 24, val 8 + 8, test 8 + 8; no 24 letters in a row in two parts, seed 0"
    )
    assert data.names_of(torch.tensor([0, 79])) == ["0", "79"]


def test_positives_alone_get_shuffles():
    data = ready(SequenceArrayData(SEQUENCES[:20], np.ones(20, bool), val_fraction=0.2, test_fraction=0.2, ratio=2))
    assert isinstance(data.train_set, FreshShuffles) and len(data.train_set) == 12 * 3
    assert data.test_set.targets().tolist() == [1] * 4 + [0] * 8


MASK = np.arange(40) % 4 == 0


@pytest.mark.parametrize(
    "split",
    [
        {"train": ~MASK & (np.arange(40) != 1), "test": MASK},
        {"train": torch.from_numpy(~MASK & (np.arange(40) != 1)), "test": list(range(0, 40, 4))},
        Split(np.flatnonzero(~MASK)[1:], np.empty(0, int), np.arange(0, 40, 4)),
    ],
    ids=["masks", "tensors and lists", "split"],
)
def test_parts_as_given(split):
    data = ready(arrays(split=split))
    assert data.test_set.items.tolist() == list(range(0, 40, 4)) and data.val_set is None
    assert len(data.plain_train_set) == 29 and 1 not in data.plain_train_set.items  # item 1 is in no part
    assert "parts as given" in data.describe_split()
    assert data.split.test.tolist() == data.test_set.items.tolist()


def test_groups_are_not_parted():
    groups = np.repeat([f"family{k}" for k in range(10)], 4)
    data = ready(arrays(groups=groups, val_fraction=0.2, test_fraction=0.2))
    homes = [set(groups[part.items]) for part in (data.plain_train_set, data.val_set, data.test_set)]
    assert [len(home) for home in homes] == [6, 2, 2] and len(set.union(*homes)) == 10
    assert "no group in two parts" in data.describe_split()
    with pytest.raises(ValueError, match="split: expected every group in one part, got 1 in train and test"):
        ready(arrays(groups=groups, split={"train": [0, 20, 21], "test": [1, 24]}))


def test_one_hot_rows_and_bytes_are_the_same_sequences():
    rows = torch.stack([one_hot(sequence) for sequence in SEQUENCES])
    padded = torch.cat([rows, torch.zeros(40, 3, 4)], 1)
    same = [
        rows.numpy(),
        rows.double(),
        padded.numpy(),
        list(rows),
        np.array(SEQUENCES),
        np.array([s.lower().encode() for s in SEQUENCES]),
    ]
    expected = ready(arrays())
    for sequences in same:
        data = ready(SequenceArrayData(sequences, torch.tensor(LABELS), batch_size=8))
        assert data.letters == SEQUENCES and data.fingerprint() == expected.fingerprint()
    lengths = [one_hot("ACGN").numpy(), one_hot("RY").numpy()]
    assert SequenceArrayData(lengths).letters == ["ACGN", "RY"]


class Frame:
    """What a pandas data frame and a Hugging Face data set answer."""

    def __init__(self, names_in, **columns):
        self.stored = columns
        setattr(self, names_in, list(columns))

    def __getitem__(self, name):
        return self.stored[name]


@pytest.mark.parametrize("make", [lambda **c: Frame("columns", **c), lambda **c: Frame("column_names", **c), dict])
def test_columns_of_a_table(make):
    table = make(dna=np.array(SEQUENCES, dtype=object), y=np.array(LABELS), gene=[f"g{k}" for k in range(40)])
    data = ready(SequenceArrayData.from_dataset(table, sequence="dna", label="y", name="gene"))
    assert data.names_of(torch.tensor([3])) == ["g3"] and data.fingerprint() == ready(arrays()).fingerprint()
    with pytest.raises(ValueError, match="label: expected one of the columns dna, y, gene, got 'label'"):
        SequenceArrayData.from_dataset(table, sequence="dna")
    with pytest.raises(ValueError, match="dataset: expected a mapping of columns, a data frame or a dataset, got int"):
        SequenceArrayData.from_dataset(3)


def test_pandas_data_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"sequence": SEQUENCES, "label": LABELS}, index=np.arange(40) + 7)
    data = ready(
        SequenceArrayData.from_dataset(frame, split={"train": frame.index % 2 == 0, "test": frame.index % 2 == 1})
    )
    assert data.letters == SEQUENCES and data.test_set.items.tolist() == list(range(0, 40, 2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sequences": []}, "sequences: expected at least one, got none"),
        ({"sequences": "ACGT"}, "sequences: expected a list of strings, got one string"),
        ({"sequences": ["ACGT", "AC-T"]}, r"sequences\[1\]: expected IUPAC codes of DNA, got '-' at place 2"),
        ({"sequences": ["ACGT", ""]}, r"sequences\[1\]: expected letters, got none"),
        ({"sequences": ["ACGT", None]}, r"sequences\[1\]: expected a string or one-hot rows, got NoneType"),
        ({"sequences": np.zeros((2, 4, 9))}, r"sequences: expected \(n,\) strings or \(n, L, 4\) numbers, got \(2, 4"),
        ({"sequences": np.full((2, 9, 4), np.nan)}, r"sequences\[0\]: expected rows of IUPAC codes, got \[nan"),
        ({"sequences": np.zeros((2, 9, 4))}, r"sequences\[0\]: expected letters, got none"),
        ({"labels": [1, 0, 1]}, r"labels: expected \(2,\), one of each sequence, got \(3,\)"),
        ({"labels": [1, 2]}, "labels: expected 1 or 0, got 2 at place 1"),
        ({"labels": [1.0, np.nan]}, "labels: expected 1 or 0, got nan at place 1"),
        ({"labels": ["1", "0"]}, "labels: expected numbers 1 or 0, got <U1"),
        ({"labels": [0, 0]}, "labels: expected some 1, got none"),
        ({"names": ["a", "a"]}, "names: expected 2 different names, got 1 in 2"),
        ({"groups": [1]}, r"groups: expected \(2,\)"),
        ({"split": {"train": [0], "exam": [1]}}, "split: expected the parts train, val, test, got 'exam'"),
        ({"split": {"train": [0, 2]}}, "train: expected whole numbers 0 .. 1, got int64 up to 2"),
        ({"split": {"train": [True]}}, "train: expected a mask of 2 items"),
        ({"split": {"train": [0.5]}}, "train: expected whole numbers 0 .. 1, got float64"),
        ({"split": {"train": [1]}}, "split: expected some label 1 in train, got none"),
        ({"split": {"train": [0]}, "labels": None}, "labels: expected 1 or 0 of each for a split, got None"),
        ({"split": {"train": [0]}, "val_fraction": 0.2}, "val_fraction: expected none with your own split, got 0.2"),
    ],
)
def test_what_does_not_fit(given, message):
    with pytest.raises(ValueError, match=message):
        SequenceArrayData(**{"sequences": ["ACGT", "GGGT"], "labels": [1, 0], **given})


def test_an_item_in_two_parts():
    with pytest.raises(ValueError, match="split: expected every item in one part, got 1 in train and test, such as 0"):
        ready(arrays(split={"train": [0, 1], "test": [0, 2]}))


@pytest.mark.parametrize("check", checks.DATA, ids=checks.name)
def test_as_data_of_the_suite(check):
    check(arrays)


def test_from_arrays_to_the_same_predictions(tmp_path):
    torch.manual_seed(0)
    data, task = arrays(), MotifDetectionTask(model_options=TINY, baselines=["logistic_4mers"])
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    quiet |= {"enable_checkpointing": False, "default_root_dir": tmp_path}
    trainer = L.Trainer(max_epochs=1, num_sanity_val_steps=0, **quiet)
    trainer.fit(task, data)
    assert int(task.training_length) == 40
    (found,) = trainer.test(task, data, verbose=False)
    assert set(found) == {"test/loss", "test/accuracy", "test/auroc", "test/auprc"}
    assert set(task.baselines("test")) == {"logistic_4mers"}
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_run(tmp_path / "a.ckpt")
    options = loaded.checkpoint["datamodule_hyper_parameters"]
    assert options["batch_size"] == 8 and not {"sequences", "labels", "names", "split", "groups"} & set(options)
    new = SequenceArrayData(SEQUENCES[:3], names=["a", "b", "c"])
    for number, model in enumerate((task, loaded.task)):
        table = PredictionTable(tmp_path / f"{number}.csv")
        L.Trainer(callbacks=[table], **quiet).predict(model, new)
    first, second = ((tmp_path / f"{number}.csv").read_text() for number in (0, 1))
    assert first == second and first.splitlines()[0].startswith("id,probability,site_position")
    assert [line.split(",")[0] for line in first.splitlines()[1:]] == ["a", "b", "c"] and new.describe_split() == ""
    with pytest.raises(ValueError, match=r"path: expected options of genomics\.SequenceArrayData .* got .*'sequences'"):
        load_run(tmp_path / "a.ckpt", data=True)


def test_no_letter_becomes_two():
    with pytest.raises(ValueError, match=r"sequences\[0\]: expected IUPAC codes of DNA, got 'ß' at place 2"):
        SequenceArrayData(["ACß"])
    with pytest.raises(ValueError, match="sequences: expected a list of strings, got int"):
        SequenceArrayData(5)
