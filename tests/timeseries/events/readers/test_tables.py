"""Long tables from CSV and parquet: what is read, what is refused and where."""

import datetime as dt
import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timeseries import TableRules, read_table
from timeseries.events.records import TYPES
from timeseries.events.units import unit_rules

HEAD = "subject,time,code,value,unit\n"


def write(folder: Path, text: str, name: str = "events.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_table_by_hand(tmp_path: Path) -> None:
    rows = "p2,1.5,HR,80,bpm\np1,3,HR,,bpm\np1,2,Na,140,mmol/L\n\np1,2,note,normal,\np1,2,Na,140,mmol/L\n"
    table, report = read_table(write(tmp_path, HEAD + rows))
    assert table.subjects.tolist() == ["p2", "p1"] and table.offsets.tolist() == [0, 1, 4]
    assert table.codes == ("HR", "Na", "note") and table.clock == "relative"
    assert table.time.tolist() == [1.5, 2, 2, 3] and [table.codes[k] for k in table.code] == ["HR", "Na", "note", "HR"]
    np.testing.assert_array_equal(table.value, np.array([80, 140, np.nan, np.nan], dtype=np.float32))
    assert [TYPES[k] for k in table.types()] == ["numeric", "numeric", "text", "flag"]
    assert table.texts == ("normal",) and [table.units[k] if k >= 0 else None for k in table.unit] == [
        "bpm",
        "mmol/L",
        None,
        "bpm",
    ]
    assert (report.rows, report.events, report.unsorted, report.dropped) == (5, 4, 1, {"exact duplicate": 1})
    assert report.missing_values == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["p1", "p2", 'ü, "quoted"']),
            st.floats(-1e4, 1e4, allow_subnormal=False),
            st.sampled_from(["a", "b c"]),
            st.none() | st.floats(-1e6, 1e6, width=32),
        ),
        max_size=20,
    )
)
def test_csv_gzip_and_parquet_hold_the_same_events(rows: list[tuple]) -> None:
    import csv
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "e.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["subject", "time", "code", "value"])
            writer.writerows([s, repr(t), c, "" if v is None else repr(v)] for s, t, c, v in rows)
        with gzip.open(folder / "e.csv.gz", "wb") as file:
            file.write((folder / "e.csv").read_bytes())
        types = (pa.string(), pa.float64(), pa.string(), pa.float32())
        lists = list(zip(*rows, strict=True)) or [()] * 4
        names = ("subject", "time", "code", "value")
        columns = {n: pa.array(c, k) for n, c, k in zip(names, lists, types, strict=True)}
        pq.write_table(pa.table(columns), folder / "e.parquet")
        found = [read_table(folder / f"e.{ending}").table for ending in ("csv", "csv.gz", "parquet")]
        for other in found[1:]:
            assert other.codes == found[0].codes and other.subjects.tolist() == found[0].subjects.tolist()
            for array in ("offsets", "time", "code", "value"):
                np.testing.assert_array_equal(getattr(other, array), getattr(found[0], array))
        distinct = {(s, t + 0.0, c, None if v is None else np.float32(v).tobytes()) for s, t, c, v in rows}
        assert len(found[0]) == len(distinct)  # an independent count of what is not a duplicate


def test_dates_become_hours_on_their_clock(tmp_path: Path) -> None:
    day = dt.datetime(2020, 3, 1, 6, 30)
    expected = (day - dt.datetime(1970, 1, 1)) / dt.timedelta(hours=1)
    naive, _ = read_table(write(tmp_path, "subject,time,code\np,2020-03-01 06:30,a\np,2020-03-01T06:30:00.000,b\n"))
    assert naive.clock == "naive" and naive.time.tolist() == [expected, expected]
    aware, _ = read_table(write(tmp_path, "subject,time,code\np,2020-03-01T06:30Z,a\np,2020-03-01T08:30:00+02:00,b\n"))
    assert aware.clock == "utc" and aware.time.tolist() == [expected, expected]
    for kind, clock in (
        (pa.timestamp("ms"), "naive"),
        (pa.timestamp("ns", "Europe/Paris"), "utc"),
        (pa.date32(), "naive"),
    ):
        stamps = (
            pa.array([day], pa.timestamp("us"))
            .cast(pa.timestamp("us", getattr(kind, "tz", None)))
            .cast(kind, safe=False)
        )
        pq.write_table(pa.table({"subject": [1], "time": stamps, "code": ["a"]}), tmp_path / "e.parquet")
        table, _ = read_table(tmp_path / "e.parquet")
        assert table.clock == clock and table.time[0] == (expected if kind != pa.date32() else expected - 6.5)
        assert table.subjects.tolist() == ["1"]


