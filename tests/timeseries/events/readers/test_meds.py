"""MEDS folders: shards, static rows, labels with prediction times, the split; and what does not follow the standard."""

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from timeseries import MedsData, read_meds
from timeseries.events.readers.meds import read_meds_labels, read_meds_split

from ...event_fakes import write_meds

START = dt.datetime(2020, 1, 1)


def shard(root: Path, rows: list[tuple], name: str = "0.parquet", **types: pa.DataType) -> Path:
    schema = {"subject_id": pa.int64(), "time": pa.timestamp("us"), "code": pa.string(), "numeric_value": pa.float32()}
    schema |= types
    columns = zip(*rows, strict=True)
    arrays = {name: pa.array(column, kind) for (name, kind), column in zip(schema.items(), columns, strict=True)}
    (root / "data").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), root / "data" / name)
    return root


def test_a_record_by_hand(tmp_path: Path) -> None:
    rows = [
        (12, None, "GENDER//F", None),
        (12, None, "HEIGHT", 170.0),
        (12, START, "MEDS_BIRTH", None),
        (12, START + dt.timedelta(hours=5), "LAB//K", 4.5),
        (3, None, "GENDER//M", None),
        (3, START + dt.timedelta(hours=2), "LAB//K", 3.5),
    ]
    table, report = read_meds(shard(tmp_path, rows))
    hours = (START - dt.datetime(1970, 1, 1)) / dt.timedelta(hours=1)
    assert table.clock == "naive" and table.subjects.tolist() == ["12", "3"]
    assert (table.time - hours).tolist() == [0, 5, 2]
    assert [table.codes[k] for k in table.code] == ["MEDS_BIRTH", "LAB//K", "LAB//K"]
    assert table.static_names == ("GENDER//F", "GENDER//M", "HEIGHT")
    np.testing.assert_array_equal(table.static, [[1, 0, 170], [0, 1, np.nan]])
    assert report.rows == 6 and report.source == "MEDS, 1 shards"


def test_the_files_of_these_tests_follow_the_standard(tmp_path: Path) -> None:
    import meds

    root = write_meds(tmp_path)
    meds.DataSchema.validate(pq.read_table(root / "data" / "0.parquet"))
    meds.LabelSchema.validate(pq.read_table(root / "labels" / "0.parquet"))
    meds.SubjectSplitSchema.validate(pq.read_table(root / "metadata" / "subject_splits.parquet"))
    assert str(meds.subject_splits_filepath) == "metadata/subject_splits.parquet" and meds.data_subdirectory == "data"


