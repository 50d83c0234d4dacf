r"""Shuffles that keep every dinucleotide count of a sequence: backgrounds with its composition.

A sequence is a walk over its letters, one edge a dinucleotide. Its shuffles are the Eulerian walks of that multigraph
from the same first letter, which then end at the same last letter. Such a walk is fixed by the order in which each
letter's edges are used, and an order gives a walk of all edges exactly if the last edges of the letters other than the
last form a tree that leads to it (an arborescence). So: draw a uniformly random arborescence, put its edges last, and
put the others in random order. Each walk of labelled edges is then equally likely, each sequence comes from the same
number of them (the product of n(ab)! over dinucleotides ab), and every shuffle has the same probability.

References:
    Altschul and Erickson 1985, Molecular Biology and Evolution 2:526 (the walk).
    Wilson 1996, STOC, p. 296 (the tree, by loop-erased random walks).
"""

from collections.abc import Iterable

import numpy as np


def dinucleotide_shuffle(sequence: str, generator: np.random.Generator) -> str:
    """A sequence drawn uniformly from all with the same dinucleotide counts and the same first and last letter.

    Every character is a symbol of its own: N, other codes and lower case keep their neighbours' counts too.
    Time O(L) for a fixed number of symbols.

    Args:
        sequence: Any string.
        generator: Where the randomness comes from.
    """
    if len(sequence) < 4:
        return sequence
    edges: dict[str, list[str]] = {letter: [] for letter in sequence}
    for place in generator.permutation(len(sequence) - 1).tolist():
        edges[sequence[place]].append(sequence[place + 1])
    for letter, edge in _arborescence(edges, sequence[-1], generator).items():
        edges[letter].append(edges[letter].pop(edge))
    # The order is now that of use; each letter's edges are taken from the end of its reversed list.
    for used in edges.values():
        used.reverse()
    letter = sequence[0]
    walk = [letter]
    for _ in range(len(sequence) - 1):
        letter = edges[letter].pop()
        walk.append(letter)
    return "".join(walk)


def dinucleotide_shuffles(sequences: Iterable[str], generator: np.random.Generator) -> list[str]:
    """One `dinucleotide_shuffle` of each sequence, in order.

    Args:
        sequences: Any strings.
        generator: Where the randomness comes from.
    """
    return [dinucleotide_shuffle(sequence, generator) for sequence in sequences]


def _arborescence(edges: dict[str, list[str]], root: str, generator: np.random.Generator) -> dict[str, int]:
    """For each letter but the root, the number of the edge that leads it towards the root: a uniformly random tree.

    Wilson's algorithm: from each letter walk at random until the tree is met; the last exit taken from a letter is the
    one that is left when the walk's loops are erased. The choice does not depend on the order of the edges.
    """
    chosen: dict[str, int] = {}
    joined = {root}
    for start in edges:
        letter = start
        while letter not in joined:
            chosen[letter] = int(generator.random() * len(edges[letter]))
            letter = edges[letter][chosen[letter]]
        letter = start
        while letter not in joined:
            joined.add(letter)
            letter = edges[letter][chosen[letter]]
    return chosen
