import numpy as np
import pytest
import torch

from timeseries.ehr.decayed_means import DecayedMeans, fit_decayed_means, matched, padded
from timeseries.events.synthetic import plant

from ..event_fakes import samples


def test_means_are_the_planted_ones():
    """With the planted half-lives and one code per head the model computes the generator's own means."""
    planted = plant(30, seed=3)
    model = DecayedMeans(6, [2.0, 8.0, 32.0])
    with torch.no_grad():
        model.preference.copy_(torch.full((3, 6), -40.0).fill_diagonal_(40.0))
    got = model.means(padded(planted.samples)).detach().numpy()
    assert np.allclose(got, planted.means, atol=1e-4)
    assert matched(model, [2, 0]) == pytest.approx([32.0, 2.0])
    assert np.allclose(model.reads.sum(1), 1)


def test_padding_counts_for_nothing():
    given = samples([[(1.0, "a", 2.0), (9.0, "b", float("nan"))], [(4.0, "b", 3.0)], []])
    events = padded(given)
    assert events.time.tolist() == [[-9.0, -1.0], [-6.0, 0.0], [0.0, 0.0]]
    assert events.length.tolist() == [2, 1, 0] and events.value.tolist() == [[2.0, 0.0], [3.0, 0.0], [0.0, 0.0]]
    model = DecayedMeans(2, [5.0])
    assert model.means(events)[1:, 0].tolist() == pytest.approx([3.0, 0.0])


def test_half_lives_are_found():
    planted = plant(3000, half_lives=(2.0, 20.0), weights=(3.0, 3.0), noise_codes=1, window=60.0, seed=0)
    model = fit_decayed_means(planted.samples, [5.0, 10.0], epochs=12, batch_size=100, lr=0.1, seed=0)
    assert matched(model, [0, 1]) == pytest.approx([2.0, 20.0], rel=0.25)
    assert (model.reads[:, 2] < 0.05).all()  # noise is not read


def test_refuses_other_outcomes():
    with pytest.raises(ValueError, match="binary"):
        fit_decayed_means(samples([[]] * 2, [0, 1], kind="multiclass"), [1.0])
