"""Rows without a time: columns of numbers and flags, converted, checked and counted."""

from pathlib import Path

import numpy as np
import pytest

from timeseries import ReadReport, TableRules, read_table
from timeseries.events.records import EventRecords
from timeseries.events.units import unit_rules

NAN = float("nan")


def read(folder: Path, *rows: str, **rules: object) -> tuple[EventRecords, ReadReport]:
    (folder / "events.csv").write_text("subject,time,code,value,unit\n" + "\n".join(rows) + "\n")
    return read_table(folder / "events.csv", TableRules(empty_time="static", **rules))  # type: ignore[arg-type]


def test_static_numbers_are_converted_and_checked_before_they_become_columns(tmp_path: Path) -> None:
    rows = ("a,,weight,100,lb", "b,,weight,70,kg", "c,,weight,400,kg", "a,1,HR,5,")
    rules = {"units": unit_rules({"weight": {"to": "kg", "lb": 0.5}}), "ranges": {"weight": [20, 350]}}
    table, report = read(tmp_path, *rows, **rules)
    assert table.static[:, 0].tolist() == [50, 70, 400] and len(table) == 1 and report.converted == {}
    assert report.static is not None and report.unmatched == ()
    assert report.static.converted == {"weight": 1} and report.static.out_of_range == {"weight": (1, 400.0, 400.0)}
    assert read(tmp_path, *rows)[1].static.conflicting_units == {"weight": {"lb": 1, "kg": 2}}  # type: ignore[union-attr]
    for line in (
        "static: 3 rows of 3 subjects",
        "static, converted: 1 values of weight",
        "static, out of range, kept: weight: 1 values, 400 .. 400",
    ):
        assert f"\n  {line}" in str(report)


def test_repeated_and_conflicting_static_values_are_counted(tmp_path: Path) -> None:
    rows = ("a,,w,70,", "a,,w,80,", "a,,w,70,", "b,,w,60,", "b,,w,60,", "a,,sex,F,", "c,,sex,M,", "c,,sex,F,")
    table, report = read(tmp_path, *rows)
    assert table.static_names == ("sex=F", "sex=M", "w")
    np.testing.assert_array_equal(table.static, [[1, 0, 70], [0, 0, 60], [1, 1, NAN]])
    assert report.static is not None
    assert report.static.dropped == {"exact duplicate": 2} and report.static.several == {"w": 1, "sex": 1}
    assert "static, several values: sex: 1 subjects; the first number stays, every word counts" in str(report)


def test_a_row_without_a_number_among_numbers_is_missing_and_counted(tmp_path: Path) -> None:
    table, report = read(tmp_path, "a,,smoker,,", "b,,smoker,1,", "b,,male,,", "c,,male,,")
    assert table.static_names == ("male", "smoker") and table.static_flags == ("male",)
    np.testing.assert_array_equal(table.static, [[NAN, NAN], [1, 1], [1, NAN]])
    assert report.static is not None and report.static.missing_values == 1
    assert "static, without a number: 1 events of codes that have numbers elsewhere" in str(report)


def test_of_who_has_no_static_row_nothing_is_known(tmp_path: Path) -> None:
    table, report = read(tmp_path, "a,,smoker,,", "b,,age,50,", "c,1,HR,60,")
    np.testing.assert_array_equal(table.static, [[NAN, 1], [50, 0], [NAN, NAN]])
    assert table.static_flags == ("smoker",) and report.static is not None and "2 rows of 2 subjects" in str(report)
    assert read(tmp_path, "c,1,HR,60,")[1].static is None


@pytest.mark.parametrize("row", ["a,,weight,3e38,lb", "a,1,weight,3e38,lb"])
def test_a_static_conversion_that_overflows_is_an_error(tmp_path: Path, row: str) -> None:
    with pytest.raises(ValueError, match=r"events\.csv: units: weight: expected a finite number .* of subject a"):
        read(tmp_path, row, units=unit_rules({"weight": {"to": "g", "lb": 453.6}}))
