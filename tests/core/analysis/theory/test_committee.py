"""Committees: exact accuracy against simulation and counting by hand, exponents against numeric minimisation."""

import itertools
import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import binom

import core
from core.analysis import theory
from core.analysis.theory import Committee
from core.analysis.theory.committee import _approval_accuracy
from core.analysis.theory.retrieval import _plurality

SMALL = Committee(head_size=4, noise=1.5, threshold=1.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("items", [2, 40])
@pytest.mark.parametrize("number", [0, 1])
def test_exact_accuracy_is_what_simulation_finds(items, number):
    trials = 8192
    curves = theory.simulate_retrieval(SMALL, items, 12, trials, generator(items))
    rule = curves.rules[number]
    for heads in (1, 3, 12):
        exact = theory.retrieval_accuracy(SMALL, rule, items, heads)
        error = math.sqrt(exact * (1 - exact) / trials)
        # queries of a block share their rivals: allow for trials that are not quite independent
        assert abs(curves.won[number, heads - 1].item() / trials - exact) < 6 * error


def test_one_head_naming_items_is_one_head_adding_logits():
    curves = theory.simulate_retrieval(SMALL, 30, 2, 512, generator(1))
    assert curves.won[0, 0] == curves.won[2, 0]


def test_tiles_and_rules_do_not_matter(monkeypatch):
    whole = theory.simulate_retrieval(SMALL, 3000, 6, 512, generator(), ("logits",)).won / 512
    monkeypatch.setattr("core.analysis.theory.retrieval.ITEMS", 500)
    tiled = theory.simulate_retrieval(SMALL, 3000, 6, 512, generator(), ("logits",)).won / 512
    exact = [theory.retrieval_accuracy(SMALL, "logits", 3000, heads) for heads in range(1, 7)]
    for share in (whole, tiled):
        assert share[0].tolist() == pytest.approx(exact, abs=0.06)


def test_a_committee_of_heads_of_attend():
    """Adding logits is adding the logarithms of core's weights: the same item wins as with one head of all features."""
    heads, items, d = 5, 20, SMALL.head_size
    k = torch.randn(1, heads, items, d, generator=generator(2), dtype=torch.float64)
    noise = torch.randn(1, heads, items, d, generator=generator(3), dtype=torch.float64)
    q = k + SMALL.noise * noise
    weights = core.attend(q, k, k, scale=1.0, need=("weights",)).weights
    joined = torch.einsum("bhid,bhjd->bij", q, k)
    assert torch.equal(weights.log().sum(1).argmax(-1), joined.argmax(-1))


def test_votes_of_approval_by_hand():
    """Yes with 1/2 to the right item and 1/4 to the wrong one, one head, two items.

    It leads with (1/2)(3/4), ties with (1/2)(1/4) + (1/2)(3/4): 3/8 + 1/4.
    """
    assert _approval_accuracy(0.5, 0.25, 2, 1) == pytest.approx(0.625, abs=1e-12)


@pytest.mark.parametrize(("items", "heads"), [(2, 3), (3, 2), (4, 3)])
def test_votes_of_approval_by_enumeration(items, heads):
    """All tables of votes, weighted by their probability; ties broken evenly."""
    right, wrong = 0.6, 0.2
    total = 0.0
    for votes in itertools.product(range(heads + 1), repeat=items):
        probability = binom.pmf(votes[0], heads, right) * math.prod(binom.pmf(v, heads, wrong) for v in votes[1:])
        if votes[0] == max(votes):
            total += probability / votes.count(max(votes))
    assert _approval_accuracy(right, wrong, items, heads) == pytest.approx(total, abs=1e-12)


def test_rates_of_approval_against_draws():
    rates = theory.approval_rates(SMALL)
    assert rates.wrong == pytest.approx(0.15865525393145707, abs=1e-15)  # 1 - Phi(1)
    k = torch.randn(200_000, 4, generator=generator(4))
    q = k + SMALL.noise * torch.randn(200_000, 4, generator=generator(5))
    yes = ((q * k).sum(1) > q.norm(dim=1)).double().mean().item()
    assert abs(yes - rates.right) < 4 * 0.5 / math.sqrt(200_000)


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_chernoff_exponents_are_minima(noise):
    """-c = min over t of ln E exp(t (wrong - right)), found by scipy."""
    committee = Committee(3, noise, 0.8)
    s = 1 + noise**2

    def logits(
        t,
    ):  # E over (q, k) normal with variances s, 1 and covariance 1 of exp(t^2 q^2 / 2 - t q k), by determinant
        covariance = torch.tensor([[s, 1.0], [1.0, 1.0]], dtype=torch.float64)
        form = torch.tensor([[-(t**2), t], [t, 0.0]], dtype=torch.float64)
        return -1.5 * torch.logdet(torch.eye(2, dtype=torch.float64) + covariance @ form).item()

    right, wrong = theory.approval_rates(committee)

    def approval(t):
        return math.log((1 - wrong + wrong * math.exp(t)) * (1 - right + right * math.exp(-t)))

    low = minimize_scalar(logits, bounds=(0, 1 / (2 * s - 1) * 1.9), method="bounded", options={"xatol": 1e-9})
    assert theory.pair_exponent(committee, "logits") == pytest.approx(-low.fun, abs=1e-9)
    low = minimize_scalar(approval, bounds=(0, 20), method="bounded", options={"xatol": 1e-9})
    assert theory.pair_exponent(committee, "approval") == pytest.approx(-low.fun, abs=1e-9)
    for rule in ("logits", "approval"):
        assert theory.limiting_exponent(committee, rule) > theory.pair_exponent(committee, rule)


@pytest.mark.parametrize("rule", ["logits", "approval"])
def test_heads_needed_lie_under_the_union_bound(rule):
    counts = []
    for items in (4, 64, 1024):
        needed = theory.heads_needed(SMALL, rule, items)
        assert theory.retrieval_accuracy(SMALL, rule, items, needed) >= 0.99
        assert theory.retrieval_accuracy(SMALL, rule, items, needed - 1) < 0.99
        bound = theory.union_bound_heads(SMALL, rule, items)
        assert (items - 1) * math.exp(-theory.pair_exponent(SMALL, rule) * bound) == pytest.approx(0.01)
        assert needed <= math.ceil(bound)
        counts.append(needed)
    assert counts == sorted(set(counts))


@pytest.mark.parametrize("rule", ["logits", "approval"])
def test_slope_tends_to_the_limiting_exponent(rule):
    """Between 2^400 and 2^800 items the slope is nearer to 1 / limit than between 2^8 and 2^16, and always above."""
    limit = 1 / theory.limiting_exponent(SMALL, rule)

    def slope(low, high):
        few, many = (theory.heads_needed(SMALL, rule, 2**power) for power in (low, high))
        return (many - few) / ((high - low) * math.log(2))

    near, far = slope(400, 800), slope(8, 16)
    assert limit * 0.98 < near < far
    assert near < 1.25 * limit


def test_plurality_by_hand():
    """Ballots of three heads; -1 is right. After each head: alone right, tied with 7, tied three ways, and so on."""
    named = torch.tensor([[-1, 7, -1], [7, -1, 3], [7, 7, -1], [-1, -1, 7]])
    expected = torch.tensor([[1, 1 / 2, 1], [0, 1 / 2, 1 / 3], [0, 0, 0], [1, 1, 1]], dtype=torch.float64)
    torch.testing.assert_close(_plurality(named).double(), expected.sum(0), rtol=0, atol=1e-6)
    for row, share in zip(named, expected, strict=True):
        torch.testing.assert_close(_plurality(row[None]).double(), share, rtol=0, atol=1e-6)


def test_bracket_by_hand():
    """98, 99 and 99.9% of 1000: Wilson's 95% intervals are [.9692, .9870], [.9817, .9946], [.9944, .9998]."""
    won = torch.tensor([980.0, 990.0, 999.0])
    assert theory.bracket_heads(won, 1000) == theory.Bracket(2, 2, 3)
    assert theory.bracket_heads(won[:2], 1000) is None
    assert theory.bracket_heads(won, 1000, target=0.985) == theory.Bracket(1, 2, 3)


def test_fit_of_a_line():
    items = torch.tensor([2, 4, 8, 16])
    fit = theory.log_fit(items, 3 + 2 * items.double().log())
    assert fit == pytest.approx((3, 2, 1))
    bent = theory.log_fit(torch.tensor([1.0, math.e, math.e**2]), torch.tensor([0.0, 1.0, 0.0]))
    assert bent == pytest.approx((1 / 3, 0, 0), abs=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Committee(0, 1.0, 1.0), "head_size: expected at least 1, got 0"),
        (lambda: Committee(1, 0.0, 1.0), "noise: expected a positive number, got 0.0"),
        (
            lambda: theory.retrieval_accuracy(SMALL, "plurality", 4, 2),
            "rule: expected 'logits' or 'approval', got 'plurality'",
        ),
        (lambda: theory.pair_exponent(SMALL, "plurality"), "rule: expected 'logits' or 'approval'"),
        (lambda: theory.limiting_exponent(SMALL, "plurality"), "rule: expected 'logits' or 'approval'"),
        (lambda: theory.retrieval_accuracy(SMALL, "logits", 1, 2), "items: expected at least 2, got 1"),
        (lambda: theory.retrieval_accuracy(SMALL, "logits", 2, 0), "heads: expected at least 1, got 0"),
        (
            lambda: theory.union_bound_heads(SMALL, "logits", 2, 0.0),
            "error: expected a probability between 0 and 1, got 0.0",
        ),
        (lambda: theory.simulate_retrieval(SMALL, 2, 256, 1, generator()), "heads, trials: expected .* got 2, 256, 1"),
        (lambda: theory.simulate_retrieval(SMALL, 2, 2, 1, generator(), ()), "rules: expected some of"),
        (lambda: theory.log_fit(torch.ones(2), torch.ones(2)), "items and heads: expected .n,. with n >= 3"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
