"""Windows of long sequences, cut while the file is read: memory does not grow with the length of a chromosome."""

from collections.abc import Iterator
from os import PathLike
from typing import NamedTuple

import torch
from torch import Tensor

from .alphabet import one_hot
from .records import Rules, SequenceFileError
from .text import NumberedLines

GENOME = Rules(empty="skip")
"""What scanning does by default: records without a letter are left out, everything else that is strange is refused."""


class Block(NamedTuple):
    """Neighbouring windows of one sequence.

    Args:
        id: Of the sequence.
        starts: First base of each window, counted from the start of the sequence.
        values: One-hot rows of the windows.
        lengths: Bases before the padding, where a sequence is shorter than a window; else None.
        bases: Bases of the sequence that are known so far; all of them in its last block.
        last: Whether the sequence ends here.
        new: Bases read since the block before.

    Shapes:
        starts: (n,) int64; values: (n, window, 4); lengths: (1,) int64
    """

    id: str
    starts: Tensor
    values: Tensor
    lengths: Tensor | None
    bases: int
    last: bool
    new: int


def fasta_windows(
    path: str | PathLike[str],
    window: int,
    stride: int,
    *,
    batch_size: int = 256,
    most_unknown: float = 0.5,
    rules: Rules = GENOME,
) -> Iterator[Block]:
    """Windows of every sequence of a FASTA file, plain or gzip, in order.

    Windows start at 0, stride, 2 stride, ...; one more ends with the sequence where none of these does. A sequence
    shorter than a window is one window, padded. Memory: `batch_size` windows and the longest line of the file.

    Args:
        path: The file.
        window: Bases of a window.
        stride: Bases between the starts of two windows.
        batch_size: Windows of a block, at most.
        most_unknown: Windows with a larger share of letters other than A, C, G, T are left out: runs of N.
        rules: What to do where the file is not plain DNA.

    Raises:
        SequenceFileError: At the line that `rules` refuse or that is not FASTA.
        ValueError: A number out of range.
    """
    for name, value in (("window", window), ("stride", stride), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    if stride > window:
        raise ValueError(
            f"stride: expected at most the window, {window}, got {stride}: bases between would not be seen"
        )
    if not 0 <= most_unknown <= 1:
        raise ValueError(f"most_unknown: expected 0 .. 1, got {most_unknown}")
    tiler = None
    for id, letters in _lines(path, rules):
        if id is not None:
            if tiler is not None:
                yield from tiler.finish()
            tiler = _Tiler(id, window, stride, batch_size, most_unknown)
        assert tiler is not None
        yield from tiler.feed(letters)
    if tiler is not None:
        yield from tiler.finish()


def _lines(path: str | PathLike[str], rules: Rules) -> Iterator[tuple[str | None, str]]:
    """Letters line by line; the id comes with the first letters of a record."""
    line_of: dict[str, int] = {}
    title: tuple[int, str] | None = None
    waiting = False  # for the first letter of a record
    with NumberedLines(path) as lines:
        for line in lines:
            if line.startswith(">"):
                _check_letters(path, title, waiting, rules)
                words = line[1:].split(None, 1)
                if not words:
                    raise SequenceFileError(path, lines.number, "expected an id after '>', got nothing")
                if rules.duplicates == "refuse" and words[0] in line_of:
                    first = line_of[words[0]]
                    message = f"expected ids that differ, got {words[0]!r} again (first on line {first})"
                    raise SequenceFileError(path, lines.number, message)
                line_of[words[0]] = lines.number
                title, waiting = (lines.number, words[0]), True
                continue
            letters = line.strip()
            if not letters:
                continue
            if title is None:
                raise SequenceFileError(path, lines.number, f"expected a title after '>', got {letters[:40]!r}")
            rules.check(letters, path, lines.number)
            letters = rules.convert(letters)
            if letters:
                yield (title[1] if waiting else None), letters
                waiting = False
        if title is None:
            raise SequenceFileError(path, 1, "expected at least one record, got none")
        _check_letters(path, title, waiting, rules)


def _check_letters(path: str | PathLike[str], title: tuple[int, str] | None, waiting: bool, rules: Rules) -> None:
    if title is not None and waiting and rules.empty == "refuse":
        raise SequenceFileError(path, title[0], f"expected letters in record {title[1]!r}, got none")


class _Tiler:
    """Cuts one sequence into windows as its letters come."""

    def __init__(self, id: str, window: int, stride: int, batch_size: int, most_unknown: float) -> None:
        self.id, self.window, self.stride, self.most_unknown = id, window, stride, most_unknown
        self.batch = batch_size
        self.enough = (
            batch_size - 1
        ) * stride + 2 * window  # a block, and a window behind it that is known to be there
        self.parts: list[str] = []
        self.held = 0  # letters in parts
        self.start = 0  # of the first letter in parts, and of the next window
        self.reported = 0

    def feed(self, letters: str) -> Iterator[Block]:
        """Take letters; give the blocks that are full."""
        self.parts.append(letters)
        self.held += len(letters)
        while self.held >= self.enough:
            text = "".join(self.parts)
            while len(text) >= self.enough:
                yield self._block(text, self.batch, last=False)
                text = text[self.batch * self.stride :]
                self.start += self.batch * self.stride
                self.held = len(text)
            self.parts = [text]

    def finish(self) -> Iterator[Block]:
        """The windows that are left, the last of which ends with the sequence."""
        text = "".join(self.parts)
        count = max(0, (len(text) - self.window) // self.stride + 1)
        while count > self.batch:  # the last ones come together with that at the end
            yield self._block(text, self.batch, last=False)
            text = text[self.batch * self.stride :]
            self.start += self.batch * self.stride
            self.held = len(text)
            count -= self.batch
        yield self._block(text, count, last=True)

    def _block(self, text: str, count: int, last: bool) -> Block:
        bases = self.start + len(text)
        starts = torch.arange(count) * self.stride
        part = one_hot(text[: (count - 1) * self.stride + self.window] if count else text)
        lengths = None
        if count:
            values = part.unfold(0, self.window, self.stride).transpose(1, 2)  # (count, window, 4)
            end = len(text) - self.window
            if last and end % self.stride:
                starts = torch.cat([starts, torch.tensor([end])])
                values = torch.cat([values, one_hot(text[end:])[None]])
        else:
            starts, lengths = torch.zeros(1, dtype=torch.int64), torch.tensor([len(text)])
            values = torch.nn.functional.pad(part, (0, 0, 0, self.window - len(text)))[None]
        unknown = (values.amax(2) < 1).sum(1) - (0 if lengths is None else self.window - lengths)
        kept = unknown <= self.most_unknown * (self.window if lengths is None else lengths)
        new, self.reported = bases - self.reported, bases
        return Block(self.id, self.start + starts[kept], values[kept], lengths, bases, last, new)