def test_parquet_of_other_writers(tmp_path: Path) -> None:
    """Text as views or dictionaries, whole numbers as subjects, times to the nanosecond."""
    columns = {
        "subject": pa.array([2**40, 7], pa.uint64()),
        "time": pa.array([1_000_000_000_000_000_001, None], pa.timestamp("ns")),
        "code": pa.array(["a", "b"], pa.string_view()),
        "value": pa.array(["3", "x"]).dictionary_encode(),
        "unit": pa.array(["u", None], pa.large_string()).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    table, report = read_table(tmp_path / "e.parquet", TableRules(empty_time="drop"))
    assert table.subjects.tolist() == [str(2**40), "7"] and table.time.tolist() == [1e9 / 3600]
    assert table.value.tolist() == [3] and table.units == ("u",) and report.dropped == {"empty time": 1}


@pytest.mark.parametrize(("unit", "factor"), [("seconds", 1 / 3600), ("minutes", 1 / 60), ("days", 24)])
def test_the_unit_of_plain_times(tmp_path: Path, unit: str, factor: float) -> None:
    table, _ = read_table(write(tmp_path, "subject,time,code\np,30,a\n"), TableRules(time_unit=unit))
    assert table.time[0] == pytest.approx(30 * factor)
    with pytest.raises(ValueError, match="time_unit: expected one of"):
        read_table(tmp_path / "events.csv", TableRules(time_unit="fortnights"))


MIXED = [
    (
        "2020-01-01 10:00",
        "2020-01-02T10:00:00Z",
        r"line 4: expected a date and time without a zone, .* line 2, got .* with a zone",
    ),
    ("2020-01-01T10:00:00+01:00", "2020-01-02 10:00", "line 4: expected a date and time with a zone"),
    ("5.5", "2020-01-02 10:00", r"line 4: expected a plain number"),
    ("2020-01-01", "yesterday", "line 4: expected a number or a date and time in ISO 8601, got 'yesterday'"),
    ("1", "inf", "line 4: expected a finite time"),
]


@pytest.mark.parametrize(("first", "second", "message"), MIXED)
def test_mixed_clocks_are_refused(tmp_path: Path, first: str, second: str, message: str) -> None:
    path = write(tmp_path, f"subject,time,code\np,{first},a\n\np,{second},b\n")
    with pytest.raises(ValueError, match=message):
        read_table(path)


def test_mixed_clocks_in_two_files_are_refused(tmp_path: Path) -> None:
    for name, zone in (("a", None), ("b", "UTC")):
        stamps = pa.array([dt.datetime(2020, 1, 1)], pa.timestamp("us")).cast(pa.timestamp("us", zone))
        pq.write_table(pa.table({"subject": ["p"], "time": stamps, "code": ["x"]}), tmp_path / f"{name}.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet, row 1: expected a date and time without a zone"):
        read_table(tmp_path)


BROKEN = [
    ("p,1,HR\n", "line 3: expected 5 columns, got 3"),
    (",1,HR,5,\n", "line 3: expected a subject"),
    ("p,1,,5,\n", "line 3: expected a code, got nothing .empty_code='drop'"),
    ("p,,HR,5,\n", "line 3: expected a time, got nothing .empty_time='drop'"),
    ("p,NA,HR,5,\n", "line 3: expected a time"),
    ("p,1,HR,inf,\n", "line 3: expected a finite number"),
    ("p,1,HR,1e39,\n", "line 3: expected a finite number"),
    ("p,1,HR,inf,\np,2,note,fine,\n", "line 3: expected a finite number"),
    ("p,1, ,5,\n", "line 3: expected a code, got nothing"),
    (" ,1,HR,5,\n", "line 3: expected a subject, got nothing"),
    ("p, ,HR,5,\n", "line 3: expected a time, got nothing"),
    ('p,1,"H\nR",5,\np,1,HR,inf,\n', "line 5: expected a finite number"),
    ('p,1,"H\nR",inf,\n', "line 3: expected a finite number"),
]


@pytest.mark.parametrize(("row", "message"), BROKEN)
def test_a_broken_row_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(write(tmp_path, HEAD + "p,1,HR,5,\n" + row))


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"events\.csv, line 1: expected a header"):
        read_table(write(tmp_path, ""))
    with pytest.raises(ValueError, match="expected every column once"):
        read_table(write(tmp_path, "subject,subject\n"))
    with pytest.raises(FileNotFoundError, match="expected a file or folder"):
        read_table(tmp_path / "no_such.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="expected files ending in"):
        read_table(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"ending in \.csv"):
        read_table(write(tmp_path, HEAD, "events.xlsx"))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match=r"bad\.parquet: expected parquet"):
        read_table(tmp_path / "bad.parquet")
    (tmp_path / "latin.csv").write_bytes(HEAD.encode() + b"p,1,caf\xe9,1,\n")
    with pytest.raises(ValueError, match=r"latin\.csv, line 2: expected text in UTF-8"):
        read_table(tmp_path / "latin.csv")
    cut = gzip.compress((HEAD + "p,1,HR,5,\n" * 50000).encode())
    (tmp_path / "cut.csv.gz").write_bytes(cut[: len(cut) // 2])
    with pytest.raises(ValueError, match=r"cut\.csv\.gz"):
        read_table(tmp_path / "cut.csv.gz")


def test_columns_by_other_names(tmp_path: Path) -> None:
    path = write(tmp_path, "stay,charttime,item,valuenum\n7,1,HR,80\n")
    columns = {"subject": "stay", "time": "charttime", "code": "item", "value": "valuenum"}
    table, _ = read_table(path, TableRules(columns=columns))
    assert table.subjects.tolist() == ["7"] and table.value.tolist() == [80]
    with pytest.raises(ValueError, match=r"expected the column 'charttim' \(time\) .* did you mean 'charttime'"):
        read_table(path, TableRules(columns={**columns, "time": "charttim"}))
    with pytest.raises(ValueError, match=r"expected the column 'uom' \(unit\)"):
        read_table(path, TableRules(columns={**columns, "unit": "uom"}))
    with pytest.raises(ValueError, match="expected keys of subject, time"):
        TableRules(columns={"patient": "stay"})


def test_every_role_has_a_column_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a column of its own for every role, got 'code' for code and value"):
        TableRules(columns={"value": "code"})
    with pytest.raises(ValueError, match="got 'x' for subject and time"):
        TableRules(columns={"time": "x", "subject": "x"})
    path = write(tmp_path, "subject,time,code,text\np,1,note,ill\n")
    table, _ = read_table(path, TableRules(columns={"value": "text"}))  # what is not named gives way
    assert table.texts == ("ill",) and len(table) == 1


def test_a_named_column_may_lack_on_request_and_is_counted(tmp_path: Path) -> None:
    write(tmp_path, "subject,time,code,val\na,1,HR,5\n", "a.csv")
    write(tmp_path, "subject,time,code,value\nb,1,HR,6\n", "b.csv")
    write(tmp_path, "subject,time,code,val\nc,1,HR,7\n", "c.csv")
    with pytest.raises(ValueError, match=r"expected the column 'val' \(value\) in .*b\.csv"):
        read_table(tmp_path, TableRules(columns={"value": "val"}))
    table, report = read_table(tmp_path, TableRules(columns={"value": "val"}, may_lack=["value"]))
    np.testing.assert_array_equal(table.value, np.array([5, np.nan, 7], dtype=np.float32))
    assert report.lacking == {"val": 1} and "without the column 'val': 1 files, others have it" in str(report)
    assert read_table(tmp_path)[1].lacking == {"value": 2}, "a misspelt column of one file is seen"
    with pytest.raises(ValueError, match="may_lack: expected some of value, unit, text, got 'code'"):
        TableRules(may_lack=["code"])


def test_rows_that_say_nothing_are_left_out_on_request_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "p,1,,5,\np,,HR,5,\np,2,HR,-1,\np,3,HR,-9,\np,4,HR,60,\n")
    rules = TableRules(empty_code="drop", empty_time="drop", missing=(-1, -9))
    table, report = read_table(path, rules)
    assert table.value.tolist() == [60]
    counted = {"empty code": 1, "empty time": 1, "missing value (-1)": 1, "missing value (-9)": 1}
    assert report.dropped == counted and "left out: 1 (missing value (-9))" in str(report)
    for name in ("empty_code", "empty_time"):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            TableRules(**{name: "guess"})


def test_rows_without_a_time_can_be_static(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "p,,age,61,\np,,age,62,\np,,sex,F,\nq,,smoker,,\nq,1,HR,60,\n")
    table, _ = read_table(path, TableRules(empty_time="static"))
    assert table.static_names == ("age", "sex=F", "smoker") and len(table) == 1
    np.testing.assert_array_equal(table.static, [[61, 1, 0], [np.nan, 0, 1]])  # the first number of two stays


def test_a_column_of_text_beside_that_of_values(tmp_path: Path) -> None:
    path = write(tmp_path, "subject,time,code,value,text\np,1,culture,,positive\np,2,culture,3,\n")
    table, _ = read_table(path)
    assert table.texts == ("positive",) and table.text.tolist() == [0, -1]
    with pytest.raises(ValueError, match="line 2: expected a number, got 'many'"):
        read_table(write(tmp_path, "subject,time,code,value,text\np,1,culture,many,positive\n"))


def test_units_and_ranges_reach_the_report(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "p,1,glucose,5,mmol/L\np,2,glucose,90,mg/dL\np,3,HR,999,\np,4,HR,60,bpm\n")
    rules = TableRules(units=unit_rules({"glucose": {"to": "mg/dL", "mmol/L": 18}}), ranges={"HR": [10, 300]})
    table, report = read_table(path, rules)
    assert table.value.tolist() == [90, 90, 999, 60] and report.converted == {"glucose": 1}
    assert report.conflicting_units == {"HR": {"": 1, "bpm": 1}} and report.out_of_range == {"HR": (1, 999.0, 999.0)}


def test_white_space_around_a_cell_does_not_count(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "p, 1 ,HR , 5,bpm\np,1,HR,5 ,bpm \np,2, HR,\t,\np,2020, note,  fine ,\n")
    table, report = read_table(path)
    assert table.codes == ("HR", "note") and table.units == ("bpm",) and table.texts == ("fine",)
    assert table.time.tolist() == [1, 2, 2020] and report.dropped == {"exact duplicate": 1}
    assert report.missing_values == 1


def test_typos_in_rules_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "p,1,glucose,5,mmol/L\np,,weight,80,kg\n")
    spec = {"Glucose": {"to": "mg/dL", "mmol/L": 18}, "weight": {"to": "g", "kg": 1000}}
    rules = TableRules(empty_time="static", units=unit_rules(spec), ranges={"glucose": [0, 9], "weight": [0, 1e6]})
    table, report = read_table(path, rules)
    assert table.value.tolist() == [5] and table.static.tolist() == [[80000]]
    assert report.unmatched == ("units: Glucose: no such code; did you mean 'glucose'?",)
    assert str(report).endswith("\n  rule without effect: units: Glucose: no such code; did you mean 'glucose'?")


