"""Labels joined with events: which events count, from when, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timeseries import EventRecords, Labels, ReadReport, build_samples
from timeseries.events.records import Clock, Columns, assemble

NAN = float("nan")


def records(rows: list[tuple[int, float, int, int]], *, clock: Clock = "relative", subjects: int = 3) -> EventRecords:
    """Rows of (subject, time, code, text); the value is the row's number."""
    number = len(rows)
    columns = Columns(
        np.array([row[0] for row in rows], dtype=np.int32),
        np.array([row[1] for row in rows], dtype=np.float64),
        np.array([row[2] for row in rows], dtype=np.int32),
        np.arange(number, dtype=np.float32),
        np.full(number, -1, dtype=np.int32),
        np.array([row[3] for row in rows], dtype=np.int32),
    )
    static = np.arange(subjects, dtype=np.float32)[:, None]
    names = [f"p{k}" for k in range(subjects)]
    options = {"static": static, "static_names": ("number",), "clock": clock, "report": ReadReport("test")}
    return assemble(columns, names, ["a", "b"], texts=["yes", "no"], **options)[0]


def labels(subjects: list[str], times: list[float], clock: Clock = "relative") -> Labels:
    target = np.array([k % 2 for k in range(len(subjects))], dtype=np.float32)
    return Labels(np.array(subjects, dtype=np.str_), np.array(times, dtype=np.float64), target, clock=clock)


def test_a_join_by_hand() -> None:
    table = records([(0, 1.0, 0, -1), (0, 5.0, 1, -1), (0, 9.0, 0, -1), (2, 2.0, 1, -1)])
    samples, report = build_samples(table, labels(["p2", "p0", "p0", "p1", "p9"], [4, 5, 9, 3, 3]), after="drop")
    assert [samples[k].value.tolist() for k in range(5)] == [[3], [0, 1], [0, 1, 2], [], []]
    np.testing.assert_array_equal(samples.static[:, 0], np.array([2, 0, 0, 1, NAN], dtype=np.float32))
    assert samples.prediction_time.tolist() == [4, 5, 9, 3, 3] and samples.time.tolist() == [2, 1, 5, 1, 5, 9]
    assert (report.samples, report.after_prediction, report.without_events, report.strangers) == (5, 1, 2, 1)
    assert "2 without events (1 of subjects that the events do not know)" in str(report)
    assert "1 events after the prediction time left out" in str(report)


@pytest.mark.parametrize("clock", ["naive", "utc"])
def test_times_count_from_the_first_event_of_the_subject(clock: Clock) -> None:
    table = records([(0, 1000.0, 0, -1), (0, 1005.0, 1, -1), (1, 2000.5, 0, -1)], clock=clock)
    samples, _ = build_samples(table, labels(["p0", "p1", "p2"], [1006, 2001, 3000], clock))
    assert samples.time.tolist() == [0, 5, 0] and samples.prediction_time.tolist() == [6, 0.5, 0]
    early, _ = build_samples(table, labels(["p0", "p1"], [990, 2001], clock), after="drop")
    assert early.prediction_time[0] == 0  # when the first event will come is not told
    windowed, report = build_samples(table, labels(["p0"], [1006], clock), window=2)
    assert windowed.time.tolist() == [5] and report.before_window == 1  # the origin does not move with the window


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8).map(float), st.integers(0, 1), st.just(-1)), max_size=15),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8).map(float)), min_size=1, max_size=5),
    st.none() | st.integers(1, 8),
)
def test_the_join_is_what_a_loop_over_rows_says(rows: list, wanted: list, window: int | None) -> None:
    rows = [row for k, row in enumerate(rows) if row[:3] not in [earlier[:3] for earlier in rows[:k]]]
    table = records(rows)
    chosen = labels([f"p{s}" for s, _ in wanted], [t for _, t in wanted])
    if rows and not {s for s, _ in wanted} & {0, 1, 2}:
        return
    samples, report = build_samples(table, chosen, after="drop", window=window)
    late = early = 0
    for k, (subject, at) in enumerate(wanted):
        mine = sorted((time, number) for number, (s, time, _, _) in enumerate(rows) if s == subject)
        late += sum(time > at for time, _ in mine)
        early += sum(window is not None and time < at - window for time, _ in mine)
        kept = [number for time, number in mine if time <= at and (window is None or time >= at - window)]
        assert samples[k].value.tolist() == kept
    assert (report.after_prediction, report.before_window) == (late, early)


