import gzip

import numpy as np
import pytest
import torch

from genomics.detection.data import PlantedMotifsData, SequenceClassificationData
from genomics.detection.data.batch import FreshShuffles, Item, SequenceDataset, Sequences, collate, fixed_shuffles
from genomics.detection.data.split import draw_groups
from genomics.motifs.files import write_motifs
from genomics.motifs.matrices import Motif
from genomics.sequences import decode, shares_kmer
from genomics.sequences.records import SequenceFileError

from ...fakes import SITE, random_sequences, with_site, write_deepbind, write_fasta


def ready(data):
    data.setup()
    return data


def pairs(sequence):
    return sorted(sequence[k : k + 2] for k in range(len(sequence) - 1))


def letters_of(batch):
    return [decode(x[:n]) for x, n in zip(batch.x, batch.lengths.tolist(), strict=True)]


@pytest.fixture
def peaks(tmp_path):
    return write_deepbind(tmp_path / "peaks.seq.gz", with_site(random_sequences(60, 40)))


@pytest.fixture
def labelled(tmp_path):
    positives, negatives = with_site(random_sequences(10, 40, seed=5)), random_sequences(10, 40, seed=6)
    return write_deepbind(tmp_path / "test.seq.gz", positives, negatives)


def test_collate_pads_and_keeps_labels():
    batch = collate([Item("ACG", 1, 7), Item("T", 0, 3)])
    assert batch.x.shape == (2, 3, 4) and batch.lengths.tolist() == [3, 1]
    assert batch.label.tolist() == [1, 0] and batch.index.tolist() == [7, 3]
    assert (batch.x[1, 1:] == 0).all() and letters_of(batch) == ["ACG", "T"]