@pytest.mark.parametrize(
    ("types", "row", "message"),
    [
        ({"subject_id": pa.string()}, ("1", START, "a", 1.0), r"0\.parquet: expected subject_id as int64, got string"),
        ({"time": pa.timestamp("us", "UTC")}, (1, START, "a", 1.0), "expected time as timestamp without a zone"),
        ({"time": pa.float64()}, (1, 1.0, "a", 1.0), "expected time as timestamp without a zone, got double"),
        ({"code": pa.int64()}, (1, START, 5, 1.0), "expected code as string, got int64"),
        ({"numeric_value": pa.string()}, (1, START, "a", "1"), "expected numeric_value as float, got string"),
    ],
)
def test_another_schema_is_refused(tmp_path: Path, types: dict, row: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_meds(shard(tmp_path, [row], **types))


def test_a_shard_without_a_column_and_a_subject_in_two_shards_are_refused(tmp_path: Path) -> None:
    shard(tmp_path, [(1, START, "a", 1.0)])
    shard(tmp_path, [(2, START, "a", 1.0), (1, START, "a", 1.0)], "1.parquet")
    with pytest.raises(
        ValueError, match=r"1\.parquet: expected every subject in one file, got '1' also in .*0\.parquet"
    ):
        read_meds(tmp_path)
    pq.write_table(pa.table({"subject_id": [1], "time": [START]}), tmp_path / "data" / "1.parquet")
    with pytest.raises(ValueError, match="expected the MEDS column 'code'"):
        read_meds(tmp_path)
    with pytest.raises(FileNotFoundError, match="expected MEDS shards"):
        read_meds(tmp_path / "data")


def test_a_shard_without_an_optional_column_has_none_and_the_others_keep_theirs(tmp_path: Path) -> None:
    texts = {"text_value": pa.string(), "unit": pa.string()}
    shard(tmp_path, [(1, START, "a", 1.0, "high", "mg")], **texts)
    shard(tmp_path, [(2, START, "a", 2.0)], "1.parquet")
    bare = {"subject_id": pa.array([3]), "time": pa.array([START], pa.timestamp("us")), "code": pa.array(["a"])}
    pq.write_table(pa.table(bare), tmp_path / "data" / "2.parquet")
    table, report = read_meds(tmp_path)
    np.testing.assert_array_equal(table.value, np.array([1, 2, np.nan], dtype=np.float32))
    assert table.texts == ("high",) and table.units == ("mg",) and table.text.tolist() == [0, -1, -1]
    assert report.lacking == {"numeric_value": 1, "text_value": 2, "unit": 2}
    assert "without the column 'numeric_value': 1 files, others have it" in str(report)


def test_labels_of_each_column(tmp_path: Path) -> None:
    base = {"subject_id": pa.array([1, 2], pa.int64()), "prediction_time": pa.array([START] * 2, pa.timestamp("us"))}
    for name, values, kind, target in (
        ("boolean_value", [True, False], "binary", [1, 0]),
        ("integer_value", [2, 0], "multiclass", [2, 0]),
        ("categorical_value", ["b", "a"], "multiclass", [1, 0]),
    ):
        pq.write_table(pa.table({**base, name: values}), tmp_path / "l.parquet")
        labels = read_meds_labels(tmp_path / "l.parquet")
        assert labels.kind == kind and labels.target.tolist() == target and labels.clock == "naive"
    empty = pa.nulls(2, pa.int64())
    pq.write_table(pa.table({**base, "boolean_value": [True, False], "integer_value": empty}), tmp_path / "l.parquet")
    assert read_meds_labels(tmp_path / "l.parquet").kind == "binary"  # a column of nulls is not meant
    pq.write_table(pa.table({**base, "boolean_value": [True, False], "integer_value": [1, 2]}), tmp_path / "l.parquet")
    with pytest.raises(ValueError, match="got boolean_value, integer_value"):
        read_meds_labels(tmp_path)
    assert read_meds_labels(tmp_path, "integer_value").target.tolist() == [1, 2]
    with pytest.raises(ValueError, match="label: expected one of"):
        read_meds_labels(tmp_path, "float_value")
    with pytest.raises(FileNotFoundError, match="labels: expected a parquet file"):
        read_meds_labels(tmp_path / "none")


def test_a_label_without_a_value_is_named_and_other_files_are_not_read(tmp_path: Path) -> None:
    root = write_meds(tmp_path)
    path = root / "labels" / "0.parquet"
    (root / "labels" / "readme.csv").write_text("a,b\n1,2\n")
    assert len(read_meds_labels(root / "labels").subjects) == 40
    table = pq.read_table(path)
    values = table["boolean_value"].to_pylist()
    pq.write_table(table.set_column(2, "boolean_value", pa.array([*values[:3], None, *values[4:]])), path)
    with pytest.raises(ValueError, match=r"0\.parquet, row 4: expected a target, got nothing"):
        read_meds_labels(root / "labels")
    found = read_meds_labels(root / "labels", unlabelled=True)
    assert np.flatnonzero(np.isnan(found.target)).tolist() == [3] and found.stamps[0] == "2020-01-02T00:00:00"
    with pytest.raises(FileNotFoundError, match="labels: expected a parquet file"):
        read_meds_labels(root / "labels" / "readme.csv")
    pq.write_table(pa.table({"subject": [1], "split": ["train"]}), root / "metadata" / "subject_splits.parquet")
    with pytest.raises(
        ValueError, match=r"subject_splits\.parquet: expected the column 'subject_id', got subject, split"
    ):
        read_meds_split(root)


def test_the_split_of_the_data_is_kept(tmp_path: Path) -> None:
    data = MedsData(str(write_meds(tmp_path)))
    data.setup()
    split = read_meds_split(tmp_path)
    assert split is not None
    for part in ("train", "val", "test"):
        subjects = data.samples[part].subjects.tolist()
        assert subjects and {split[subject] for subject in subjects} == {part}
    assert data.codes == ("LAB//a", "LAB//b") and data.static_names == ("GENDER//F", "GENDER//M")
    assert data.whole is not None and (data.whole.target == [int(s) % 2 for s in data.whole.subjects]).all()
    assert (data.whole.prediction_time == 24).all() and (data.whole.time <= 24).all()
    assert data.whole.lengths.tolist() == [7] * 40  # hours 0, 4, ..., 24: the event at the prediction time counts
    assert "240 events after the prediction time left out" in data.report()  # 5 values and the culture of 40 subjects


def test_subjects_outside_the_split_are_in_no_part(tmp_path: Path) -> None:
    root = write_meds(tmp_path)
    path = root / "metadata" / "subject_splits.parquet"
    pq.write_table(pq.read_table(path).slice(0, 30), path)
    data = MedsData(str(root))
    data.setup()
    assert sum(len(part) for part in data.samples.values()) == 30 and "10 samples in no part" in data.report()
    table = pa.table({"subject_id": [1, 1], "split": ["train", "held_out"]})
    pq.write_table(table, path)
    with pytest.raises(ValueError, match="every subject in one part, got 1 in two"):
        read_meds_split(root)
    pq.write_table(pa.table({"subject_id": [1], "split": ["dev"]}), path)
    with pytest.raises(ValueError, match="expected the splits train, tuning, held_out, got 'dev'"):
        read_meds_split(root)


def test_events_after_the_prediction_time_are_an_error_on_request(tmp_path: Path) -> None:
    data = MedsData(str(write_meds(tmp_path)), after_prediction="error")
    with pytest.raises(
        ValueError, match="expected no event after the prediction time, got 240: subject 0 has 'LAB//b' at 28 h"
    ):
        data.setup()


def test_without_a_split_subjects_are_drawn_and_texts_can_be_codes(tmp_path: Path) -> None:
    root = write_meds(tmp_path, split=False)
    data = MedsData(str(root), text="code", window=12)
    data.setup()
    assert data.split is not None and len(data.split.train) == 28
    assert data.whole is not None and (data.whole.prediction_time[:, None] - data.whole.time.min()).max() <= 12
    labels = pq.read_table(root / "labels" / "0.parquet")
    late = pa.array([START + dt.timedelta(hours=60)] * 40, pa.timestamp("us"))
    pq.write_table(labels.set_column(1, "prediction_time", late), root / "labels" / "0.parquet")
    later = MedsData(str(root), text="code")
    later.setup()
    assert later.codes == ("CULTURE=positive", "LAB//a", "LAB//b")
    assert later.fingerprint() != data.raw.fingerprint() if data.raw is not None else False
