"""Tables of events: sorting, duplicates, types, units, ranges."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timeseries import EventRecords, ReadReport
from timeseries.events.records import TYPES, Columns, _order, assemble
from timeseries.events.units import (
    check,
    conflicting_units,
    convert_units,
    out_of_range,
    unit_rules,
    unmatched_rules,
)

NAN = float("nan")
ROW = st.tuples(
    st.integers(0, 2),
    st.sampled_from([0.0, 1.0, 2.5]),
    st.integers(0, 1),
    st.sampled_from([NAN, 0.0, -0.0, 7.0]),
    st.integers(-1, 1),
    st.integers(-1, 0),
)


def columns(rows: list[tuple]) -> Columns:
    dtypes = (np.int32, np.float64, np.int32, np.float32, np.int32, np.int32)
    lists = list(zip(*rows, strict=True)) or [()] * 6
    return Columns(*(np.array(values, dtype=dtype) for values, dtype in zip(lists, dtypes, strict=True)))


def table(rows: list[tuple], **options: str) -> tuple[EventRecords, ReadReport]:
    names = {"units": ["mg/dL", "mmol/L"], "texts": ["positive"]}
    report = ReadReport("test", rows=len(rows))
    return assemble(columns(rows), ["p", "q", "r"], ["glucose", "HR"], report=report, **names, **options)


def test_events_are_sorted_by_subject_and_time_and_ties_keep_their_order() -> None:
    events, report = table([(1, 5, 0, 1, -1, -1), (0, 9, 0, 2, -1, -1), (1, 2, 0, 3, -1, -1), (1, 5, 1, 4, -1, -1)])
    assert events.value.tolist() == [2, 3, 1, 4] and events.offsets.tolist() == [0, 1, 4, 4]
    assert events.owners().tolist() == [0, 1, 1, 1]
    assert (report.events, report.subjects, report.without_events) == (4, 3, 1)
    back = [(0, 3, 0, 1, -1, -1), (0, 2, 0, 1, -1, -1), (0, 1, 0, 1, -1, -1)]
    assert table(back)[1].unsorted == 2 and table(back[::-1])[1].unsorted == 0


def test_rows_against_time_count_whoever_stands_between_them() -> None:
    interleaved = [(0, 5, 0, 1, -1, -1), (1, 5, 0, 1, -1, -1), (0, 1, 0, 2, -1, -1), (1, 1, 0, 2, -1, -1)]
    events, report = table(interleaved)
    assert events.time.tolist() == [1, 5, 1, 5] and report.unsorted == 2
    assert table(interleaved[::-1])[1].unsorted == 0, "another order of subjects alone is none against time"


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 1.0, 2.0])), max_size=15), st.sampled_from([1, 70000])
)
def test_the_order_is_that_of_a_sort_of_pairs(rows: list[tuple[int, float]], step: int) -> None:
    subject = np.array([s for s, _ in rows], dtype=np.int32)
    time = np.array([t for _, t in rows], dtype=np.float64)
    order, unsorted = _order(subject * np.int32(step), time)
    wanted = sorted(range(len(rows)), key=lambda k: rows[k])
    assert (list(range(len(rows))) if order is None else order.tolist()) == wanted
    each = [[t for s, t in rows if s == who] for who in range(4)]
    assert unsorted == sum(b < a for times in each for a, b in itertools.pairwise(times))


@given(st.lists(ROW, max_size=12))
def test_duplicates_are_what_a_pairwise_comparison_says(rows: list[tuple]) -> None:
    def same(x: tuple, y: tuple) -> bool:
        return all(repr(np.float32(a) + 0) == repr(np.float32(b) + 0) for a, b in zip(x, y, strict=True))  # 0 is -0

    kept = [row for k, row in enumerate(rows) if not any(same(row, earlier) for earlier in rows[:k])]
    events, report = table(rows)
    expected = sorted(kept, key=lambda row: row[:2])
    np.testing.assert_array_equal(events.value, np.array([row[3] for row in expected], dtype=np.float32))
    assert events.code.tolist() == [row[2] for row in expected]
    assert report.dropped.get("exact duplicate", 0) == len(rows) - len(kept)
    assert len(table(rows, duplicates="keep")[0]) == len(rows)


def test_the_type_follows_from_what_an_event_carries() -> None:
    events, _ = table([(0, 1, 0, 4.0, 0, -1), (0, 2, 0, NAN, -1, 0), (0, 3, 0, NAN, -1, -1)])
    assert [TYPES[k] for k in events.types()] == ["numeric", "text", "flag"]


def test_a_wrong_table_is_refused() -> None:
    good, _ = table([(0, 1, 0, 4.0, 0, -1)])
    fields = vars(good)
    for name, value, message in (
        ("clock", "lunar", "clock: expected one of"),
        ("time", np.zeros(1, dtype=np.float32), "time: expected .* float64, got .* float32"),
        ("code", np.array([2], dtype=np.int32), r"code: expected 0 \.\. 1"),
        ("unit", np.array([-2], dtype=np.int32), r"unit: expected -1 \.\. 1"),
        ("subjects", np.array(["p", "p", "r"]), "every subject once"),
        ("offsets", np.array([0, 1, 1, 2]), r"offsets: expected 0 \.\. 1"),
        ("static_flags", ("smoker",), "static_flags: expected names of static columns, got 'smoker'"),
    ):
        with pytest.raises(ValueError, match=message):
            EventRecords(**{**fields, name: value})
    with pytest.raises(ValueError, match="'drop' or 'keep'"):
        table([], duplicates="merge")


def test_units_are_converted_by_rule_and_what_remains_is_reported() -> None:
    rows = [
        (0, 1, 0, 90.0, 0, -1),
        (0, 2, 0, 5.0, 1, -1),
        (0, 3, 1, 60.0, 0, -1),
        (1, 1, 1, 5.0, 1, -1),
        (1, 2, 1, 5.0, -1, -1),
    ]
    events, report = table(rows)
    assert conflicting_units(events) == {"glucose": {"mg/dL": 1, "mmol/L": 1}, "HR": {"": 1, "mg/dL": 1, "mmol/L": 1}}
    rules = unit_rules({"glucose": {"to": "mg/dL", "mmol/L": 18.0}})
    events, report = convert_units(events, rules, report)
    assert events.value.tolist() == [90, 90, 60, 5, 5] and report.converted == {"glucose": 1}
    assert list(check(events, report, {}).conflicting_units) == ["HR"]
    celsius = unit_rules({"HR": {"to": "C", "mg/dL": [5 / 9, -160 / 9]}})  # Fahrenheit under another name
    converted, _ = convert_units(events, celsius, report)
    assert converted.value[2] == pytest.approx((60 - 32) * 5 / 9) and converted.units[converted.unit[2]] == "C"


def test_a_conversion_that_overflows_is_an_error() -> None:
    events, report = table([(0, 1, 0, 1.0, 1, -1), (1, 1, 0, 3e38, 1, -1)])
    with pytest.raises(
        ValueError, match=r"test: units: glucose: expected a finite .* got 3e\+40 from 3e\+38 mmol/L of .* q"
    ):
        convert_units(events, unit_rules({"glucose": {"to": "mg/dL", "mmol/L": 100}}), report)


def test_rules_that_fit_nothing_are_named() -> None:
    events, _ = table([(0, 1, 0, 1.0, 0, -1)])  # glucose in mg/dL; nobody has a heart rate
    spec = {"Glucose": {"to": "mg/dL", "mmol/L": 18, "mg/L": 0.1}, "glucose": {"to": "mg/L", "mg/dl": 10, "mg/dL": 10}}
    found = unmatched_rules([events], unit_rules(spec), {"glucose": [0, 1], "HR": [0, 1]})
    assert found == (
        "units: Glucose: no such code; did you mean 'glucose'?",
        "ranges: HR: no such code",
        "units: glucose: nothing in 'mg/dl'; did you mean 'mg/dL'?",
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"x": {"mmol/L": 18}}, "x: expected a map with 'to'"),
        ({"x": {"to": "a", "b": 0}}, "x: b: expected a factor"),
        ({"x": {"to": "a", "b": [1, 2, 3]}}, "expected a factor or"),
        ({"x": {"to": "a", "b": "2"}}, "expected a factor or"),
    ],
)
def test_a_wrong_unit_map_is_refused(spec: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unit_rules(spec)


def test_values_out_of_range_are_reported_and_kept() -> None:
    rows = [(0, k, 0, value, -1, -1) for k, value in enumerate([50.0, 20.0, 500.0, -3.0, NAN])]
    events, report = table(rows)
    assert out_of_range(events, {"glucose": [20, 400], "HR": [0, 1], "unheard of": [0, 1]}) == {
        "glucose": (2, -3.0, 500.0)
    }
    assert len(events) == 5
    assert "out of range, kept: glucose: 2 values, -3 .. 500" in str(check(events, report, {"glucose": [20, 400]}))
    with pytest.raises(ValueError, match="lowest, highest"):
        out_of_range(events, {"glucose": [5, 5]})


def test_the_report_counts_codes_that_lack_a_number() -> None:
    rows = [(0, 1, 0, 4.0, -1, -1), (0, 2, 0, NAN, -1, -1), (0, 3, 0, NAN, -1, 0), (0, 4, 1, NAN, -1, -1)]
    assert table(rows)[1].missing_values == 1  # the text and the code without any number do not count


def test_many_events_without_a_duplicate_all_stay() -> None:
    rows = [
        (s, float(t), c, float(v), -1, -1) for s, t, c, v in itertools.product(range(3), range(20), range(2), range(20))
    ]
    assert len(table(rows)[0]) == len(rows)


def test_words_under_codes_that_have_numbers_are_reported() -> None:
    rows = [(0, 1, 0, 4.0, -1, -1), (0, 2, 0, NAN, -1, 0), (1, 2, 0, NAN, -1, 0), (0, 3, 1, NAN, -1, 0)]
    report = table(rows)[1]
    assert report.words == {"glucose": (2, "positive")}  # HR has words alone
    assert "words among numbers: glucose: 2 values read as text, such as 'positive'" in str(report)
