"""Samples check themselves, and can be selected and joined."""

from dataclasses import replace

import numpy as np
import pytest

from timeseries import EventSamples

from ..event_fakes import drawn, samples

NAN = float("nan")


def three() -> EventSamples:
    return samples([[(1, "a", 5.0), (2, "b", NAN)], [], [(0, "b", 7.0), (0, "a", 1.0), (10, "a", 2.0)]])


def test_an_item_is_the_slice_of_its_sample() -> None:
    item = three()[2]
    assert item.time.tolist() == [0, 0, 10] and item.code.tolist() == [1, 0, 0] and item.value.tolist() == [7, 1, 2]
    assert (item.prediction_time, float(item.target), item.index) == (10.0, 0.0, 2)
    assert three()[-2].time.shape == (0,)
    with pytest.raises(IndexError, match=r"0 \.\. 2, got 3"):
        three()[3]


def test_an_event_after_the_prediction_time_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"subject s1 has 'b' at 10\.5 h, its prediction time is 10 h"):
        samples([[(1, "a", 5.0)], [(10.5, "b", 1.0)]])
    samples([[(10.0, "a", 5.0)]])  # at the prediction time is not after it


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subjects": np.array([1, 2, 3])}, "subjects: expected .* of str"),
        ({"offsets": np.array([0, 2, 2, 4])}, "offsets: expected 0 .. 5"),
        ({"offsets": np.array([0, 3, 2, 5])}, "ascending"),
        ({"offsets": np.array([0, 2, 5])}, r"offsets: expected shape \(4,\), got \(3,\)"),
        ({"time": np.array([2.0, 1, 0, 0, 10])}, "s0 has 1 h behind 2 h"),
        ({"time": np.array([1.0, 2, NAN, 0, 10])}, "time: expected finite"),
        ({"prediction_time": np.array([10, 10, 10])}, "prediction_time: expected float64, got int64"),
        ({"code": np.array([0, 1, 2, 0, 0], dtype=np.int32)}, r"code: expected 0 \.\. 1, got 0 \.\. 2"),
        ({"value": np.array([0, 1, 2, np.inf, 0], dtype=np.float32)}, "value: expected a finite number or NaN"),
        ({"codes": ("a", "a")}, "codes: expected every name once, got 'a' twice"),
        ({"static_names": ("age",)}, r"static: expected shape \(3, 1\), got \(3, 0\)"),
        ({"target": np.array([0, 1, 2], dtype=np.float32)}, r"expected 0 or 1 \(binary\), got 2"),
        ({"target": np.array([0, 1, 0.5], dtype=np.float32), "kind": "multiclass"}, "class numbers"),
        ({"target": np.array([[1, 0], [2, 2], [3, 1]], dtype=np.float32), "kind": "time_to_event"}, "column 1"),
        ({"target": np.array([[1, 0], [-2, 1], [3, 1]], dtype=np.float32), "kind": "time_to_event"}, "column 0"),
        ({"target": np.zeros((3, 2), dtype=np.float32), "kind": "multilabel", "target_names": ("x",)}, r"\(3, 1\)"),
        ({"kind": "ordinal"}, "kind: expected one of binary"),
    ],
)
def test_what_is_not_as_said_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(three(), **change)


def test_targets_of_every_kind() -> None:
    open_label = np.array([[1, NAN], [0, 1], [NAN, NAN]], dtype=np.float32)
    assert replace(three(), target=open_label, kind="multilabel").kind == "multilabel"
    assert replace(three(), target=np.array([0, 2, 1], dtype=np.float32), kind="multiclass").kind == "multiclass"
    ends = np.array([[5, 1], [0, 0], [9.5, 1]], dtype=np.float32)
    assert replace(three(), target=ends, kind="time_to_event").target.shape == (3, 2)


