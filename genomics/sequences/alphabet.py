"""The letters of DNA: IUPAC codes, tokens, one-hot rows, and the reverse complement of each.

One letter stands for a set of bases, and a one-hot row holds their probabilities: A is (1, 0, 0, 0), R (A or G) is
(1/2, 0, 1/2, 0), N is (1/4, 1/4, 1/4, 1/4). Columns are A, C, G, T. Token numbers are places in `LETTERS`, so that data
without rare codes use the first five; `PAD` is the token of a place behind the end, whose one-hot row is 0.

Lower case (soft masking) encodes as upper case. What is no IUPAC code of DNA, U and gaps too, is a ValueError: the
readers (`genomics.sequences.readers`) decide what becomes of those.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

LETTERS = "ACGTNRYSWKMBDHV"
"""The IUPAC codes of DNA, at the places that are their token numbers."""

BASES = {
    "A": "A", "C": "C", "G": "G", "T": "T", "N": "ACGT",
    "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
    "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG",
}  # fmt: skip
"""The bases that each code stands for (Cornish-Bowden 1985, Nucleic Acids Research 13:3021, table 1)."""

PAD = len(LETTERS)
"""Token of a place behind the end of a sequence."""

Ambiguous = Literal["probabilities", "zeros", "refuse"]
Mixed = Literal["refuse", "pad", "crop", "fit"]

_PAD_LETTER = "\0"
_COMPLEMENT = "TGCANYRSWMKVHDB"  # of LETTERS, place by place
_COMPLEMENT_OF = str.maketrans(LETTERS + LETTERS.lower(), _COMPLEMENT + _COMPLEMENT.lower())
_KNOWN = str.maketrans("", "", LETTERS + LETTERS.lower())
_PLAIN = str.maketrans("", "", "ACGTacgt")

_ROWS = np.array([[base in BASES[letter] for base in "ACGT"] for letter in LETTERS], dtype=np.float32)
_ROWS = np.vstack([_ROWS / _ROWS.sum(axis=1, keepdims=True), np.zeros((1, 4), dtype=np.float32)])
_TOKEN_OF_BYTE = np.full(256, PAD, dtype=np.int64)
for _token, _letter in enumerate(LETTERS):
    _TOKEN_OF_BYTE[[ord(_letter), ord(_letter.lower())]] = _token
_COMPLEMENT_TOKENS = torch.tensor([*(LETTERS.index(letter) for letter in _COMPLEMENT), PAD])


class Batch(NamedTuple):
    """Sequences of one length, right-padded where they were shorter.

    Shapes:
        values: (B, L, 4) float32 one-hot, or (B, L) int64 tokens
        lengths: (B,) int64, places before the padding
    """

    values: Tensor
    lengths: Tensor


def reverse_complement(sequence: str) -> str:
    """The other strand, read in its own direction; IUPAC codes and case are kept.

    Args:
        sequence: IUPAC codes of DNA in either case.

    Raises:
        ValueError: A letter is no IUPAC code of DNA (U has none: U -> A -> T would not come back).
    """
    _check(sequence, _KNOWN, "IUPAC codes of DNA")
    return sequence.translate(_COMPLEMENT_OF)[::-1]


def tokens(sequence: str) -> Tensor:
    """Token numbers of a sequence, places in `LETTERS`.

    Shapes:
        answer: (L,) int64

    Raises:
        ValueError: A letter is no IUPAC code of DNA.
    """
    _check(sequence, _KNOWN, "IUPAC codes of DNA")
    return torch.from_numpy(_token_array(sequence))


def one_hot(sequence: str, ambiguous: Ambiguous = "probabilities") -> Tensor:
    """Probabilities of A, C, G and T at each place.

    Args:
        sequence: IUPAC codes of DNA in either case.
        ambiguous: What stands for a code of several bases: their equal probabilities (N is 1/4 each), "zeros", or
            "refuse".

    Shapes:
        answer: (L, 4) float32

    Raises:
        ValueError: A letter is no IUPAC code of DNA, or is ambiguous where that is refused.
    """
    rows = _rows(ambiguous)
    _check(sequence, *_accepted(ambiguous))
    return torch.from_numpy(rows[_token_array(sequence)])


def decode(values: Tensor) -> str:
    """The upper-case letters of tokens or of one-hot rows; padding at the end is left out.

    A row of zeros before the last letter (`ambiguous="zeros"`) is N; zeros behind it cannot be told from padding.

    Args:
        values: Tokens or one-hot rows of one sequence.

    Shapes:
        values: (L,) int64 or (L, 4) floating

    Raises:
        ValueError: Another shape, a token that does not exist, padding before a letter, or a row that is the row of
            no IUPAC code.
    """
    if values.ndim == 1 and values.dtype == torch.int64:
        found = values.cpu().numpy()
        outside = (found < 0) | (found > PAD)
        if outside.any():
            raise ValueError(f"values: expected tokens 0 .. {PAD}, got {found[outside][0]}")
        kept = found[: _end(found != PAD)]
        if (kept == PAD).any():
            raise ValueError(f"values: expected padding at the end only, got it at place {int((kept == PAD).argmax())}")
    elif values.ndim == 2 and values.shape[1] == 4 and values.is_floating_point():
        rows = values.detach().float().cpu().numpy()
        distance = np.abs(rows[:, None, :] - _ROWS).max(axis=2)
        found = distance.argmin(axis=1)
        wrong = ~(distance.min(axis=1, initial=np.inf) < 1e-3)
        if wrong.any():
            place = int(wrong.argmax())
            raise ValueError(f"values: expected rows of IUPAC codes, got {rows[place].tolist()} at place {place}")
        kept = found[: _end(found != PAD)]
        kept = np.where(kept == PAD, LETTERS.index("N"), kept)
    else:
        raise ValueError(
            f"values: expected (L,) int64 tokens or (L, 4) one-hot rows, got {tuple(values.shape)} {values.dtype}"
        )
    return "".join(LETTERS[token] for token in kept.tolist())


def reverse_complement_one_hot(values: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Reverse complement of one-hot rows: out[.., i, b] = values[.., L - 1 - i, 3 - b].

    Args:
        values: One-hot rows, probabilities or scores per base in the order A, C, G, T.
        lengths: Places before the padding of each item; None says that nothing is padded. Padding stays where it is.

    Shapes:
        values: (.., L, 4); with lengths (B, L, 4)
        lengths: (B,) int64

    Raises:
        ValueError: The shapes do not fit.
    """
    if values.ndim < 2 or values.shape[-1] != 4:
        raise ValueError(f"values: expected (.., L, 4), got {tuple(values.shape)}")
    if lengths is None:
        return values.flip((-2, -1))
    place, inside = _reversed_places(values, lengths, dims=3)
    reverse = values.flip(-1).gather(1, place[:, :, None].expand_as(values))
    return torch.where(inside[:, :, None], reverse, values)


