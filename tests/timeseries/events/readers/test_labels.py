"""Labels of every kind, and what is refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from timeseries import read_labels


def write(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def test_binary(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path, "subject,prediction_time,target\np,48,1\nq,24.5,false\np,60,True\n"))
    assert labels.subjects.tolist() == ["p", "q", "p"] and labels.prediction_time.tolist() == [48, 24.5, 60]
    assert labels.target.tolist() == [1, 0, 1] and labels.target_names == ("target",) and labels.clock == "relative"


def test_one_prediction_time_for_all(tmp_path: Path) -> None:
    path = write(tmp_path, "subject,died\np,1\nq,0\n")
    labels = read_labels(path, columns={"target": "died"}, prediction_time=2, time_unit="days")
    assert labels.prediction_time.tolist() == [48, 48] and labels.target_names == ("died",)
    with pytest.raises(ValueError, match="expected the column 'prediction_time'"):
        read_labels(path, columns={"target": "died"})


def test_dates(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path, "subject,prediction_time,target\np,1970-01-02T01:00Z,1\n"))
    assert labels.clock == "utc" and labels.prediction_time.tolist() == [25]


def test_multiclass_by_number_and_by_name(tmp_path: Path) -> None:
    head = "subject,prediction_time,target\n"
    labels = read_labels(write(tmp_path, head + "p,1,2\nq,1,0\nr,1,10\n"), kind="multiclass")
    assert labels.target.tolist() == [2, 0, 10] and labels.target_names == tuple("0 1 2 3 4 5 6 7 8 9 10".split())
    labels = read_labels(write(tmp_path, head + "p,1,ward\nq,1,home\nr,1,ward\n"), kind="multiclass")
    assert labels.target.tolist() == [1, 0, 1] and labels.target_names == ("home", "ward")


def test_several_labels_may_be_unknown(tmp_path: Path) -> None:
    path = write(tmp_path, "subject,prediction_time,sepsis,death\np,1,1,\nq,1,0,1\n")
    labels = read_labels(path, kind="multilabel", columns={"target": ["sepsis", "death"]})
    np.testing.assert_array_equal(labels.target, [[1, np.nan], [0, 1]])
    assert labels.target_names == ("sepsis", "death")
    for kind, target in (("binary", ["sepsis"]), ("multilabel", "sepsis")):
        with pytest.raises(ValueError, match="a list of columns for multilabel alone"):
            read_labels(path, kind=kind, columns={"target": target})


def test_time_to_event(tmp_path: Path) -> None:
    path = write(tmp_path, "subject,prediction_time,target,duration\np,1,1,2\nq,1,0,30\n")
    labels = read_labels(path, kind="time_to_event", time_unit="days")
    assert labels.target.tolist() == [[48, 1], [720, 0]] and labels.prediction_time.tolist() == [24, 24]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subject,prediction_time,target\np,1,2\n", "line 2: expected 0 or 1, got '2'"),
        ("subject,prediction_time,target\np,1,yes\n", "line 2: expected 0 or 1, got 'yes'"),
        ("subject,prediction_time,target\np,1,1\n\nq,1,\n", "line 4: expected a target, got nothing"),
        ("subject,prediction_time,target\n,1,1\n", "line 2: expected a subject"),
        ("subject,prediction_time,target\np,,1\n", "line 2: expected a time in 'prediction_time', got nothing"),
        ("subject,prediction_time,label\np,1,1\n", "expected the column 'target'"),
    ],
)
def test_a_wrong_label_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_labels(write(tmp_path, text))


def test_parquet(tmp_path: Path) -> None:
    table = pa.table({"subject": [3, 4], "prediction_time": [1.0, 2.0], "target": [True, False]})
    pq.write_table(table, tmp_path / "l.parquet")
    labels = read_labels(tmp_path / "l.parquet")
    assert labels.subjects.tolist() == ["3", "4"] and labels.target.tolist() == [1, 0]
    pq.write_table(table.set_column(0, "subject", pa.array([3.0, 4.0])), tmp_path / "l.parquet")
    with pytest.raises(ValueError, match="subjects as text or whole numbers, got double"):
        read_labels(tmp_path / "l.parquet")
    with pytest.raises(ValueError, match="expected keys of subject"):
        read_labels(tmp_path / "l.parquet", columns={"label": "target"})


def test_classes_keep_the_order_that_is_given(tmp_path: Path) -> None:
    path = write(tmp_path, "subject,prediction_time,target\np,1,ward\nq,1,home\n")
    labels = read_labels(path, kind="multiclass", classes=["home", "icu", "ward"])
    assert labels.target.tolist() == [2, 0] and labels.target_names == ("home", "icu", "ward")
    with pytest.raises(ValueError, match="line 2: expected one of the classes home, icu, got 'ward'"):
        read_labels(path, kind="multiclass", classes=["home", "icu"])


def test_targets_may_be_missing_on_request(tmp_path: Path) -> None:
    path = write(tmp_path, "subject,prediction_time,target\np,1,1\nq,1,\n")
    np.testing.assert_array_equal(read_labels(path, unlabelled=True).target, [1, np.nan])
    np.testing.assert_array_equal(read_labels(path, kind="multiclass", unlabelled=True).target, [1, np.nan])
    path = write(tmp_path, "subject,prediction_time\np,1\nq,2\n")
    assert np.isnan(read_labels(path, unlabelled=True).target).all()
    ends = read_labels(path, kind="time_to_event", unlabelled=True)
    assert ends.target.shape == (2, 2) and np.isnan(ends.target).all()
    with pytest.raises(ValueError, match="expected the column 'prediction_time'"):
        read_labels(write(tmp_path, "subject\np\n"), unlabelled=True)


def test_further_outcomes(tmp_path: Path) -> None:
    path = write(tmp_path, "subject,prediction_time,target,days,icu\np,1,1,4.5,true\nq,1,0,,0\n")
    labels = read_labels(path, auxiliary=["icu", "days"])
    np.testing.assert_array_equal(labels.auxiliary, np.array([[1, 4.5], [0, np.nan]], dtype=np.float32))
    assert labels.auxiliary_names == ("icu", "days") and read_labels(path).auxiliary_names == ()
    with pytest.raises(ValueError, match="expected the column 'dayz'"):
        read_labels(path, auxiliary=["dayz"])
    found = read_labels(path, auxiliary=["dayz", "days"], unlabelled=True)  # to predict, they may lack
    np.testing.assert_array_equal(found.auxiliary, np.array([[np.nan, 4.5], [np.nan, np.nan]], dtype=np.float32))


@pytest.mark.parametrize("word", ["long", "inf"])
def test_further_outcomes_are_numbers(tmp_path: Path, word: str) -> None:
    path = write(tmp_path, f"subject,prediction_time,target,days\np,1,1,4\nq,1,0,{word}\n")
    with pytest.raises(ValueError, match=rf"labels\.csv, line 3: expected a (finite )?number in 'days', got '{word}'"):
        read_labels(path, auxiliary=["days"])


HEAD = "subject,prediction_time,target\n"


def test_prediction_times_stay_as_they_are_written(tmp_path: Path) -> None:
    days = read_labels(write(tmp_path, HEAD + "p,0.1,1\nq,2,0\n"), time_unit="days")
    assert days.stamps.tolist() == [0.1, 2] and days.prediction_time[1] == 48
    given = read_labels(write(tmp_path, "subject,target\np,1\n"), prediction_time=2, time_unit="days")
    assert given.stamps.tolist() == [2]
    text = read_labels(write(tmp_path, HEAD + "p,2190-05-01 10:00:00.123457,1\nq,2024-05-01,0\n"))
    assert text.stamps.tolist() == ["2190-05-01T10:00:00.123457", "2024-05-01T00:00:00"]
    zoned = read_labels(write(tmp_path, HEAD + "p,2020-10-25T02:30:00+02:00,1\np,2020-10-25T02:30:00.5+01:00,0\n"))
    assert zoned.stamps.tolist() == ["2020-10-25T00:30:00Z", "2020-10-25T01:30:00.5Z"]


@pytest.mark.parametrize(
    ("kind", "number", "stamp"),
    [
        (pa.timestamp("us"), 7_000_000_000_000_001, "2191-10-27T12:26:40.000001"),
        (pa.timestamp("ns", "Europe/Berlin"), 1_600_000_000_000_000_000, "2020-09-13T12:26:40Z"),
        (pa.timestamp("s"), 86_400, "1970-01-02T00:00:00"),
        (pa.date32(), 1, "1970-01-02T00:00:00"),
        (pa.int64(), 86_400, 86_400.0),
    ],
)
def test_prediction_times_of_parquet(tmp_path: Path, kind: pa.DataType, number: int, stamp: object) -> None:
    """As a microsecond in 2191, which hours in float64 cannot hold."""
    times = pa.array([number], pa.int32() if pa.types.is_date32(kind) else pa.int64()).cast(kind)
    path = tmp_path / "l.parquet"
    pq.write_table(pa.table({"subject": ["p"], "prediction_time": times, "target": [1]}), path)
    assert read_labels(path).stamps.tolist() == [stamp]


def test_a_repeated_label_is_counted_and_a_contradiction_refused(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path, HEAD + "p,5,1\nq,5,0\np,5.0,true\np,6,0\np,5,1\n"))
    assert labels.repeated == 2 and labels.subjects.tolist() == ["p", "q", "p"]
    assert labels.prediction_time.tolist() == [5, 5, 6] and labels.target.tolist() == [1, 0, 0]
    assert labels.stamps.tolist() == [5, 5, 6] and read_labels(write(tmp_path, HEAD + "p,5,1\n")).repeated == 0
    message = (
        r"labels\.csv, line 4: expected one label per subject and prediction time, got two: subject a has another one "
        r"for the same time in .*labels\.csv, line 2$"
    )
    with pytest.raises(ValueError, match=message):
        read_labels(write(tmp_path, HEAD + "a,5,0\nb,5,1\na,5,1\n"))
    path = write(tmp_path, "subject,prediction_time,target,x\na,5,0,1\na,5,0,2\n")
    assert read_labels(path).repeated == 1
    with pytest.raises(ValueError, match="line 3: expected one label"):
        read_labels(path, auxiliary=["x"])
    path = write(tmp_path, HEAD + "a,5,\na,5,\n")
    assert read_labels(path, unlabelled=True).repeated == 1
    with pytest.raises(ValueError, match="line 3: expected one label"):
        read_labels(write(tmp_path, HEAD + "a,5,1\na,5,\n"), unlabelled=True)


def test_a_contradiction_between_two_files_names_both(tmp_path: Path) -> None:
    write(tmp_path, HEAD + "a,5,0\nb,5,1\n")
    (tmp_path / "more.csv").write_text(HEAD + "b,6,1\nb,5,0\n")
    with pytest.raises(ValueError, match=r"more\.csv, line 3: .* subject b .* in .*labels\.csv, line 3"):
        read_labels(tmp_path)


def test_options_and_durations_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path, "subject,prediction_time,target,duration\na,5,1,3\nb,5,0,-2\n")
    with pytest.raises(ValueError, match=r"target: expected one of binary, .*, got 'binry'; did you mean 'binary'\?"):
        read_labels(path, kind="binry")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="line 3: expected a duration of 0 or more in 'duration', got -2 of subject b"):
        read_labels(path, kind="time_to_event")
    with pytest.raises(ValueError, match="classes: expected every class once, got 'x' twice"):
        read_labels(path, kind="multiclass", classes=["y", "x", "x"])


def test_text_times_of_labels_are_those_of_events(tmp_path):
    """White space around them and digits below the microsecond, as `Clockwork` takes them."""
    path = tmp_path / "labels.csv"
    path.write_text("subject,prediction_time,target\na, 2020-01-01T00:00:00.123456789,1\nb,2020-01-02 00:00:00,0\n")
    labels = read_labels(path)
    assert labels.stamps.tolist() == ["2020-01-01T00:00:00.123456", "2020-01-02T00:00:00"]
    assert labels.clock == "naive" and labels.prediction_time[1] - labels.prediction_time[0] == pytest.approx(
        24, abs=1e-4
    )
