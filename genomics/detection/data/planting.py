r"""Sequences with planted motifs, and where they were planted.

A background is a stationary Markov chain over A, C, G, T. Its dinucleotide frequencies start as the products of the
letters', with that of CG multiplied by `cpg`, and are scaled by rows and columns (iterative proportional fitting) until
both margins are the letters' frequencies again; so both strands have the same distribution.

Into each positive sequence sites are written that are drawn from the motifs' probabilities, letter by letter.

References:
    Deming and Stephan 1940, Annals of Mathematical Statistics 11:427 (the fitting). Tompa et al. 2005, Nature
    Biotechnology 23:137 (nCC, the correlation of found and planted letters).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...motifs.matrices import Motif
from ...motifs.site_model import stationary
from ...sequences.alphabet import reverse_complement


class PlantedSite(NamedTuple):
    """A planted site: 0-based, half-open, on the given strand of its sequence.

    Args:
        sequence: Place of its sequence.
        motif: Place of its motif.
        start: First letter.
        end: One past the last letter.
        strand: "+", or "-" where the reverse complement of the sequence reads as the motif.
    """

    sequence: int
    motif: int
    start: int
    end: int
    strand: str


def transition_matrix(gc: float = 0.42, cpg: float = 0.25) -> NDArray[np.float64]:
    """Probabilities of the next letter of the background, one row per letter in the order A, C, G, T.

    Args:
        gc: Frequency of C and G together.
        cpg: Frequency of the dinucleotide CG before the fitting, as a ratio to that of independent letters; 1 answers
            independent letters. About 0.2 to 0.25 is what vertebrates have outside of CpG islands.

    Shapes:
        answer: (4, 4)

    Raises:
        ValueError: `gc` is outside (0, 1) or `cpg` is negative.
    """
    if not 0 < gc < 1:
        raise ValueError(f"gc: expected 0 < gc < 1, got {gc}")
    if not cpg >= 0:
        raise ValueError(f"cpg: expected at least 0, got {cpg}")
    letters = np.array([1 - gc, gc, gc, 1 - gc]) / 2
    joint = np.outer(letters, letters)
    joint[1, 2] *= cpg
    for _ in range(10_000):
        before = joint
        joint = joint * (letters / joint.sum(1))[:, None]
        joint = joint * (letters / joint.sum(0))[None, :]
        if np.abs(joint - before).max() < 1e-15:
            break
    rows: NDArray[np.float64] = joint / joint.sum(1, keepdims=True)
    return rows


def background(count: int, length: int, transitions: NDArray[np.float64], generator: np.random.Generator) -> list[str]:
    """Sequences of the Markov chain, the first letter drawn from its stationary distribution.

    Args:
        count: How many.
        length: Letters of each.
        transitions: Probabilities of the next letter.
        generator: Where the randomness comes from.

    Shapes:
        transitions: (4, 4)
    """
    steps = np.cumsum(transitions, axis=1)
    codes = np.empty((count, length), dtype=np.int64)
    draws = generator.random((count, length))
    if length:
        codes[:, 0] = (draws[:, :1] > np.cumsum(stationary(transitions))[:3]).sum(1)
    for place in range(1, length):
        codes[:, place] = (draws[:, place, None] > steps[codes[:, place - 1], :3]).sum(1)
    letters = np.array(list("ACGT"))[codes]
    return ["".join(row) for row in letters]


def draw_site(motif: Motif, generator: np.random.Generator, noise: float = 0.0) -> str:
    """One site: each letter from the motif's probabilities, and with probability `noise` from the uniform distribution.

    Args:
        motif: The motif.
        generator: Where the randomness comes from.
        noise: Share of letters that carry nothing.
    """
    p = motif.frequencies
    codes = (generator.random((len(motif), 1)) > np.cumsum(p, axis=1)[:, :3]).sum(1)
    random = generator.integers(0, 4, len(motif))
    noisy = generator.random(len(motif)) < noise
    return "".join("ACGT"[code] for code in np.where(noisy, random, codes))


def plant(
    sequences: Sequence[str],
    motifs: Sequence[Motif],
    generator: np.random.Generator,
    *,
    sites: tuple[int, int] = (1, 3),
    spacing: int = 6,
    both_strands: bool = True,
    noise: float = 0.0,
) -> tuple[list[str], list[PlantedSite]]:
    """Write sites of random motifs over places of each sequence.

    In every sequence the number of sites is uniform in `sites`, their motifs are drawn without repeats as long as
    there are enough, and all arrangements that keep the spacing are equally likely.

    Args:
        sequences: The background.
        motifs: At least one.
        generator: Where the randomness comes from.
        sites: Fewest and most sites of a sequence.
        spacing: Least number of letters between two sites.
        both_strands: Write about half of the sites as their reverse complement.
        noise: See `draw_site`.

    Raises:
        ValueError: No motif, a range that is none, noise outside [0, 1], or sites that do not fit a sequence.
    """
    if not len(motifs):
        raise ValueError("motifs: expected at least one, got none")
    if len(sites) != 2 or not 1 <= sites[0] <= sites[1]:
        raise ValueError(f"sites: expected a fewest and a most, 1 <= fewest <= most, got {tuple(sites)}")
    if not 0 <= noise <= 1:
        raise ValueError(f"noise: expected 0 .. 1, got {noise}")
    if spacing < 0:
        raise ValueError(f"spacing: expected at least 0 letters, got {spacing}")
    planted, truth = [], []
    for number, sequence in enumerate(sequences):
        count = int(generator.integers(sites[0], sites[1] + 1))
        chosen = generator.choice(len(motifs), count, replace=count > len(motifs))
        free = len(sequence) - sum(len(motifs[k]) for k in chosen) - spacing * (count - 1)
        if free < 0:
            raise ValueError(
                f"sequences[{number}]: expected at least {len(sequence) - free} letters for {count} sites with a "
                f"spacing of {spacing}, got {len(sequence)}"
            )
        # Free letters before each site: sorted draws of `count` out of free + count, less their own rank.
        gaps = np.sort(generator.choice(free + count, count, replace=False)) - np.arange(count)
        letters, behind = list(sequence), 0
        for gap, k in zip(gaps.tolist(), chosen.tolist(), strict=True):
            start = gap + behind
            strand = "-" if both_strands and generator.random() < 0.5 else "+"
            site = draw_site(motifs[k], generator, noise)
            letters[start : start + len(site)] = reverse_complement(site) if strand == "-" else site
            truth.append(PlantedSite(number, k, start, start + len(site), strand))
            behind += len(site) + spacing
        planted.append("".join(letters))
    return planted, truth
