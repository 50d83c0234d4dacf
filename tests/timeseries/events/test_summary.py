"""Summary features against sums written sample by sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timeseries import EventSamples, SummaryFeatures

from ..event_fakes import drawn, samples

NAN = float("nan")


def by_hand(held: EventSamples, n: int, code: str, statistic: str) -> float:
    item = held[n]
    mine = [(t, v) for t, c, v in zip(item.time, item.code, item.value, strict=True) if held.codes[c] == code]
    valued = [(float(t), float(v)) for t, v in mine if not np.isnan(v)]
    times, values = [t for t, _ in valued], [v for _, v in valued]
    if statistic == "count":
        return len(mine)
    if statistic == "since_last":
        return item.prediction_time - mine[-1][0] if mine else NAN
    if not valued:
        return NAN
    if statistic == "slope":
        return float(np.polyfit(times, values, 1)[0]) if len(set(times)) > 1 else NAN
    simple = {"last": values[-1], "first": values[0], "min": min(values), "max": max(values), "sum": sum(values)}
    return {**simple, "mean": sum(values) / len(values), "sd": float(np.std(values))}[statistic]


def test_an_example_by_hand() -> None:
    held = samples([[(1, "a", 5.0), (3, "a", 9.0), (3, "b", NAN), (4, "a", NAN)], []])
    features = SummaryFeatures(("a", "b"), statistics=SummaryFeatures.STATISTICS)
    row = dict(zip(features.names, features(held)[0].tolist(), strict=True))
    expected = {"last": 9, "first": 5, "mean": 7, "min": 5, "max": 9, "sd": 2, "sum": 14, "count": 3, "slope": 2}
    assert {name: row[f"a:{name}"] for name in expected} == expected and row["a:since_last"] == 6
    assert row["b:count"] == 1 and row["b:since_last"] == 7 and np.isnan(row["b:mean"])
    empty = features(held)[1]
    assert [name for name, x in zip(features.names, empty, strict=True) if not np.isnan(x)] == ["a:count", "b:count"]


@given(st.integers(0, 10_000))
def test_every_statistic_is_what_a_loop_says(seed: int) -> None:
    held = drawn(6, seed)
    features = SummaryFeatures(("b", "a", "never"), ("age", "height"), SummaryFeatures.STATISTICS)
    table = features(held)
    assert table.dtype == np.float32 and table.shape == (6, len(features.names))
    for n in range(6):
        expected = [by_hand(held, n, *name.split(":")) for name in features.names if ":" in name]
        np.testing.assert_allclose(table[n, :-2], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(table[:, -2], held.static[:, 0])
    assert np.isnan(table[:, -1]).all()


def test_rows_do_not_depend_on_each_other() -> None:
    held = drawn(30, 3)
    features = SummaryFeatures.of(held)
    np.testing.assert_array_equal(features(held)[[4, 20]], features(held.select([4, 20])))
    assert features(held.select([])).shape == (0, len(features.names))


def test_wrong_statistics_are_refused() -> None:
    for wrong in (("median",), (), ("last", "last")):
        with pytest.raises(ValueError, match="statistics: expected"):
            SummaryFeatures(("a",), statistics=wrong)
    with pytest.raises(ValueError, match="codes: expected every name once"):
        SummaryFeatures(("a", "a"))
