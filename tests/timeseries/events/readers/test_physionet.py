"""The challenge's folders: what is read, the traps in them, and what is refused."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from timeseries import PhysioNet2012Data, read_physionet
from timeseries.events.readers.physionet import STATIC
from timeseries.events.readers.physionet_outcomes import AUXILIARY

from ...event_fakes import write_physionet

STAY = """\
Time,Parameter,Value
00:00,RecordID,7
00:00,Age,54
00:00,Gender,-1
00:00,Height,-1
00:00,ICUType,3
00:00,Weight,81.5
00:00,Weight,82
00:00,HR,90
07:30,HR,73
07:30,HR,73
03:15,HR,80
05:00,,12
05:00,,
06:00,Temp,-1
48:00,pH,735
"""


def write(root: Path, stay: str = STAY, outcome: str = "7,-1,-1,5,-1,1", record: int = 7) -> Path:
    (root / "set-a").mkdir(parents=True, exist_ok=True)
    (root / "set-a" / f"{record}.txt").write_text(stay)
    header = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"
    (root / "Outcomes-a.txt").write_text(header + outcome + "\n")
    return root


def test_a_stay_by_hand(tmp_path: Path) -> None:
    table, died, _, report = read_physionet(write(tmp_path), "a")
    found = [
        (time, table.codes[code], value) for time, code, value in zip(table.time, table.code, table.value, strict=True)
    ]
    assert found == [(0, "Weight", 82), (0, "HR", 90), (3.25, "HR", 80), (7.5, "HR", 73), (48, "pH", 735)]
    expected = {"Age": 54, "Gender": np.nan, "Height": np.nan, "Weight": 81.5}
    expected |= {f"ICUType={k}": float(k == 3) for k in (1, 2, 3, 4)}
    np.testing.assert_array_equal(table.static[0], np.array([expected[name] for name in STATIC], dtype=np.float32))
    assert died.tolist() == [1] and table.subjects.tolist() == ["7"]
    assert report.dropped == {"empty parameter": 2, "missing value (-1)": 1, "exact duplicate": 1}
    assert (report.rows, report.events, report.unsorted) == (15, 5, 1)
    assert report.out_of_range == {"pH": (1, 735.0, 735.0)}


def test_a_stay_without_series_is_kept(tmp_path: Path) -> None:
    header = "Time,Parameter,Value\n"
    table, died, _, report = read_physionet(write(tmp_path, header + "00:00,RecordID,7\n", "7,1,1,1,1,0"), "a")
    assert len(table) == 0 and died.tolist() == [0] and report.without_events == 1
    assert np.isnan(table.static).all()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Time,Parameter,Value", "time,what,value", r"7\.txt, line 1: expected 'Time,Parameter,Value'"),
        ("07:30,HR,73", "07:30,HR", r"7\.txt, line 10: expected HH:MM,Parameter,number"),
        ("07:30,HR,73", "07.30,HR,73", "line 10"),
        ("07:30,HR,73", "07:61,HR,73", "line 10"),
        ("07:30,HR,73", "07:30,HR,high", "line 10"),
        ("07:30,HR,73", "07:30,HR,nan", "line 10"),
        (
            "07:30,HR,73",
            "07:30,HR,1e39",
            r"line 10: expected HH:MM,Parameter,finite number \(float32\), got '07:30,HR,1e39'",
        ),
        ("RecordID,7", "RecordID,8", r"expected RecordID 7 \(the file's name\) at 00:00, got 8"),
        ("00:00,RecordID,7\n", "", "expected RecordID 7 .* got none"),
        ("ICUType,3", "ICUType,5", "expected ICUType 1, 2, 3 or 4, got 5"),
    ],
)
def test_a_broken_stay_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_physionet(write(tmp_path, STAY.replace(old, new, 1)), "a")


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ("7,-1,-1,5,-1,2", "Outcomes-a.txt, line 2: expected In-hospital_death 0 or 1"),
        ("7,1", "Outcomes-a.txt, line 2"),
        ("8,-1,-1,5,-1,1", "expected a row for every stay, got none for 7"),
        ("7,-1,-1,5,-1,1\n8,-1,-1,5,-1,1", "expected a file for every outcome, got none for 8"),
        ("7,-1,-1,5,-1,1\n7,-1,-1,5,-1,1", "line 3: expected every RecordID once"),
    ],
)
def test_broken_outcomes_are_named(tmp_path: Path, outcome: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_physionet(write(tmp_path, outcome=outcome), "a")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected the folder set-a or its archive"):
        read_physionet(tmp_path, "a")
    (tmp_path / "set-a").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected the file Outcomes-a\.txt"):
        read_physionet(tmp_path, "a")


def test_an_archive_holds_the_same(tmp_path: Path) -> None:
    root = write_physionet(tmp_path / "plain", "a", 6)
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / "set-a.tar.gz", "w:gz") as archive:
        archive.add(root / "set-a", "set-a")
        archive.add(root / "Outcomes-a.txt", "Outcomes-a.txt")
    one, two = read_physionet(root, "a"), read_physionet(packed, "a")
    for name in ("time", "code", "value", "offsets", "static", "subjects"):
        np.testing.assert_array_equal(getattr(one.table, name), getattr(two.table, name))
    assert one.died.tolist() == two.died.tolist() == [0, 0, 0, 1, 0, 0]


def test_an_event_after_48_hours_is_refused(tmp_path: Path) -> None:
    write_physionet(tmp_path, "a", 12)
    with (tmp_path / "set-a" / "5.txt").open("a") as file:
        file.write("48:01,HR,70\n")
    with pytest.raises(ValueError, match=r"subject 5 has 'HR' at 48\.0167 h, its prediction time is 48 h"):
        PhysioNet2012Data(str(tmp_path), test=None).setup()


def test_set_b_judges_and_folds_are_inside_set_a(tmp_path: Path) -> None:
    write_physionet(write_physionet(tmp_path, "a", 20), "b", 12, first=101, seed=1)
    seen = []
    for fold in range(4):
        data = PhysioNet2012Data(str(tmp_path), fold=fold, folds=4)
        data.setup()
        assert data.samples["test"].subjects.tolist() == [str(k) for k in range(101, 113)]
        assert len(data.samples["train"]) == 15
        seen += data.samples["val"].subjects.tolist()
    assert sorted(seen, key=int) == [str(k) for k in range(1, 21)]
    data = PhysioNet2012Data(str(tmp_path), val_fraction=0.0)
    data.setup()
    names = data.samples["train"].auxiliary_names
    assert names == AUXILIARY[:-1]  # no stay has a SOFA
    first = dict(zip(names, data.samples["train"].auxiliary[3], strict=True))
    assert data.samples["train"].subjects[3] == "4" and data.samples["train"].target[3] == 1
    assert (first["death within 4 d"], first["stay over 5 d"], first["stay over 8 d"], first["SAPS-I"]) == (1, 1, 0, 4)
    assert len(data.samples["train"]) == 20 and "val" not in data.samples and data.val_set is None
    assert data.codes == ("HR", "Lactate") and data.static_names[0] == "Age" and "Height" not in data.static_names
    assert data.fingerprint() != PhysioNet2012Data(str(tmp_path), train="b", test="a").fingerprint()
    with pytest.raises(ValueError, match="another set than train"):
        PhysioNet2012Data(str(tmp_path), train="a", test="a")


@pytest.mark.local_data
@pytest.mark.skipif("ATTENTION_SUITE_DATA" not in os.environ, reason="needs ATTENTION_SUITE_DATA")
def test_the_real_sets_have_their_published_size() -> None:
    root = Path(os.environ["ATTENTION_SUITE_DATA"]) / "timeseries" / "physionet2012"
    for name, deaths in (("a", 554), ("b", 568)):
        table, died, _, report = read_physionet(root, name)
        assert len(table.subjects) == 4000 and died.sum() == deaths and len(table.codes) == 37
        assert table.time.max() <= 48.0 and report.rows - report.events == 6 * 4000 + sum(report.dropped.values())
