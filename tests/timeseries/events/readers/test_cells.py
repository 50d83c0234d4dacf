"""Cells of a value column: what each one is, alone and among others."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timeseries.events.readers.cells import values

CELLS = {
    "5": 5.0, " 5": 5.0, "5\t": 5.0, "\u00a05 ": 5.0, "+5": 5.0, "-.5e1": -5.0, "1.": 1.0, "True": 1.0, "FALSE": 0.0,
    " true ": 1.0, "": None, " ": None, "\t": None, "NA": None, " NA ": None, "nan": None, "NAN": None, "-NaN": None,
    "NULL": None, "nan(x)": None, "<5": "<5", "5,3": "5,3", " high ": "high", "0x10": "0x10", "1_0": "1_0", "5e": "5e",
    "infinite": "infinite", "yes": "yes",
}  # fmt: skip
BROKEN = ["inf", "-inf", "+Inf", " INF ", "Infinity", "-iNFiNiTY", "1e39", "1e400", "-1e400 "]
BESIDE: list[list[str | None]] = [[], ["word"], ["7"], [" 7"], ["NA"], [None], ["True"]]


def read(*cells: str | None) -> float | str | None:
    """What the first cell of a column becomes."""
    value, words = values(pa.array(cells, pa.string()), lambda row: f"cell {row}", True)
    word = None if words is None else words[0].as_py()
    assert word is None or np.isnan(value[0]), "a cell is a number or a word"
    return word if word is not None else None if np.isnan(value[0]) else float(value[0])


@pytest.mark.parametrize("beside", BESIDE)
def test_a_cell_is_the_same_whatever_stands_beside_it(beside: list[str | None]) -> None:
    assert {cell: read(cell, *beside) for cell in CELLS} == CELLS
    for cell in BROKEN:
        with pytest.raises(ValueError, match=r"^cell 0: expected a finite number \(float32\), got -?(inf|1e\+39)$"):
            read(cell, *beside)


@given(st.text("0159.+-eEinfaNAtrubx(),_ \t", max_size=6), st.sampled_from(BESIDE))
def test_no_text_is_read_otherwise_beside_others(cell: str, beside: list[str | None]) -> None:
    def outcome(*cells: str | None) -> object:
        try:
            return read(*cells)
        except ValueError as error:
            return str(error)

    assert outcome(cell) == outcome(cell, *beside)


def test_other_types_hold_what_their_text_would() -> None:
    from decimal import Decimal

    for column, expected in (
        (pa.array([True, False, None]), [1, 0, np.nan]),
        (pa.array([Decimal("1.50"), None]), [1.5, np.nan]),
        (pa.array([Decimal("-2.25")], pa.decimal256(50, 2)), [-2.25]),
        (pa.array(["3", "True"]).dictionary_encode(), [3, 1]),
        (pa.nulls(2), [np.nan, np.nan]),
    ):
        np.testing.assert_array_equal(values(column, str, False)[0], np.array(expected, dtype=np.float32))
    with pytest.raises(ValueError, match="place 0: expected values as numbers or text, got list"):
        values(pa.array([[1]]), lambda row: f"place {row}", True)


def test_words_are_refused_where_there_may_be_none() -> None:
    for cells in (["1", "many"], ["True", "many"], ["many", "many"]):
        with pytest.raises(ValueError, match=f"{cells.index('many')}: expected a number, got 'many'"):
            values(pa.array(cells), str, False)
    assert values(pa.array([" 1", "false"]), str, False)[0].tolist() == [1, 0]
