"""The cache of prepared tables: whole and of the same source, or not used."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from timeseries import EventTableData, TableRules, read_table
from timeseries.events.readers import cache as cache_module
from timeseries.events.readers.cache import cached, load, save

from ...event_fakes import write_table

RULES = TableRules(empty_time="static", ranges={"HR": [85, 90], "weight": [0, 80], "hr": [0, 1]})


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path, _ = write_table(tmp_path / "source")
    path.write_text(
        path.read_text() + "s1,,sex,F,\ns1,,weight,80,kg\ns2,,weight,81,kg\ns2,,weight,82,kg\ns1,1,Na,<5,\n"
    )
    save(tmp_path / "kept.npz", read_table(path, RULES))
    return tmp_path / "kept.npz"


def test_what_is_kept_is_what_was_read(tmp_path: Path, kept: Path) -> None:
    read = read_table(tmp_path / "source" / "events.csv", RULES)
    found = load(kept)
    assert found is not None and found.report == read.report and str(found.report) == str(read.report)
    assert read.report.out_of_range and read.report.words and read.report.unmatched and read.report.static is not None
    assert read.report.static.out_of_range and read.report.static.several and read.table.static_flags == ("sex=F",)
    for name in ("subjects", "offsets", "time", "code", "value", "unit", "text", "static"):
        array = getattr(found.table, name)
        np.testing.assert_array_equal(array, getattr(read.table, name))
        assert array.dtype == getattr(read.table, name).dtype
    for name in ("codes", "units", "texts", "static_names", "static_flags", "clock"):
        assert getattr(found.table, name) == getattr(read.table, name)


def test_a_cut_or_changed_file_is_never_used(kept: Path) -> None:
    content = kept.read_bytes()
    rng = np.random.default_rng(0)
    assert load(kept) is not None
    for length in [0, 1, 100, len(content) // 2, len(content) - 1]:
        kept.write_bytes(content[:length])
        assert load(kept) is None
    whole = load_arrays(content, kept)
    for place in rng.integers(0, len(content), 60).tolist():
        kept.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
        found = load(kept)
        assert found is None or load_arrays(kept.read_bytes(), kept) == whole, place  # names in headers carry no data


def load_arrays(content: bytes, path: Path) -> list[bytes]:
    path.write_bytes(content)
    found = load(path)
    assert found is not None
    table = found.table
    arrays = (table.offsets, table.time, table.code, table.value, table.unit, table.text, table.static)
    return [array.tobytes() for array in arrays]


def test_a_pickle_in_the_cache_is_not_loaded(kept: Path) -> None:
    with np.load(kept) as stored:
        arrays = dict(stored)
    np.savez(kept, **{**arrays, "subjects": np.array(["s1", None], dtype=object)})
    assert load(kept) is None


def test_the_same_source_is_read_once_and_another_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, labels = write_table(tmp_path / "source")
    reads = []

    def counted(*args: object) -> object:
        reads.append(args)
        return read_table(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("timeseries.ehr.data.table.read_table", counted)

    def whole(**options: object) -> str:
        data = EventTableData(str(path), str(labels), cache=str(tmp_path / "cache"), **options)  # type: ignore[arg-type]
        data.setup()
        assert data.whole is not None
        return data.whole.fingerprint()

    first = whole()
    assert whole() == first and len(reads) == 1
    whole(missing=[-1])
    assert len(reads) == 2, "other options are another table"
    text = path.read_text()
    path.write_text(text + "s1,0.1,HR,77,unit\n")
    assert whole() != first and len(reads) == 3, "another content is another table"
    path.write_text(text)
    assert whole() == first and len(reads) == 3
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(file.read_bytes()[:-7])
    assert whole() == first and len(reads) == 4, "what was cut is read anew and written again"
    assert whole() == first and len(reads) == 4


def test_a_write_that_is_cut_off_leaves_nothing(tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = load(kept)
    assert found is not None

    def power_cut(file: object, **arrays: np.ndarray) -> None:
        file.write(b"half a table")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr(cache_module.np, "savez", power_cut)
    folder = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        cached(folder, lambda: "hash", {}, lambda: found)
    assert list(folder.iterdir()) == []


def test_no_folder_keeps_nothing(tmp_path: Path, kept: Path) -> None:
    found = load(kept)
    assert found is not None

    def never() -> str:
        raise AssertionError("the source is hashed for nothing")

    assert cached(None, never, {}, lambda: found) is found
    shutil.rmtree(tmp_path / "source")
    assert load(tmp_path / "none.npz") is None
