"""What the language demos share: words, a vocabulary, a small encoder of text, and how numbers are printed.

Run core_sentence.py, core_coreference.py or core_keywords.py.
"""

import hashlib
import platform
import re
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import core
from core import masks

PAD, UNKNOWN, MASK = 0, 1, 2  # the first entries of every vocabulary
WORD = re.compile(r"['\u2019]s\b|\w+(?:[-'\u2019](?!s\b)\w+)*|[^\w\s]")


class Token(NamedTuple):
    """A word or mark and where it starts in its text, in characters."""

    text: str
    start: int


def tokenise(text: str) -> list[Token]:
    """Words (inner hyphens and apostrophes stay), the possessive 's, single punctuation marks."""
    return [Token(match.group(), match.start()) for match in WORD.finditer(text)]


class Vocabulary:
    """Lower-case words that occur at least `minimum` times, the most frequent first (ties: alphabetical).

    Args:
        documents: lists of words, of the training part only.
        minimum: rarer words are unknown.
    """

    def __init__(self, documents: Iterable[Sequence[str]], minimum: int = 1) -> None:
        counts = Counter(word.lower() for document in documents for word in document)
        kept = sorted((word for word, count in counts.items() if count >= minimum), key=lambda w: (-counts[w], w))
        self.words = ["<pad>", "<unknown>", "<mask>", *kept]
        self.index = {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def ids(self, words: Sequence[str]) -> list[int]:
        """The number of each word; UNKNOWN for those not kept."""
        return [self.index.get(word.lower(), UNKNOWN) for word in words]


def pad(rows: Sequence[Sequence[int]], fill: int = PAD) -> Tensor:
    """Rows of numbers as one (B, longest) tensor, filled up on the right."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])


class TextEncoder(nn.Module):
    """Word embeddings (plus what else is known of each word), then `core.Encoder` with a relative bias per block.

    Args:
        words: entries of the vocabulary.
        dim: features.
        depth: blocks.
        heads: heads of each block.
        reach: offsets beyond this many tokens share one bias.
        dropout: on the embeddings and in the blocks.

    Shapes:
        ids: (B, L), PAD where there is no word; extra: (B, L, dim); out: (B, L, dim).
    """

    def __init__(self, words: int, dim: int, depth: int, heads: int, *, reach: int = 16, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, dim, padding_idx=PAD)
        self.relative = nn.ModuleList(core.RelativeBias(heads, reach) for _ in range(depth))
        self.encoder = core.Encoder(dim, depth, heads, mlp_ratio=2.0, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, ids: Tensor, extra: Tensor | None = None, *, keep: Tensor | None = None, need: Collection[str] = ()
    ) -> Tensor | core.layers.EncoderOutput:
        """Encode; `keep` (B, L) rules words out as if they were padding (default: ids that are not PAD)."""
        keep = ids != PAD if keep is None else keep
        x = self.embedding(ids) if extra is None else self.embedding(ids) + extra
        own = [relative() for relative in self.relative]
        return self.encoder(self.dropout(x), mask=masks.Padding(keep, keep), bias=own, need=need)


def mean_sd(values: Sequence[float], digits: int = 3) -> str:
    """Mean ± sample standard deviation; of one value, the value."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def versions(*modules: str) -> str:
    """One line that names the suite, Python, torch and the given distributions, with their versions."""
    from importlib.metadata import version

    parts = [f"attention-suite {core.__version__}", f"python {platform.python_version()}", f"torch {torch.__version__}"]
    return ", ".join([*parts, *(f"{name} {version(name)}" for name in modules)])


def fingerprint(paths: Iterable[Path] = (), texts: Iterable[str] = ()) -> str:
    """SHA-256 over the bytes of files and texts, in order, shortened to 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    for text in texts:
        digest.update(text.encode() + b"\n")
    return f"sha256:{digest.hexdigest()[:16]}"