def test_fixed_shuffles_keep_dinucleotides_and_depend_on_place_and_seed():
    sequences = random_sequences(4, 60)
    a, b = fixed_shuffles(sequences, 2, 0), fixed_shuffles(sequences[:2], 2, 0)
    assert a[:4] == b and len(a) == 8 and a[0] != a[1] and fixed_shuffles(sequences, 2, 1) != a
    assert all(pairs(s) == pairs(sequences[k // 2]) for k, s in enumerate(a))


def test_positives_against_shuffles(peaks, labelled):
    data = ready(SequenceClassificationData(train=str(peaks), test=str(labelled), val_fraction=0.2))
    assert data.describe_split() == (
        "positives + negatives: train 48 + 48, val 12 + 12, test 10 + 10; "
        "no 24 letters in a row in two drawn parts, seed 0 (new shuffles in every epoch)"
    )
    val = data.val_set
    assert val.targets().tolist() == [1] * 12 + [0] * 12
    for positive, negative in zip(val.letters()[:12], val.letters()[12:], strict=True):
        assert pairs(positive) == pairs(negative) and positive != negative
    names = data.names_of(torch.from_numpy(val.items[[0, 12]]))
    assert names[1] == f"{names[0]}/shuffle0" and names[0].startswith("peak")
    assert data.names_of(torch.from_numpy(data.test_set.items[:1])) == ["peak0"]
    assert data.fingerprint().startswith("sha256:") and data.licence and data.source
    again = ready(SequenceClassificationData(train=str(peaks), test=str(labelled), val_fraction=0.2, seed=4))
    assert again.whole.letters == data.whole.letters and np.array_equal(again.val_set.items, val.items)
    other = ready(SequenceClassificationData(train=str(peaks), test=str(labelled), val_fraction=0.2, split_seed=1))
    assert other.val_set.letters() != val.letters()


def epoch(data, number=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    found = {}
    for batch in loader:
        for letters, label, index in zip(letters_of(batch), batch.label.tolist(), batch.index.tolist(), strict=True):
            found[index, label] = letters
    return found


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_every_epoch_has_its_own_shuffles_whatever_the_batches(peaks, workers):
    first, second = (
        ready(
            SequenceClassificationData(
                train=str(peaks),
                batch_size=size,
                drop_last=False,
                num_workers=workers,
                val_fraction=0.2,
                test_fraction=0.2,
            )
        )
        for size in (16, 7)
    )
    a, b, later = epoch(first), epoch(second), epoch(first, 1)
    assert a == b and len(a) == len(first.train_set) == 2 * 36
    for (index, label), letters in a.items():
        parent = first.whole.letters[index]
        if label == 1:
            assert letters == parent == later[index, 1]
        else:
            assert pairs(letters) == pairs(parent) and letters != later[index, 0]
    options = {"drop_last": False, "val_fraction": 0.2, "test_fraction": 0.2}
    assert epoch(ready(SequenceClassificationData(train=str(peaks), seed=1, **options))) != a


def test_shuffles_that_are_not_fresh_and_more_of_them(peaks):
    data = ready(
        SequenceClassificationData(
            train=str(peaks), fresh=False, drop_last=False, ratio=3, test_fraction=0.0, val_fraction=0.1
        )
    )
    assert not isinstance(data.train_set, FreshShuffles) and len(data.train_set) == 54 * 4 and data.test_set is None
    assert epoch(data) == epoch(data, 1)
    many = ready(SequenceClassificationData(train=str(peaks), ratio=3, test_fraction=0.0, val_fraction=0.1))
    assert len(many.train_set) == 54 * 4 and isinstance(many.train_set, FreshShuffles)
    np.random.seed(0)
    drawn = [many.train_set[54 * (1 + r)] for r in range(3)]  # three shuffles of the first positive
    assert len({d.sequence for d in drawn}) == 3 and {d.index for d in drawn} == {many.train_set[0].index}


def test_positives_and_negatives_by_path(tmp_path):
    a = write_fasta(tmp_path / "a.fa", with_site(random_sequences(20, 30)), "a")
    b = write_fasta(tmp_path / "b.fa", random_sequences(40, 50, seed=3), "b")
    data = ready(SequenceClassificationData(positives=str(a), negatives=str(b), val_fraction=0.1, test_fraction=0.2))
    counts = [np.bincount(part.targets()).tolist() for part in (data.plain_train_set, data.val_set, data.test_set)]
    assert counts == [[28, 14], [4, 2], [8, 4]]
    everything = np.concatenate([part.items for part in (data.plain_train_set, data.val_set, data.test_set)])
    assert sorted(everything.tolist()) == list(range(60))
    assert all(
        name[0] == ("a" if label else "b") for name, label in zip(data.whole.names, data.whole.labels, strict=True)
    )


def test_near_duplicates_do_not_cross(tmp_path):
    sequences = random_sequences(40, 60)
    copies = [s[5:] + "ACGTA" for s in sequences]  # 55 letters in common
    path = write_fasta(tmp_path / "a.fa", sequences + copies)
    data = ready(SequenceClassificationData(train=str(path), val_fraction=0.2, test_fraction=0.2))
    parts = [data.plain_train_set, data.val_set, data.test_set]
    real = [[s for s, t in zip(p.letters(), p.targets(), strict=True) if t == 1] for p in parts]
    assert [len(r) for r in real] == [48, 16, 16]
    for one in range(3):
        for other in range(one + 1, 3):
            assert not shares_kmer(real[one], real[other]).any()
    assert not data.seen(data.test_set)[data.test_set.targets() == 1].any()


def test_seen_finds_a_test_peak_that_training_holds(tmp_path):
    sequences = random_sequences(20, 40)
    train = write_deepbind(tmp_path / "train.seq.gz", sequences)
    test = write_deepbind(tmp_path / "test.seq.gz", ["AC" + sequences[3][:30], *random_sequences(3, 40, seed=9)])
    data = ready(SequenceClassificationData(train=str(train), test=str(test)))
    assert data.seen(data.test_set).tolist()[:4] == [True, False, False, False]


def test_by_chromosome(tmp_path):
    genome = write_fasta(tmp_path / "genome.fa", random_sequences(4, 400), "chr")
    rows = [f"chr{c}\t{start}\t{start + 30}\tp\t0\t-" for c in range(4) for start in range(0, 300, 30)]
    bed = tmp_path / "peaks.bed"
    bed.write_text("\n".join(rows) + "\n")
    options = {"train": str(bed), "genome": str(genome), "split": "chromosome"}
    data = ready(SequenceClassificationData(**options, val_fraction=0.25, test_fraction=0.25))
    homes = [
        {data.whole.names[k].split(":")[0] for k in part.items}
        for part in (data.plain_train_set, data.val_set, data.test_set)
    ]
    assert [len(h) for h in homes] == [2, 1, 1] and len(set.union(*homes)) == 4
    named = ready(SequenceClassificationData(**options, val_chromosomes=["chr1"], test_chromosomes=["chr0", "chr3"]))
    homes = [
        {named.whole.names[k].split(":")[0] for k in part.items}
        for part in (named.plain_train_set, named.val_set, named.test_set)
    ]
    assert homes == [{"chr2"}, {"chr1"}, {"chr0", "chr3"}]
    with pytest.raises(ValueError, match=r"val_chromosomes: expected chromosomes .* got chr9"):
        ready(SequenceClassificationData(**options, val_chromosomes=["chr9"]))
    with pytest.raises(ValueError, match="val_chromosomes: expected others"):
        ready(SequenceClassificationData(**options, val_chromosomes=["chr0"], test_chromosomes=["chr0"]))


def test_first_length_and_prediction(tmp_path, peaks, labelled):
    options = {"train": str(peaks), "test": str(labelled), "val_fraction": 0.2}
    data = ready(SequenceClassificationData(**options, first=20, length=10))
    assert len(data.plain_train_set) + len(data.val_set) == 40
    whole = ready(SequenceClassificationData(train=str(peaks), test=str(labelled), val_fraction=0.2))
    assert data.whole.letters[0] == whole.whole.letters[0][15:25]
    new = write_fasta(tmp_path / "new.fa", ["ACGTNNACGT", "acg"], "new")
    predict = SequenceClassificationData(predict=str(new))
    predict.setup("predict")
    batch = next(iter(predict.predict_dataloader()))
    assert batch.label.tolist() == [-1, -1] and batch.lengths.tolist() == [10, 3]
    assert letters_of(batch) == ["ACGTNNACGT", "ACG"]
    assert predict.fingerprint().startswith("sha256:")
    with pytest.raises(ValueError, match="train: expected a sequence file"):
        SequenceClassificationData(predict=str(new)).setup("fit")


def test_a_test_alone(labelled):
    data = ready(SequenceClassificationData(test=str(labelled)))
    assert len(data.test_set) == 20 and data.train_set is None and data.val_set is None


def test_errors_name_the_file_and_the_line(tmp_path):
    table = tmp_path / "x.seq.gz"
    table.write_bytes(gzip.compress(b"FoldID\tEventID\tseq\tBound\nA\tx\tACGT\t1\nA\ty\tACGT\t0.5\n"))
    with pytest.raises(SequenceFileError, match=r"x\.seq\.gz:3: expected 0 or 1 in Bound, got 0.5"):
        ready(SequenceClassificationData(train=str(table)))
    twice = tmp_path / "twice.fa"
    twice.write_text(">a\nACGTACGT\n>a\nGGTTGGCC\n>b\nACGTTGCA\n>c\nTTTTGCGC\n")
    with pytest.raises(SequenceFileError, match=r"twice\.fa:3: .*duplicates='allow'"):
        ready(SequenceClassificationData(train=str(twice)))
    quarters = {"val_fraction": 0.25, "test_fraction": 0.25}
    data = ready(SequenceClassificationData(train=str(twice), duplicates="allow", **quarters))
    assert data.whole.names[:4] == ["a", "a", "b", "c"]
    mixed = write_deepbind(tmp_path / "mixed.seq.gz", ["ACGT"], ["TTTT"])
    negatives = write_fasta(tmp_path / "n.fa", ["ACGT"])
    with pytest.raises(SequenceFileError, match=r"mixed\.seq\.gz:3: expected positives only"):
        ready(SequenceClassificationData(train=str(mixed), negatives=str(negatives)))
    with pytest.raises(FileNotFoundError, match="train: expected a file"):
        ready(SequenceClassificationData(train=str(tmp_path / "none.fa")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positives": "b"}, "train, positives"),
        ({"split": "x"}, "split"),
        ({"split": "chromosome"}, "genome"),
        ({"val_chromosomes": ["chr1"]}, "val_chromosomes"),
        ({"empty": "keep"}, "empty"),
        ({"first": 0}, "first"),
        ({"length": 0}, "length"),
        ({"ratio": 0}, "ratio"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "val_fraction"),
        ({"gaps": "x"}, "gaps"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, message):
    path = write_fasta(tmp_path / "a.fa", random_sequences(8, 30))
    with pytest.raises(ValueError, match=message):
        ready(SequenceClassificationData(**{"train": str(path), **options}))


def test_drawn_groups_are_whole_and_stratified():
    generator = np.random.default_rng(0)
    groups, labels = np.repeat(np.arange(50), 2), np.tile([0, 0, 1, 1], 25)
    rest, drawn = draw_groups(groups, labels, 0.2, generator)
    assert np.bincount(labels[drawn]).tolist() == [10, 10] and len(rest) == 80
    assert not set(groups[rest]) & set(groups[drawn]) and sorted([*rest, *drawn]) == list(range(100))
    assert draw_groups(groups, labels, 0.0, generator)[1].size == 0
    with pytest.raises(ValueError, match=r"test: expected items of class 0 on both sides .* the largest has 9 of 10"):
        draw_groups(np.array([0] * 9 + [1]), np.array([0] * 9 + [1]), 0.5, generator, "test")
    with pytest.raises(ValueError, match=r"val: expected a fraction in \[0, 1\)"):
        draw_groups(groups, labels, 1.0, generator, "val")


@pytest.fixture
def motif_file(tmp_path):
    path = tmp_path / "motifs.meme"
    write_motifs([Motif.from_sites([SITE], name="A"), Motif.from_sites(["GGGTTTAAA"], name="B")], path)
    return str(path)


def test_planted_motifs_and_their_truth(motif_file):
    options = {"positives": 50, "sites": [1, 2], "val_fraction": 0.2, "test_fraction": 0.2}
    data = ready(PlantedMotifsData(motif_file, **options))
    assert [m.id for m in data.planted] == [m.id for m in data.known_motifs()] == ["A", "B"]
    for part in (data.plain_train_set, data.val_set, data.test_set):
        for item, letters, label in zip(part.items, part.letters(), part.targets(), strict=True):
            sites = data.sites_of(int(item))
            assert (len(sites) in (1, 2)) == (label == 1)
            for site in sites:
                found = letters[site.start : site.end]
                assert len(found) == len(data.planted[site.motif]) and site.sequence == item
    assert [len(p) for p in (data.plain_train_set, data.val_set, data.test_set)] == [60, 20, 20]
    again = ready(PlantedMotifsData(motif_file, **options, seed=3))
    other = ready(PlantedMotifsData(motif_file, positives=50, sites=[1, 2], data_seed=1))
    assert data.fingerprint() == again.fingerprint() != other.fingerprint()


def test_planted_options(motif_file):
    for options, message in (
        ({"order": 2}, "order"),
        ({"positives": 0}, "positives"),
        ({"sequence_length": 0}, "sequence_l"),
    ):
        with pytest.raises(ValueError, match=message):
            PlantedMotifsData(motif_file, **options)
    with pytest.raises(FileNotFoundError, match="motif file or a JASPAR id"):
        ready(PlantedMotifsData("nothing.meme"))
    with pytest.raises(ValueError, match="JASPAR ids"):
        ready(PlantedMotifsData(["YY1"]))


def test_the_default_motifs_are_ten_of_jaspar():
    pytest.importorskip("pyjaspar")
    data = ready(PlantedMotifsData(positives=20, val_fraction=0.1, test_fraction=0.1))
    names = ["CTCF", "YY1", "USF2", "TEAD4", "ZNF143", "NFYA", "REST", "GABPA", "SPI1", "FOS::JUN"]
    assert [m.name for m in data.planted] == names


def test_a_data_set_answers_by_item():
    whole = Sequences(["a", "b"], ["AC", "GT"], np.array([1, 0]), np.array([0, 1]))
    part = SequenceDataset(whole, np.array([1]))
    assert part[0] == Item("GT", 0, 1) and part.letters() == ["GT"] and part.targets().tolist() == [0]