def reverse_complement_tokens(values: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Reverse complement of tokens; `PAD` is its own complement.

    Args:
        values: Tokens 0 .. `PAD`.
        lengths: Places before the padding of each item; None says that nothing is padded. Padding stays where it is.

    Shapes:
        values: (.., L) int64; with lengths (B, L)
        lengths: (B,) int64

    Raises:
        ValueError: The shapes do not fit.
    """
    if values.ndim < 1 or values.dtype != torch.int64:
        raise ValueError(f"values: expected (.., L) int64 tokens, got {tuple(values.shape)} {values.dtype}")
    swapped = _COMPLEMENT_TOKENS.to(values.device)[values]
    if lengths is None:
        return swapped.flip(-1)
    place, _ = _reversed_places(values, lengths, dims=2)
    return swapped.gather(1, place)


def encode(
    sequences: Sequence[str],
    *,
    form: Literal["one_hot", "tokens"] = "one_hot",
    length: int | None = None,
    mixed: Mixed = "refuse",
    ambiguous: Ambiguous = "probabilities",
) -> Batch:
    """Encode sequences into one tensor.

    Args:
        sequences: IUPAC codes of DNA in either case.
        form: What to answer: one-hot rows or tokens.
        length: Places per sequence; None is the longest (`mixed="pad"`), the shortest ("crop") or the only length.
        mixed: What to do with another length: "refuse"; "pad" shorter ones on the right and refuse longer ones;
            "crop" longer ones to their middle (of an odd surplus, the right end loses one more) and refuse shorter
            ones; "fit" does both and needs `length`.
        ambiguous: As in `one_hot`. Tokens name the code itself: there "zeros" is refused.

    Shapes:
        values: (B, L, 4) float32 or (B, L) int64

    Raises:
        ValueError: A length or a letter is refused (the message names the sequence by its place in `sequences`), or
            `sequences` is one string.
    """
    if form not in ("one_hot", "tokens"):
        raise ValueError(f"form: expected 'one_hot' or 'tokens', got {form!r}")
    if form == "tokens" and ambiguous == "zeros":
        raise ValueError("ambiguous: expected 'probabilities' or 'refuse' for tokens, got 'zeros'")
    if isinstance(sequences, str):
        raise ValueError("sequences: expected a list of strings, got one string")
    rows = _rows(ambiguous)
    accepted = _accepted(ambiguous)
    for number, sequence in enumerate(sequences):
        _check(sequence, *accepted, number)
    fitted, places = _fit(sequences, length, mixed)
    lengths = torch.tensor([len(sequence) for sequence in fitted], dtype=torch.int64)
    text = "".join(sequence.ljust(places, _PAD_LETTER) for sequence in fitted)
    numbers = _token_array(text).reshape(len(fitted), places)
    return Batch(torch.from_numpy(numbers if form == "tokens" else rows[numbers]), lengths)


def _fit(sequences: Sequence[str], length: int | None, mixed: Mixed) -> tuple[list[str], int]:
    if mixed not in ("refuse", "pad", "crop", "fit"):
        raise ValueError(f"mixed: expected 'refuse', 'pad', 'crop' or 'fit', got {mixed!r}")
    if length is not None and length < 0:
        raise ValueError(f"length: expected at least 0, got {length}")
    if length is None:
        if mixed == "fit":
            raise ValueError("length: expected a number for mixed='fit', got None")
        sizes = [len(sequence) for sequence in sequences] or [0]
        length = {"refuse": sizes[0], "pad": max(sizes), "crop": min(sizes)}[mixed]
    fitted = []
    for number, sequence in enumerate(sequences):
        surplus = len(sequence) - length
        if (surplus > 0 and mixed in ("refuse", "pad")) or (surplus < 0 and mixed in ("refuse", "crop")):
            raise ValueError(f"sequences[{number}]: expected {length} letters (mixed={mixed!r}), got {len(sequence)}")
        fitted.append(sequence[surplus // 2 : surplus // 2 + length] if surplus > 0 else sequence)
    return fitted, length


def _rows(ambiguous: Ambiguous) -> np.ndarray:
    if ambiguous not in ("probabilities", "zeros", "refuse"):
        raise ValueError(f"ambiguous: expected 'probabilities', 'zeros' or 'refuse', got {ambiguous!r}")
    return np.where(_ROWS == 1, _ROWS, np.float32(0)) if ambiguous == "zeros" else _ROWS


def _accepted(ambiguous: Ambiguous) -> tuple[dict[int, int | None], str]:
    return (_PLAIN, "A, C, G and T (ambiguous='refuse')") if ambiguous == "refuse" else (_KNOWN, "IUPAC codes of DNA")


def _check(sequence: str, deleted: dict[int, int | None], expected: str, number: int | None = None) -> None:
    """Raise unless the table `deleted` deletes every letter."""
    strange = sequence.translate(deleted)
    if strange:
        place = sequence.index(strange[0])
        name = "sequence" if number is None else f"sequences[{number}]"
        raise ValueError(f"{name}: expected {expected}, got {strange[0]!r} at place {place}")


def _token_array(text: str) -> np.ndarray:
    return _TOKEN_OF_BYTE[np.frombuffer(text.encode("ascii"), dtype=np.uint8)]


def _end(letters: np.ndarray) -> int:
    """One past the last True."""
    places = np.flatnonzero(letters)
    return int(places[-1]) + 1 if len(places) else 0


def _reversed_places(values: Tensor, lengths: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    """For each item, the places of its letters backwards, then those of its padding as they are; which are letters."""
    if values.ndim != dims:
        raise ValueError(f"values: expected {dims} dimensions with lengths, got {tuple(values.shape)}")
    if lengths.shape != values.shape[:1]:
        raise ValueError(f"lengths: expected ({values.shape[0]},), got {tuple(lengths.shape)}")
    places = values.shape[1]
    if len(lengths) and not (0 <= int(lengths.min()) and int(lengths.max()) <= places):
        raise ValueError(f"lengths: expected 0 .. {places}, got {int(lengths.min())} .. {int(lengths.max())}")
    lengths = lengths.to(values.device)
    place = torch.arange(places, device=values.device).expand(len(lengths), -1)
    inside = place < lengths[:, None]
    return torch.where(inside, lengths[:, None] - 1 - place, place), inside
