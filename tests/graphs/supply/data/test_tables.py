import os
from pathlib import Path

import numpy as np
import pytest
import torch

from graphs.supply.data.tables import is_total, read_make_use, read_square, read_table
from graphs.supply.input_output import leontief_inverse, spectral_radius

from ...fakes import CAPITAL, FINAL, LABOUR, MAKE, USE, write_csv, write_make_use, write_square

LOCAL = os.environ.get("ATTENTION_SUITE_DATA")


def test_make_and_use_without_totals(tmp_path):
    economy = read_make_use(*write_make_use(tmp_path))
    assert economy.names == ("farm", "mill", "shop") and economy.factor_names == ("labour", "capital")
    x, q = MAKE.sum(1), MAKE.sum(0)
    expected = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            expected[i, j] = sum(MAKE[i, c] / q[c] * USE[c, j] / x[j] for c in range(3))
    assert np.allclose(economy.coefficients, expected, atol=1e-14)
    assert np.allclose(economy.factors, np.stack([LABOUR / x, CAPITAL / x]))
    assert np.allclose(economy.demand, (MAKE / q) @ FINAL.sum(1))
    # use and final demand exhaust each commodity, so that L f is the output of every industry
    assert np.allclose(USE.sum(1) + FINAL.sum(1), q)
    assert torch.allclose(leontief_inverse(economy.coefficients) @ economy.demand, torch.tensor(x))


def test_negative_by_products_are_reported(tmp_path):
    use = USE.copy()
    use[2, 0] = -100 * (5 / 110 * 0.15) - 0.01  # less than what the shop's flour makes up for
    rows, industries = ("grain", "flour", "bread"), ("farm", "mill", "shop")
    paths = write_csv(tmp_path / "u.csv", rows, industries, use), write_csv(tmp_path / "m.csv", industries, rows, MAKE)
    economy = read_make_use(*paths)
    assert economy.coefficients[2, 0] == 0 and economy.demand is None and economy.factors is None
    assert economy.notes == ("1 negative coefficients, down to -1.0e-04, set to 0",)
    use[2, 0] = -5.0
    with pytest.raises(ValueError, match=r"u\.csv, .*m\.csv: coefficients: expected at least -0.001"):
        read_make_use(write_csv(tmp_path / "u.csv", rows, industries, use), paths[1])


def test_totals():
    assert [is_total(n) for n in ("Total Intermediate", "T007", "T008", "TX", "111CA")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_square(tmp_path):
    matrix = np.array([[0.1, 0.2], [0.3, 0.0]])
    economy = read_square(write_square(tmp_path / "a.csv", matrix, ["wool", "cloth"]))
    assert economy.names == ("wool", "cloth") and np.array_equal(economy.coefficients, matrix)


def test_blank_cells_bom_and_blank_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("\ufeff,a,b\r\na,0.1,\r\n\r\nb,0.2,0.3\r\n".encode())
    table = read_table(path)
    assert table.rows == table.columns == ("a", "b") and table.values.tolist() == [[0.1, 0.0], [0.2, 0.3]]


def broken(tmp_path, text):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",a,b\na,1\n", r"bad\.csv, line 2: expected 3 cells, got 2"),
        (",a,b\na,1,x\n", r"bad\.csv, line 2, column 'b': expected a finite number, got 'x'"),
        (",a,b\na,1,nan\n", "got 'nan'"),
        (",a,a\na,1,2\n", "each column once, got 'a' twice"),
        (",a,b\na,1,2\na,1,2\n", "each row once, got 'a' twice"),
        ("a\n", "expected a header"),
    ],
)
def test_a_broken_table(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_table(broken(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",a,b\na,0.1,0.2\nc,0.1,0.2\n", r"the same names, got 'b', 'c' on one side only"),
        (",a,b\nb,0.1,0.2\na,0.1,0.2\n", "the same order, got 'b' and 'a' at place 1"),
        (",a,b\na,0.1,-0.2\nb,0.1,0.2\n", r"bad\.csv: coefficients: .* got -0.2 at a, b"),
        (",a,b\na,0.9,0.2\nb,0.1,0.9\n", "spectral radius below 1"),
        (",a,b,c\na,0,0,0\nb,0.7,0,0\nc,0.7,0,0\n", "'a' buys 1.4 per unit.*transposed"),
    ],
)
def test_a_table_that_is_no_economy(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_square(broken(tmp_path, text))


def test_files_that_do_not_belong_together(tmp_path):
    use, make = write_make_use(tmp_path / "one")
    with pytest.raises(ValueError, match=r"the commodities of .*make"):
        read_make_use(write_make_use(tmp_path / "two", goods=("oats", "meal", "cake"))[0], make)
    with pytest.raises(ValueError, match="is it the use table"):
        read_make_use(make, use)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_make_use(tmp_path / "none.csv", make)
    (tmp_path / "text.csv.gz").write_text("no gzip")
    with pytest.raises(ValueError, match="expected a CSV file, got"):
        read_table(tmp_path / "text.csv.gz")


def test_rows_that_are_neither(tmp_path):
    _, make = write_make_use(tmp_path)
    use = write_csv(tmp_path / "odd.csv", ["grain", "flour", "bread", "X9"], ["farm", "mill", "shop"], [*USE, LABOUR])
    with pytest.raises(ValueError, match=r"expected commodities of .* and value added, got the rows X9"):
        read_make_use(use, make)


@pytest.mark.local_data
@pytest.mark.skipif(LOCAL is None, reason="ATTENTION_SUITE_DATA is unset")
@pytest.mark.parametrize(
    ("name", "sectors"), [("summary_{}_2017", 71), ("summary_{}_2023", 71), ("detail_{}_2017", 402)]
)
def test_bea(name, sectors):
    folder = Path(LOCAL) / "graphs" / "bea_io"
    economy = read_make_use(*(folder / f"{name.format(what)}.csv.gz" for what in ("use", "make")))
    assert len(economy) == sectors and economy.factor_names == ("labour", "capital")
    assert 0.4 < spectral_radius(economy.coefficients).radius < 0.6
    output = leontief_inverse(economy.coefficients) @ economy.demand
    made = read_table(folder / f"{name.format('make')}.csv.gz")
    goods = tuple(c for c in made.columns if not is_total(c))
    assert torch.allclose(output, made.pick(economy.names, goods).sum(1), rtol=0.02)
