"""Rank correlations against scipy, permutations, bootstrap."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.analysis.faithfulness.ranks import bootstrap, kendall, permutation_p, shuffled, spearman


def drawn(seed, items=5, n=8, levels=6):
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randint(levels, (items, n), generator=generator).double() for _ in range(2))
    valid = torch.rand(items, n, generator=generator) < 0.8
    return a, b, valid


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), levels=st.sampled_from([2, 3, 100]))
def test_correlations_are_scipys(seed, levels):
    a, b, valid = drawn(seed, levels=levels)
    tau, rho = kendall(a, b, valid), spearman(a, b, valid)
    for item in range(len(a)):
        left, right = a[item][valid[item]].numpy(), b[item][valid[item]].numpy()
        if len(set(right)) < 2:
            assert tau[item].isnan() and rho[item].isnan()
        elif len(set(left)) < 2:
            assert tau[item] == 0 and rho[item] == 0
        else:
            assert tau[item].item() == pytest.approx(stats.kendalltau(left, right).statistic, abs=1e-12)
            assert rho[item].item() == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-12)


def test_what_stands_at_units_that_do_not_exist_does_not_count():
    a, b, valid = drawn(0)
    other = torch.where(valid, a, torch.nan)
    torch.testing.assert_close(kendall(other, b, valid), kendall(a, b, valid), rtol=0, atol=0)
    torch.testing.assert_close(spearman(other, b, valid), spearman(a, b, valid), rtol=0, atol=0)


def test_shuffled_moves_only_valid_places_and_all_orders_are_equally_likely():
    generator = torch.Generator().manual_seed(0)
    valid = torch.tensor([True, False, True, True]).expand(6000, 4)
    order = shuffled(valid, generator)
    assert (order[:, 1] == 1).all()
    found = [tuple(row) for row in order[:, [0, 2, 3]].tolist()]
    counts = [found.count(one) for one in itertools.permutations((0, 2, 3))]
    assert sum(counts) == 6000 and stats.chisquare(counts).pvalue > 1e-3
    assert shuffled(torch.zeros(2, 3, dtype=torch.bool), generator).tolist() == [[0, 1, 2]] * 2


def test_permutation_p_equals_the_exact_distribution():
    """One item of five units, no ties: p is near the share of the 120 orders with as high a tau."""
    a, b = torch.tensor([[1.0, 2.0, 3.0, 5.0, 4.0]]), torch.tensor([[1.0, 3.0, 2.0, 4.0, 5.0]])
    valid = torch.ones(1, 5, dtype=torch.bool)
    observed = stats.kendalltau(a[0], b[0]).statistic
    higher = [
        stats.kendalltau(order, b[0]).statistic >= observed - 1e-9 for order in itertools.permutations(a[0].tolist())
    ]
    exact = sum(higher) / len(higher)
    assert 0.05 < exact < 0.4
    p = permutation_p(a, b, valid, torch.Generator().manual_seed(0), permutations=4000)
    assert abs(p - exact) < 4 * (exact * (1 - exact) / 4000) ** 0.5


def test_permutation_p_without_a_defined_item_is_nan():
    constant = torch.zeros(2, 3)
    p = permutation_p(torch.rand(2, 3), constant, torch.ones(2, 3, dtype=torch.bool), torch.Generator())
    assert p != p


def test_bootstrap_covers_the_mean_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(300, 60, generator=generator) + 1.0
    intervals = [bootstrap(sample, generator, resamples=400) for sample in samples]
    covered = sum(low <= 1.0 <= high for _, low, high in intervals) / len(intervals)
    assert 0.88 < covered < 0.99
    assert intervals[0].mean == pytest.approx(samples[0].mean().item(), abs=1e-6)


def test_bootstrap_leaves_nan_out():
    generator = torch.Generator().manual_seed(0)
    assert bootstrap(torch.tensor([1.0, torch.nan, 3.0]), generator).mean == 2.0
    nothing = bootstrap(torch.tensor([torch.nan]), generator)
    assert all(number != number for number in nothing)
