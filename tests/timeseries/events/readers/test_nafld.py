"""The NAFLD study: read without running code, cut at a landmark without a look ahead."""

import lzma
import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest

from timeseries import NafldData, build_samples
from timeseries.events.readers.nafld import DAY, YEAR, NafldStudy, nafld_labels, read_nafld, study_files
from timeseries.events.readers.pickled_frames import read_pickled_frame


@pytest.fixture(scope="module")
def study() -> NafldStudy:
    return read_nafld()


def packed(path: Path, content: object) -> Path:
    with lzma.open(path, "wb") as file:
        pickle.dump(content, file)
    return path


def test_every_column_is_what_pandas_reads() -> None:
    import pandas

    for file in study_files():
        found = read_pickled_frame(file)
        frame = pandas.read_pickle(file, compression="xz")
        assert list(found) == list(frame.columns) or set(found) == set(frame.columns)
        for name in frame.columns:
            expected = frame[name].to_numpy()
            assert len(found[name]) == len(expected)
            if found[name].dtype.kind == "U":
                assert found[name].tolist() == expected.tolist()
            else:
                np.testing.assert_array_equal(found[name], expected)


class Runs:
    """A pickle of it runs a command where it is loaded."""

    def __reduce__(self) -> tuple:
        return os.mkdir, (os.environ["TRAP"],)


def test_code_in_a_pickle_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAP", str(tmp_path / "ran"))
    path = packed(tmp_path / "trap.pkl", Runs())
    with lzma.open(path) as file:
        pickle.load(file)
    assert (tmp_path / "ran").is_dir(), "the trap works where it is unpickled plainly"
    (tmp_path / "ran").rmdir()
    with pytest.raises(ValueError, match=r"trap\.pkl: expected a pickled table, got the name .*mkdir"):
        read_pickled_frame(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [{"a": 1}, [1, 2], np.arange(3), eval, {1, 2}])
def test_what_is_no_table_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(ValueError, match="expected a pickled table, got"):
        read_pickled_frame(packed(tmp_path / "x.pkl", content))


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    with lzma.open(study_files()[2]) as file:
        content = file.read()
    (tmp_path / "cut.pkl").write_bytes(lzma.compress(content[: len(content) // 2]))
    with pytest.raises(ValueError, match=r"cut\.pkl: expected a pickled table"):
        read_pickled_frame(tmp_path / "cut.pkl")


def test_no_name_in_the_files_reaches_a_function_of_another_package() -> None:
    from timeseries.events.readers.pickled_frames import _NAMES

    assert {kind.__module__ for kind in _NAMES.values()} <= {"timeseries.events.readers.pickled_frames", "builtins"}
    assert _NAMES["builtins", "slice"] is slice
    with lzma.open(study_files()[0]) as file:
        operations = {operation.name for operation, _, _ in pickletools.genops(file.read())}
    assert not operations & {"INST", "OBJ", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4"}


def test_the_study_has_its_published_size(study: NafldStudy) -> None:
    table, follow_up, died, report = study
    assert len(table.subjects) == 17_549 and report.rows == 400_123 + 34_340 and died.sum() == 1364
    assert set(table.codes) == {
        "MI", "afib", "ang/isc", "cardiac arrest", "chol", "dbp", "diabetes", "dyslipidemia", "fib4", "hdl",
        "heart failure", "htn", "nafld", "sbp", "smoke", "stroke",
    }  # fmt: skip
    assert follow_up.min() == 7 * DAY and follow_up.max() == 7268 * DAY
    first = table.static[table.subjects.tolist().index("1")]
    assert first[:4].tolist() == [57, 0, 60, 163]


def test_labels_follow_their_definition_person_by_person(study: NafldStudy) -> None:
    rng = np.random.default_rng(0)
    for landmark, horizon in ((0.0, 5.0), (1.0, 3.0)):
        labels, left_out = nafld_labels(study, landmark=landmark, horizon=horizon)
        given = dict(zip(labels.subjects.tolist(), labels.target.tolist(), strict=True))
        everyone = study.table.subjects.tolist()
        assert len(everyone) == len(given) + sum(left_out.values())
        for k in rng.integers(0, len(everyone), 300).tolist():
            years = study.follow_up[k] / YEAR - landmark
            expected = None
            if years > 0:
                if study.died[k] and years <= horizon:
                    expected = 1.0
                elif years >= horizon:
                    expected = 0.0
            assert given.get(everyone[k]) == expected
        assert (labels.prediction_time == landmark * YEAR).all()


def test_survival_keeps_everybody_at_risk(study: NafldStudy) -> None:
    labels, left_out = nafld_labels(study, landmark=2.0, task="survival")
    at_risk = study.follow_up > 2 * YEAR
    assert labels.kind == "time_to_event" and len(labels.subjects) == at_risk.sum()
    np.testing.assert_allclose(labels.target[:, 0], study.follow_up[at_risk] - 2 * YEAR, rtol=1e-6)
    assert labels.target[:, 1].tolist() == study.died[at_risk].tolist()
    assert left_out["left alive before the horizon"] == 0
    for wrong in ({"task": "age"}, {"landmark": -1.0}, {"horizon": 0.0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}.*expected"):
            nafld_labels(study, **wrong)


def test_nothing_behind_the_landmark_reaches_a_sample(study: NafldStudy) -> None:
    labels, _ = nafld_labels(study, landmark=1.0)
    samples, report = build_samples(study.table, labels, after="drop")
    assert samples.time.max() <= YEAR and report.after_prediction > 100_000
    with pytest.raises(ValueError, match="expected no event after the prediction time"):
        build_samples(study.table, labels)


def test_the_data_module() -> None:
    data = NafldData()
    data.setup()
    assert sum(len(part) for part in data.samples.values()) == 10_676
    assert data.kind == "binary" and data.target_names == ("death within 5 years",)
    assert "6,873 labels left out (left alive before the horizon)" in data.report()
    assert "left out: 3,817 (exact duplicate)" in data.report()
