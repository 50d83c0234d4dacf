import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold

from genomics.sequences import (
    Interval,
    SequenceRecord,
    dinucleotide_shuffle,
    group_by_chromosome,
    group_by_shared_kmers,
    read_sequences,
    reverse_complement,
    shares_kmer,
)


def random_sequences(number, length, seed):
    letters = np.array(list("ACGT"))
    return ["".join(row) for row in letters[np.random.default_rng(seed).integers(0, 4, (number, length))]]


def words(sequence, k, both_strands):
    """The k-mers of A, C, G and T as text."""
    strands = [sequence.upper()] + ([reverse_complement(sequence.upper())] if both_strands else [])
    found = {strand[i : i + k] for strand in strands for i in range(len(strand) - k + 1)}
    return {word for word in found if set(word) <= set("ACGT")}


def same_partition(found, links, n):
    """Whether the groups are the components of the links, by spreading the smallest number."""
    label = list(range(n))
    for _ in range(n):
        for i, j in links:
            label[i] = label[j] = min(label[i], label[j])
    return all((found[i] == found[j]) == (label[i] == label[j]) for i in range(n) for j in range(n))


@given(st.lists(st.text("ACGTNa", max_size=9), max_size=8), st.integers(1, 5), st.booleans())
def test_groups_are_the_components_of_shared_words(sequences, k, both_strands):
    found = group_by_shared_kmers(sequences, k, both_strands)
    every = [words(sequence, k, both_strands) for sequence in sequences]
    links = [(i, j) for i, j in combinations(range(len(every)), 2) if every[i] & every[j]]
    for i, j in combinations(range(len(every)), 2):
        copies = {sequences[j].upper()} | ({reverse_complement(sequences[j].upper())} if both_strands else set())
        if not every[i] and not every[j] and sequences[i].upper() in copies:
            links.append((i, j))
    assert found.shape == (len(sequences),) and found.dtype == np.int64
    assert same_partition(found, links, len(sequences))
    firsts = [number for i, number in enumerate(found) if number not in found[:i]]
    assert firsts == list(range(len(firsts)))


@given(
    st.lists(st.text("ACGTNa", max_size=9), max_size=6),
    st.lists(st.text("ACGTN", max_size=9), max_size=6),
    st.booleans(),
)
def test_shares_kmer_is_a_common_word(sequences, others, both_strands):
    known = set().union(*(words(sequence, 3, both_strands) for sequence in others))
    expected = [bool(words(sequence, 3, both_strands) & known) for sequence in sequences]
    assert shares_kmer(sequences, others, 3, both_strands).tolist() == expected


def test_planted_near_duplicates_on_both_strands_are_found():
    sequences = random_sequences(200, 101, seed=0)
    mutated = list(sequences[10])
    mutated[50] = "A" if mutated[50] != "A" else "C"
    planted = {
        10: "".join(mutated),  # one substitution in the middle leaves 50 letters on either side
        20: reverse_complement(sequences[20]),
        30: sequences[30][40:] + sequences[199][:40],  # 61 letters of one and 40 of another: joins 30 and 199
        40: reverse_complement(sequences[40][77:] + random_sequences(1, 77, seed=1)[0]),  # exactly 24 letters
        50: sequences[50].lower(),
    }
    next_letter = "A" if sequences[60][23] != "A" else "C"
    near = sequences[60][:23] + next_letter + random_sequences(1, 60, seed=4)[0]  # 23 letters: one too few
    groups = group_by_shared_kmers([*sequences, *planted.values(), near])
    for number, (source, _) in enumerate(planted.items(), 200):
        assert groups[number] == groups[source]
    assert groups[30] == groups[199] and groups[205] not in groups[:205]
    assert len(set(groups)) == 200 - 1 + 1  # 30 and 199 are one, and 205 is new
    one_strand = group_by_shared_kmers([*sequences, *planted.values(), near], both_strands=False)
    assert one_strand[201] not in one_strand[:201] and one_strand[200] == one_strand[10]
    assert shares_kmer([*planted.values(), near], sequences).tolist() == [True] * 5 + [False]


