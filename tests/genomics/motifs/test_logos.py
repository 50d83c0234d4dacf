import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex

from core.extras import MissingExtraError
from genomics.motifs.comparing import MotifDatabase
from genomics.motifs.logos import COLOURS, logo, match_logo
from genomics.motifs.matrices import Motif


def letters(axes):
    """(colour, left, bottom, width, height) of each letter that was drawn."""
    return [
        (to_hex(patch.get_facecolor()), *patch.get_path().get_extents().bounds)
        for patch in axes.patches
        if to_hex(patch.get_facecolor()) in COLOURS.values()
    ]


def test_heights_are_frequencies_times_information():
    # Position 1: A alone, 2 bits. Position 2: C and T at 1/2, 1 bit. Position 3: G 3/4, A 1/4.
    motif = Motif([[4, 0, 0, 0], [0, 2, 0, 2], [1, 0, 3, 0]], name="toy", id="T1")
    (axes,) = logo(motif).axes
    bits = 2 - (0.75 * np.log2(4 / 3) + 0.25 * 2)
    expected = [
        ("A", 1, 0, 2),
        ("C", 2, 0, 0.5),
        ("T", 2, 0.5, 0.5),
        ("A", 3, 0, bits / 4),
        ("G", 3, bits / 4, bits * 0.75),
    ]
    drawn = letters(axes)
    assert [colour for colour, *_ in drawn] == [COLOURS[letter] for letter, *_ in expected]
    for (_, left, bottom, width, height), (_, place, low, high) in zip(drawn, expected, strict=True):
        np.testing.assert_allclose([left + width / 2, bottom, height], [place, low, high], atol=1e-6)
    assert axes.get_ylabel() == "information (bits)" and axes.get_ylim() == (0, 2) and axes.get_title() == "T1 toy"


def test_a_match_stands_below_its_query():
    rng = np.random.default_rng(0)
    targets = [Motif(rng.dirichlet([0.1] * 4, 12) * 50, id=str(i)) for i in range(30)]
    query = Motif(targets[4].counts[2:11]).reverse_complement()
    match = MotifDatabase(targets).search(query)[0]
    upper, lower = match_logo(query, match).axes
    above, below = letters(upper), letters(lower)
    # What stands at a place of the query stands below it in the target's reverse complement.
    inside = [letter for letter in below if 0.5 < letter[1] + letter[3] / 2 < 9.5]
    assert len(above) == len(inside) < len(below)
    np.testing.assert_allclose([row[1:] for row in above], [row[1:] for row in inside], atol=1e-6)
    assert [row[0] for row in above] == [row[0] for row in inside]
    assert "reverse complement" in lower.get_title() and "q = " in lower.get_title()
    assert upper.get_xlim() == lower.get_xlim() == (-0.5, 11.5)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"attention-suite\[viz\]"):
        logo(Motif([[1, 2, 3, 4]]))
