import numpy as np
import pytest
import torch
from Bio.Data.IUPACData import ambiguous_dna_values
from Bio.Seq import reverse_complement as biopython_reverse_complement
from hypothesis import given
from hypothesis import strategies as st

from genomics.sequences import (
    BASES,
    LETTERS,
    PAD,
    decode,
    encode,
    one_hot,
    reverse_complement,
    reverse_complement_one_hot,
    reverse_complement_tokens,
    tokens,
)

DNA = st.text("ACGT", max_size=30)
IUPAC = st.text("ACGTRYSWKMBDHVN", max_size=30)
EITHER_CASE = st.text("ACGTRYSWKMBDHVNacgtryswkmbdhvn", max_size=30)


def test_codes_are_those_of_biopython():
    assert {letter: set(bases) for letter, bases in BASES.items()} == {
        letter: set(bases) for letter, bases in ambiguous_dna_values.items() if letter != "X"
    }
    assert sorted(LETTERS) == sorted(BASES) and LETTERS[:5] == "ACGTN" and PAD == 15


def test_one_hot_by_hand():
    rows = one_hot("AtRnB")
    third = np.float32(1 / 3)
    expected = [[1, 0, 0, 0], [0, 0, 0, 1], [0.5, 0, 0.5, 0], [0.25] * 4, [0, third, third, third]]
    assert rows.dtype == torch.float32
    assert torch.equal(rows, torch.tensor(expected))
    zeros = one_hot("AtRnB", ambiguous="zeros")
    assert torch.equal(zeros[:2], rows[:2]) and not zeros[2:].any()
    assert one_hot("").shape == (0, 4)
    with pytest.raises(ValueError, match=r"sequence: expected A, C, G and T .* got 'R' at place 2"):
        one_hot("AtRnB", ambiguous="refuse")


def test_tokens_by_hand():
    found = tokens("ACGTNacgtn")
    assert found.dtype == torch.int64
    assert found.tolist() == [0, 1, 2, 3, 4] * 2
    assert tokens("").shape == (0,)


@pytest.mark.parametrize("letter", ["U", "u", "-", ".", "*", "E", " ", "\0", "ß", "\u0130"])
@pytest.mark.parametrize("function", [one_hot, tokens, reverse_complement, lambda s: encode([s])])
def test_other_letters_are_refused(letter, function):
    with pytest.raises(ValueError, match=r"expected IUPAC codes of DNA, got .* at place 2"):
        function("AC" + letter + "G")


@given(EITHER_CASE)
def test_reverse_complement_is_biopythons_and_comes_back(sequence):
    other = reverse_complement(sequence)
    assert other == biopython_reverse_complement(sequence)
    assert reverse_complement(other) == sequence


@given(EITHER_CASE)
def test_encoding_commutes_with_the_reverse_complement(sequence):
    other = reverse_complement(sequence)
    assert torch.equal(reverse_complement_one_hot(one_hot(sequence)), one_hot(other))
    assert torch.equal(reverse_complement_tokens(tokens(sequence)), tokens(other))
    zeros = one_hot(sequence, ambiguous="zeros")
    assert torch.equal(reverse_complement_one_hot(zeros), one_hot(other, ambiguous="zeros"))


@given(EITHER_CASE)
def test_decoding_comes_back(sequence):
    assert decode(tokens(sequence)) == sequence.upper()
    assert decode(one_hot(sequence)) == sequence.upper()


@given(st.lists(IUPAC, max_size=5), st.integers(0, 4))
def test_padding_stays_behind_the_reverse_complement(sequences, extra):
    length = max(map(len, sequences), default=0) + extra
    other = [reverse_complement(sequence) for sequence in sequences]
    for form, function in (("one_hot", reverse_complement_one_hot), ("tokens", reverse_complement_tokens)):
        batch = encode(sequences, form=form, length=length, mixed="pad")
        turned = function(batch.values, batch.lengths)
        assert torch.equal(turned, encode(other, form=form, length=length, mixed="pad").values)
        assert torch.equal(function(turned, batch.lengths), batch.values)
        assert [decode(item) for item in turned] == other


def test_what_stands_in_the_padding_is_left_alone():
    batch = encode(["ACC", "A"], mixed="pad")
    batch.values[1, 1:] = torch.tensor([7.0, 8.0, 9.0, float("nan")])
    turned = reverse_complement_one_hot(batch.values, batch.lengths)
    assert decode(turned[0]) == "GGT" and decode(turned[1, :1]) == "T"
    assert torch.equal(turned[1, 1:].nan_to_num(-1), batch.values[1, 1:].nan_to_num(-1))