def test_times_to_the_nanosecond_are_cut_at_the_microsecond(tmp_path: Path) -> None:
    stamps = {"2020-01-01 00:00:00.123456789": "naive", "2020-01-01T00:00:00.1234567Z": "utc"}
    for stamp, clock in stamps.items():
        table, _ = read_table(write(tmp_path, f"subject,time,code\np,{stamp},a\n"))
        expected = (dt.datetime(2020, 1, 1, microsecond=123456) - dt.datetime(1970, 1, 1)) / dt.timedelta(hours=1)
        assert table.clock == clock and table.time[0] == pytest.approx(expected, abs=1e-10)
    with pytest.raises(
        ValueError, match=r"line 2: expected a number or a date and time in ISO 8601, got '2020-.*7890'"
    ):
        read_table(write(tmp_path, "subject,time,code\np,2020-01-01 00:00:00.1234567890,a\n"))
    with pytest.raises(ValueError, match="line 3: expected a date and time without a zone"):
        read_table(write(tmp_path, "subject,time,code\np,{},a\np,{},a\n".format(*stamps)))


def test_parquet_types_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    from decimal import Decimal

    good = {"subject": ["p"], "time": [1.0], "code": ["a"], "value": [1.0]}
    path = tmp_path / "e.parquet"
    for name, column, message in (
        ("code", pa.array([[1]]), r"e\.parquet: expected the column 'code' \(code\) as text or numbers, got list"),
        ("code", pa.array([b"\xff"]), r"e\.parquet: expected the column 'code' .* got binary"),
        ("value", pa.array([{"a": 1}]), r"e\.parquet, row 1: expected values as numbers or text, got struct"),
        ("time", pa.array([2**60 + 1]), r"e\.parquet, row 1 .* float64 holds exactly"),
    ):
        pq.write_table(pa.table({**good, name: column}), path)
        with pytest.raises(ValueError, match=message):
            read_table(path)
    decimals = {"time": pa.array([Decimal("0.5")]), "value": pa.array([Decimal("7.25")])}
    pq.write_table(pa.table({**good, **decimals}), path)
    table, _ = read_table(path)
    assert table.time.tolist() == [0.5] and table.value.tolist() == [7.25]
    twice = pa.Table.from_arrays([pa.array(["p"]), pa.array(["q"])], names=["subject", "subject"])
    pq.write_table(twice, path)
    with pytest.raises(ValueError, match=r"e\.parquet: expected every column once"):
        read_table(path)


def test_words_for_nothing_are_no_words_and_na_may_be_sodium(tmp_path: Path) -> None:
    table, _ = read_table(write(tmp_path, HEAD + "p,1,NA,NA,\np,2,NA,140,\np,3,NA,nan,\n"))
    assert table.codes == ("NA",) and table.texts == () and np.isnan(table.value).tolist() == [True, False, True]


def test_progress_is_shown_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, HEAD + "p,1,HR,60,bpm\n")
    read_table(path, progress=True)
    shown = capsys.readouterr().err
    assert "reading" in shown and "100%" in shown
    read_table(path, progress=False)
    assert capsys.readouterr().err == ""
