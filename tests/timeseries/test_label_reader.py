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