@given(st.lists(IUPAC, min_size=1, max_size=5))
def test_a_batch_holds_what_each_sequence_gives_alone(sequences):
    batch = encode(sequences, mixed="pad")
    numbers = encode(sequences, form="tokens", mixed="pad")
    for k, sequence in enumerate(sequences):
        assert batch.lengths[k] == len(sequence)
        assert torch.equal(batch.values[k, : len(sequence)], one_hot(sequence))
        assert not batch.values[k, len(sequence) :].any()
        assert torch.equal(numbers.values[k, : len(sequence)], tokens(sequence))
        assert (numbers.values[k, len(sequence) :] == PAD).all()


def test_mixed_lengths_by_hand():
    def letters(length, mixed, *sequences):
        batch = encode(sequences, form="tokens", length=length, mixed=mixed)
        return [decode(row) for row in batch.values], batch.values.shape[1], batch.lengths.tolist()

    assert letters(None, "refuse", "ACG", "TTT") == (["ACG", "TTT"], 3, [3, 3])
    assert letters(None, "pad", "ACG", "T") == (["ACG", "T"], 3, [3, 1])
    assert letters(None, "crop", "GACGTT", "TT") == (["CG", "TT"], 2, [2, 2])
    assert letters(3, "crop", "GACGTT") == (["ACG"], 3, [3])  # of a surplus of 3, 1 on the left and 2 on the right
    assert letters(4, "fit", "GACGTT", "TT") == (["ACGT", "TT"], 4, [4, 2])
    assert letters(4, "pad") == ([], 4, [])
    assert letters(None, "refuse") == ([], 0, [])


@pytest.mark.parametrize(
    ("length", "mixed", "message"),
    [
        (None, "refuse", r"sequences\[1\]: expected 3 letters \(mixed='refuse'\), got 2"),
        (2, "refuse", r"sequences\[0\]: expected 2 letters \(mixed='refuse'\), got 3"),
        (2, "pad", r"sequences\[0\]: expected 2 letters \(mixed='pad'\), got 3"),
        (3, "crop", r"sequences\[1\]: expected 3 letters \(mixed='crop'\), got 2"),
        (None, "fit", "length: expected a number"),
        (-1, "fit", "length: expected at least 0"),
        (None, "trim", "mixed: expected"),
    ],
)
def test_mixed_lengths_that_are_refused(length, mixed, message):
    with pytest.raises(ValueError, match=message):
        encode(["ACG", "AC"], length=length, mixed=mixed)


def test_encode_refuses_letters_by_the_number_of_their_sequence():
    with pytest.raises(ValueError, match=r"sequences\[1\]: .* got 'N' at place 2"):
        encode(["ACG", "ACN"], ambiguous="refuse")
    with pytest.raises(ValueError, match="ambiguous: expected 'probabilities' or 'refuse' for tokens"):
        encode(["ACG"], form="tokens", ambiguous="zeros")
    with pytest.raises(ValueError, match="sequences: expected a list of strings, got one string"):
        encode("ACG")
    with pytest.raises(ValueError, match="form: expected"):
        encode(["ACG"], form="kmers")
    with pytest.raises(ValueError, match="ambiguous: expected"):
        one_hot("ACG", ambiguous="drop")


def test_decode_knows_padding_from_unknown_letters():
    assert decode(encode(["ANA"], length=5, mixed="pad", ambiguous="zeros").values[0]) == "ANA"
    assert decode(torch.tensor([0, PAD, PAD])) == "A"
    assert decode(one_hot("ACGTNRYSWKM").bfloat16()) == "ACGTNRYSWKM"
    for wrong, message in [
        (torch.tensor([0, PAD, 1]), "padding at the end only, got it at place 1"),
        (torch.tensor([0, 16]), "tokens 0 .. 15, got 16"),
        (torch.tensor([-1]), "tokens 0 .. 15, got -1"),
        (torch.tensor([[1.0, 0, 0, 0], [0.9, 0.1, 0, 0]]), "rows of IUPAC codes, got .* at place 1"),
        (torch.tensor([[float("nan"), 0, 0, 0]]), "rows of IUPAC codes"),
        (torch.zeros(2, 3), r"got \(2, 3\)"),
        (torch.zeros(2), r"got \(2,\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            decode(wrong)


def test_shapes_that_do_not_fit_are_named():
    rows, numbers = torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"lengths: expected \(2,\), got \(3,\)"):
        reverse_complement_one_hot(rows, torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match=r"lengths: expected 0 .. 3, got 1 .. 4"):
        reverse_complement_tokens(numbers, torch.tensor([1, 4]))
    with pytest.raises(ValueError, match=r"values: expected \(.., L, 4\), got \(2, 3\)"):
        reverse_complement_one_hot(numbers)
    with pytest.raises(ValueError, match="values: expected 3 dimensions"):
        reverse_complement_one_hot(rows[0], torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match="int64 tokens"):
        reverse_complement_tokens(rows)