def test_no_near_duplicate_crosses_a_group_fold():
    sequences = random_sequences(60, 101, seed=2)
    sequences += [reverse_complement(sequence[20:] + "ACGTTTACCA") for sequence in sequences[:30]]
    groups = group_by_shared_kmers(sequences)
    assert len(set(groups)) == 60
    for train, test in GroupKFold(5).split(sequences, groups=groups):
        assert not shares_kmer([sequences[i] for i in test], [sequences[i] for i in train]).any()
    crossing = shares_kmer(sequences[60:], sequences[:60])  # what a split in the order of the file would have leaked
    assert crossing.all()


def test_words_of_32_letters_on_either_strand():
    sequence = "T" * 8 + "ACGTTGCATTAGGCAACCATTGAC" + "G" * 8  # all 64 bits are used
    longer, different = "A" + reverse_complement(sequence[:32]), "C" * 40
    assert group_by_shared_kmers([sequence, longer, different], k=32).tolist() == [0, 0, 1]
    assert group_by_shared_kmers([sequence, sequence[:31] + "A" * 9], k=32).tolist() == [0, 1]


def test_runs_of_n_and_borders_link_nothing():
    assert group_by_shared_kmers(["ACG" + "N" * 30, "TTC" + "N" * 30], k=4).tolist() == [0, 1]
    assert group_by_shared_kmers(["AC", "GT", "ACGT"], k=4, both_strands=False).tolist() == [0, 1, 2]
    assert group_by_shared_kmers(["AC", "GT", "ACGT", "ac"], k=4).tolist() == [0, 0, 1, 0]
    assert group_by_shared_kmers([]).tolist() == [] and shares_kmer([], ["ACGT"]).tolist() == []


def test_shuffles_of_one_sequence_stay_apart_from_it():
    sequences = random_sequences(50, 101, seed=3)
    generator = np.random.default_rng(0)
    shuffled = [dinucleotide_shuffle(sequence, generator) for sequence in sequences]
    assert not shares_kmer(shuffled, sequences).any()


def test_arguments_that_are_refused():
    for k in (0, 33):
        with pytest.raises(ValueError, match=f"k: expected 1 .. 32, got {k}"):
            group_by_shared_kmers(["ACGT"], k=k)
    with pytest.raises(ValueError, match="sequences: expected a list of strings, got one string"):
        group_by_shared_kmers("ACGT", k=1)
    for letter in "U-*é":
        with pytest.raises(ValueError, match=r"sequences\[1\]: expected IUPAC codes of DNA, got '[U\-*é]'"):
            group_by_shared_kmers(["ACGT", "AC" + letter], k=2)


def test_groups_by_chromosome():
    records = [SequenceRecord("x", "A", "", 1, Interval(chrom, 0, 1, "+")) for chrom in ("chr2", "chr1", "chr2")]
    assert group_by_chromosome(records).tolist() == [0, 1, 0]
    assert group_by_chromosome([]).tolist() == []
    with pytest.raises(ValueError, match=r"records: expected an interval in each, got none in 'y' \(line 7\)"):
        group_by_chromosome([*records, SequenceRecord("y", "A", "", 7)])


@pytest.mark.local_data
@pytest.mark.skipif("ATTENTION_SUITE_DATA" not in os.environ, reason="ATTENTION_SUITE_DATA is not set")
def test_peaks_of_yy1_that_training_has_seen():
    folder = Path(os.environ["ATTENTION_SUITE_DATA"], "genomics", "chip")
    train, test = (list(read_sequences(folder / f"YY1_{part}.seq.gz")) for part in ("train", "test"))
    peaks = [record.sequence for record in test if record.label == 1]
    assert (len(train), len(test), len(peaks)) == (17828, 1000, 500)
    seen = shares_kmer(peaks, [record.sequence for record in train])
    known = set().union(*(words(record.sequence, 24, True) for record in train))
    assert seen.tolist() == [bool(words(peak, 24, False) & known) for peak in peaks]
    assert seen.sum() == 25
