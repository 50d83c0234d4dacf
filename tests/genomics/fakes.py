"""Small sequence files with a site that is easy to find."""

import gzip
from pathlib import Path

import numpy as np

SITE = "CACGTGACCTCA"


def random_sequences(count: int, length: int = 40, seed: int = 0) -> list[str]:
    letters = np.random.default_rng(seed).choice(list("ACGT"), (count, length))
    return ["".join(row) for row in letters]


def with_site(sequences: list[str], seed: int = 0) -> list[str]:
    generator = np.random.default_rng(seed)
    places = [int(generator.integers(0, len(s) - len(SITE) + 1)) for s in sequences]
    return [s[:k] + SITE + s[k + len(SITE) :] for s, k in zip(sequences, places, strict=True)]


def write_fasta(path: Path, sequences: list[str], name: str = "s") -> Path:
    path.write_text("".join(f">{name}{k}\n{s}\n" for k, s in enumerate(sequences)))
    return path


def write_deepbind(path: Path, positives: list[str], negatives: list[str] | None = None) -> Path:
    rows = ["FoldID\tEventID\tseq\tBound"]
    rows += [f"A\tpeak{k}\t{s}\t1" for k, s in enumerate(positives)]
    rows += [f"A\tnone{k}\t{s}\t0" for k, s in enumerate(negatives or [])]
    path.write_bytes(gzip.compress(("\n".join(rows) + "\n").encode()))
    return path