def test_selecting_gives_the_same_items_in_the_order_asked_for() -> None:
    whole = drawn(20)
    index = [7, 0, 7, 19]
    for k, item in zip(index, (whole.select(index)[j] for j in range(4)), strict=True):
        for name in ("time", "code", "value", "static", "target"):
            np.testing.assert_array_equal(getattr(item, name), getattr(whole[k], name))
    assert len(whole.select([])) == 0 and whole.select([]).offsets.tolist() == [0]
    mask = whole.lengths > 5
    assert whole.select(mask).fingerprint() == whole.select(np.flatnonzero(mask)).fingerprint()
    with pytest.raises(ValueError, match="expected 20 booleans"):
        whole.select(np.array([True]))
    with pytest.raises(ValueError, match="whole numbers or booleans"):
        whole.select(np.array([0.5]))


def test_parts_join_to_the_whole() -> None:
    whole = drawn(20)
    joined = EventSamples.concat([whole.select(np.arange(7)), whole.select([]), whole.select(np.arange(7, 20))])
    assert joined.fingerprint() == whole.fingerprint()
    with pytest.raises(ValueError, match="the same codes"):
        EventSamples.concat([whole, drawn(3, codes=("x", "y", "z"))])
    with pytest.raises(ValueError, match="at least one"):
        EventSamples.concat([])


def test_events_can_be_left_out() -> None:
    kept = three().keep_events(np.array([False, True, True, False, True]))
    assert kept.lengths.tolist() == [1, 0, 2] and kept.time.tolist() == [2, 0, 10]


def test_the_fingerprint_sees_every_array_and_name() -> None:
    base = drawn(5)
    seen = {base.fingerprint(), drawn(5, seed=1).fingerprint()}
    changes = {
        "subjects": np.array(["x", *base.subjects[1:]]),
        "prediction_time": base.prediction_time + 1,
        "value": base.value + 1,
        "codes": ("a", "b", "d"),
        "static": base.static + 1,
        "static_names": ("years",),
        "target": 1 - base.target,
        "target_names": ("death",),
    }
    for name, value in changes.items():
        seen.add(replace(base, **{name: value}).fingerprint())
    assert len(seen) == 2 + len(changes)
    assert base.fingerprint() == drawn(5).fingerprint()


def test_ids_tell_samples_of_one_subject_apart() -> None:
    """By the prediction time in full, and in one form whoever has several samples."""
    several = samples([[], [], []], subjects=["p", "q", "p"], prediction_time=np.array([110179.25, 2.0, 110179.375]))
    assert several.ids() == ["p@110179.25", "q@2", "p@110179.375"]
    assert several.select([1]).ids() == ["q@2"]
    dated = replace(several, stamps=np.array(["2024-05-01T10:00:00", "2024-05-02T00:00:00", "2024-05-01T10:00:00.5"]))
    assert dated.ids()[::2] == ["p@2024-05-01T10:00:00", "p@2024-05-01T10:00:00.5"]


def test_stamps_go_with_their_samples_and_count_for_nothing() -> None:
    dated = replace(three(), stamps=np.array(["2024-05-01", "2024-05-02", "2024-05-03"]))
    assert dated.fingerprint() == three().fingerprint() and three().stamps.tolist() == [10, 10, 10]
    assert dated.select([2, 0]).stamps.tolist() == ["2024-05-03", "2024-05-01"]
    assert dated.keep_events(np.zeros(5, dtype=bool)).stamps.tolist() == dated.stamps.tolist()
    assert EventSamples.concat([dated.select([1]), dated]).stamps.tolist() == ["2024-05-02", *dated.stamps.tolist()]
    with pytest.raises(ValueError, match="stamps of one kind, got timestamps and numbers"):
        EventSamples.concat([three(), dated])
    for wrong in (np.array(["2024"]), np.array([1, 2, 3])):
        with pytest.raises(ValueError, match=r"stamps: expected \(3,\) of str or float64"):
            replace(three(), stamps=wrong)
