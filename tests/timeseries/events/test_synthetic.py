"""Planted half-lives: the truth is what the formula says, written event by event."""

import numpy as np
import pytest

from timeseries import SyntheticEventsData
from timeseries.events.synthetic import plant


def test_the_means_are_those_of_the_formula() -> None:
    planted = plant(
        8, half_lives=(0.5, 4.0), weights=(1.0, -3.0), bias=0.5, noise_codes=1, events_per_code=6, window=24
    )
    held = planted.samples
    means = np.zeros((8, 2))
    for n in range(8):
        item = held[n]
        for g, half in enumerate((0.5, 4.0)):
            mine = [(24 - t, v) for t, c, v in zip(item.time, item.code, item.value, strict=True) if c == g]
            youngest = min(age for age, _ in mine)
            weights = [0.5 ** ((age - youngest) / half) for age, _ in mine]
            means[n, g] = sum(w * v for w, (_, v) in zip(weights, mine, strict=True)) / sum(weights)
    np.testing.assert_allclose(planted.means, means, rtol=1e-9)
    spread = means.std(axis=0)
    np.testing.assert_allclose(planted.logit, 0.5 + means[:, 0] / spread[0] - 3 * means[:, 1] / spread[1], rtol=1e-9)
    assert planted.informative == ("signal_0", "signal_1") and held.codes == ("signal_0", "signal_1", "noise_0")


def test_a_short_half_life_long_ago_does_not_underflow() -> None:
    planted = plant(50, half_lives=(0.01,), events_per_code=0.5, window=1000)
    assert np.isfinite(planted.means).all() and planted.samples.lengths.min() >= 1


def test_targets_follow_the_logit() -> None:
    planted = plant(20_000, half_lives=(8.0,), weights=(1.5,), noise_codes=0, events_per_code=5)
    p = 1 / (1 + np.exp(-planted.logit))
    gap = planted.samples.target - p
    assert abs(gap.mean()) < 4 * np.sqrt((p * (1 - p)).mean() / 20_000)
    high = p > 0.8
    assert abs(gap[high].mean()) < 4 * np.sqrt((p * (1 - p))[high].mean() / high.sum())


def test_the_truth_stands_in_the_order_of_whole() -> None:
    data = SyntheticEventsData(count=60, events_per_code=5)
    data.setup()
    assert data.planted is not None and data.whole is not None and data.split is not None
    assert (data.whole.target == data.planted.samples.target).all() and len(data.planted.logit) == 60
    item = data.train_set[0]
    assert item.index == data.split.train[0] and item.target == data.planted.samples.target[item.index]
    other = SyntheticEventsData(count=60, events_per_code=5, data_seed=1)
    other.setup()
    assert other.fingerprint() != data.fingerprint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"half_lives": (0.0,)}, "half_lives: expected hours above 0"),
        ({"half_lives": ()}, "half_lives"),
        ({"weights": (1.0,)}, "weights: expected 3 finite numbers"),
        ({"count": 1}, "expected at least 2"),
        ({"window": 0.0}, "window"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plant(**{"count": 10, **options})
