r"""In-silico mutagenesis: does a logit depend on what a head looks at?

Attention shows where a head reads, not that the answer depends on it. So the bases of a site are replaced, each by one
of the three others at random, and the model is asked again:

.. math::
    \Delta = \text{logit}(x) - \frac{1}{m} \sum_{k=1}^{m} \text{logit}(x^{(k)}),

for the sites of each head and, as a control, for stretches of the same width elsewhere in the same sequences. A head
matters where its sites move the logit more than the others do: the paired differences are tested by Wilcoxon's signed
ranks. `site_profile` mutates one base at a time and says which positions of the motif carry the effect.

References:
    Zhou and Troyanskaya 2015, Nature Methods 12:931 (in-silico saturated mutagenesis). Jain and Wallace, "Attention is
    not explanation", NAACL 2019.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from core.layers import evaluating

from .extract import HeadMotif
from .peaks import Window, device_of, model_input, span

_OTHERS = {"A": "CGT", "C": "AGT", "G": "ACT", "T": "ACG"}


class HeadEffect(NamedTuple):
    """What it does to the logit to mutate the sites of one head.

    Args:
        name: "head3"; with parts "head3a".
        sites: Sites that were mutated: one in a sequence.
        effect: Mean of Delta over the sites; positive where the sites speak for the class.
        control: The same for a stretch of the same width elsewhere in each sequence.
        p_value: Wilcoxon's signed ranks, one-sided: the sites move the logit more than the control does. 1 where
            there is no difference at all.
        greater: Share of the sequences in which the site's Delta is the larger one.
        by_head: Mean fall of what each head adds to the logit when these sites are mutated, (H,); they sum to `effect`.
    """

    name: str
    sites: int
    effect: float
    control: float
    p_value: float
    greater: float
    by_head: NDArray[np.float64]


def mutate_sites(
    model: Any,
    sequences: Sequence[str],
    heads: Sequence[HeadMotif],
    generator: np.random.Generator,
    *,
    most: int = 50,
    draws: int = 4,
    batch_size: int = 256,
) -> list[HeadEffect]:
    """Mutate each head's sites and stretches elsewhere, and compare what that does to the logit.

    Args:
        model: What the heads belong to.
        sequences: What they looked at.
        heads: What `extract_motifs` answered; those without a motif are left out.
        generator: Of the mutations and of the places of the control.
        most: Sites of a head, the best one of each sequence, best first.
        draws: Mutants of each stretch, m.
        batch_size: Sequences at a time.

    Raises:
        ValueError: A number out of range.
    """
    if most < 1 or draws < 1:
        raise ValueError(f"most, draws: expected at least 1, got {most} and {draws}")
    effects = []
    for head in heads:
        if head.motif is None:
            continue
        some, width = _one_each(head, sequences, most), len(head.motif)
        stretches = []
        for window, (start, end) in some:
            other = _elsewhere(len(sequences[window.sequence]), start, end, generator)
            stretches.append((window.sequence, start, other))
        if not stretches:
            continue
        texts = [sequences[i] for i, *_ in stretches]
        for place in (1, 2):
            for _ in range(draws):
                texts += [_mutant(sequences[s[0]], s[place], width, generator) for s in stretches]
        logits, contribution = _ask(model, texts, batch_size)
        n = len(stretches)
        before, after = logits[:n], logits[n:].reshape(2, draws, n).mean(1)
        fall, elsewhere = before - after[0], before - after[1]
        by_head = contribution[:n].mean(0) - contribution[n : n + draws * n].mean(0)
        p = _signed_ranks(fall - elsewhere)
        share = float((fall > elsewhere).mean())
        effects.append(HeadEffect(head.name, n, float(fall.mean()), float(elsewhere.mean()), p, share, by_head))
    return effects


def site_profile(
    model: Any, sequences: Sequence[str], head: HeadMotif, *, most: int = 50, batch_size: int = 256
) -> NDArray[np.float64]:
    """Mean Delta of each single substitution at each position of a head's windows.

    Position i of the answer is column i of `head.aligned`. Bases that are the window's own, and those that are none of
    A, C, G, T, do not count; a position where none counts is 0.

    Args:
        model: What the head belongs to.
        sequences: What it looked at.
        head: What `extract_motifs` answered.
        most: Windows, best first.
        batch_size: Sequences at a time.

    Shapes:
        answer: (2 * flank + 1,)

    Raises:
        ValueError: The head has no window.
    """
    if not head.windows:
        raise ValueError(f"head: expected at least one window, got none for head {head.head}")
    width = len(head.windows[0].letters)
    total, count = np.zeros(width), np.zeros(width)
    texts, column = [], []
    for window in head.windows[:most]:
        sequence, start = sequences[window.sequence], window.position - width // 2
        texts.append(sequence)
        column.append(-1)
        for place in range(width):
            for letter in _OTHERS.get(sequence[start + place].upper(), ""):
                texts.append(f"{sequence[: start + place]}{letter}{sequence[start + place + 1 :]}")
                column.append(place if window.strand == 0 else width - 1 - place)
    logits, _ = _ask(model, texts, batch_size)
    for where, logit in zip(column, logits, strict=True):
        if where < 0:
            before = logit
        else:
            total[where] += before - logit
            count[where] += 1
    return total / np.maximum(count, 1)


def _one_each(head: HeadMotif, sequences: Sequence[str], most: int) -> list[tuple[Window, tuple[int, int]]]:
    """The best window of each sequence that has room for a control, with its site."""
    assert head.motif is not None
    found, seen = [], set()
    for window in head.windows:
        start, end = span(window.position, window.strand, head.offset, len(head.motif))
        if window.sequence not in seen and max(start, len(sequences[window.sequence]) - end) >= len(head.motif):
            found.append((window, (start, end)))
            seen.add(window.sequence)
        if len(found) == most:
            break
    return found


def _elsewhere(length: int, start: int, end: int, generator: np.random.Generator) -> int:
    """Start of a stretch as wide as [start, end) that does not meet it, at random."""
    width = end - start
    before, behind = max(0, start - width + 1), max(0, length - end - width + 1)
    draw = int(generator.integers(before + behind))
    return draw if draw < before else end + draw - before


def _mutant(sequence: str, start: int, width: int, generator: np.random.Generator) -> str:
    """Every A, C, G, T of the stretch replaced by one of the three others."""
    draws = generator.integers(3, size=width)
    letters = [
        _OTHERS[letter][draw] if letter in _OTHERS else letter
        for letter, draw in zip(sequence[start : start + width].upper(), draws, strict=True)
    ]
    return sequence[:start] + "".join(letters) + sequence[start + width :]


def _ask(model: Any, texts: Sequence[str], batch_size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits (n,) and contributions (n, H), summed over strands."""
    logits, contributions = [], []
    device = device_of(model)
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            look = model.look(*model_input(texts[start : start + batch_size], device))
            logits.append(look.logits)
            contributions.append(look.contribution.sum(1))
    return torch.cat(logits).double().cpu().numpy(), torch.cat(contributions).double().cpu().numpy()


def _signed_ranks(differences: NDArray[np.float64]) -> float:
    if not differences.any():
        return 1.0
    return float(wilcoxon(differences, alternative="greater", method="approx").pvalue)