def test_prediction_times_keep_the_clock_of_their_labels() -> None:
    relative, _ = build_samples(records([(0, 1.0, 0, -1)]), labels(["p0"], [9.25]))
    assert relative.stamps.tolist() == [9.25]
    hours = 24 * 365 + 1.5  # of 1971
    for clock, end in (("naive", ""), ("utc", "Z")):
        found, _ = build_samples(records([(0, 1.0, 0, -1)], clock=clock), labels(["p0", "p1"], [hours, 1], clock))
        assert found.stamps.tolist() == [f"1971-01-01T01:30:00{end}", f"1970-01-01T01:00:00{end}"]
    in_days = replace(labels(["p0"], [9]), stamps=np.array([0.375]), repeated=3)
    found, report = build_samples(records([(0, 1.0, 0, -1)]), in_days)
    assert found.stamps.tolist() == [0.375] and found.prediction_time.tolist() == [9]
    assert "3 labels left out (exact repeats)" in str(report)
    strangers = replace(labels(["p0", "p1"], [9, 9]), repeated=1)
    _, report = build_samples(records([(0, 1.0, 0, -1)]), strangers, without_events="drop")
    assert report.left_out == {"exact repeats": 1, "without events": 1}


def test_an_event_after_the_prediction_time_is_an_error_by_default() -> None:
    table = records([(0, 1.0, 0, -1), (0, 5.0, 1, -1)])
    with pytest.raises(ValueError, match="subject p0 has 'b' at 5 h, its prediction time is 4 h"):
        build_samples(table, labels(["p0"], [4]))


def test_texts_become_codes_or_are_forgotten() -> None:
    table = records([(0, 1.0, 0, 0), (0, 2.0, 0, 1), (0, 3.0, 1, -1), (0, 4.0, 0, 0)])
    samples, _ = build_samples(table, labels(["p0"], [9]))
    assert [samples.codes[k] for k in samples.code] == ["a=yes", "a=no", "b", "a=yes"]
    samples, _ = build_samples(table, labels(["p0"], [9]), text="flag")
    assert [samples.codes[k] for k in samples.code] == ["a", "a", "b", "a"]


def test_labels_without_events() -> None:
    table = records([(0, 1.0, 0, -1)])
    wanted = labels(["p0", "p1"], [9, 9])
    assert build_samples(table, wanted).samples.lengths.tolist() == [1, 0]
    samples, report = build_samples(table, wanted, without_events="drop")
    assert samples.subjects.tolist() == ["p0"] and report.left_out == {"without events": 1} and report.samples == 1
    with pytest.raises(ValueError, match="expected events for every label, got none for p1"):
        build_samples(table, wanted, without_events="error")


def test_what_cannot_be_joined_is_refused() -> None:
    table = records([(0, 1.0, 0, -1)])
    with pytest.raises(
        ValueError, match=r"expected subjects of the event table .such as 'p0'., got none of them .such as 'P0'"
    ):
        build_samples(table, labels(["P0", "P1"], [9, 9]))
    with pytest.raises(ValueError, match="on the clock of the events, relative, got utc"):
        build_samples(table, labels(["p0"], [9], "utc"))
    for name, value in (("after", "keep"), ("text", "words"), ("without_events", "maybe"), ("window", 0.0)):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            build_samples(table, labels(["p0"], [9]), **{name: value})
    none = records([], subjects=0)
    assert build_samples(none, labels(["p0"], [9])).samples.lengths.tolist() == [0]
