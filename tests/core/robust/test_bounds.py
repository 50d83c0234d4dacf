"""The bounds: named values, never exceeded, reached by the constructed worst case, inverted exactly."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core import attend, biases, robust, scores

LENGTHS = st.integers(2, 40)
POSITIVE = st.floats(0.05, 4.0)


def weights(score, q, k, scale, temperature, bias):
    """Pair by pair, in plain Python."""
    logits = []
    for j in range(len(k)):
        if isinstance(score, scores.Cosine):
            s = float(q @ k[j] / (q.norm() * k[j].norm()))
        elif isinstance(score, scores.Dot):
            s = float(q @ k[j])
        else:
            s = -float((q - k[j]).square().sum()) / 2
        logits.append((scale * s + float(bias[j])) / temperature)
    top = max(logits)
    exponentials = [math.exp(x - top) for x in logits]
    return [x / math.fsum(exponentials) for x in exponentials]


@settings(deadline=None, max_examples=150)
@given(
    score=st.sampled_from([scores.Dot(), scores.Cosine(), scores.Gaussian()]),
    seed=st.integers(0, 2**31),
    length=LENGTHS,
    injected=st.integers(1, 3),
    scale=st.floats(-3.0, 3.0),
    temperature=POSITIVE,
    limits=st.tuples(POSITIVE, POSITIVE),
    spread=st.floats(0.0, 3.0),
    aligned=st.booleans(),
)
def test_no_keys_take_more_than_the_bound(score, seed, length, injected, scale, temperature, limits, spread, aligned):
    injected = min(injected, length)
    g = torch.Generator().manual_seed(seed)
    Q, c = limits
    q = torch.randn(3, generator=g, dtype=torch.float64)
    k = torch.randn(length, 3, generator=g, dtype=torch.float64)
    if aligned:  # as bad as it gets, or nearly
        k[:] = -q
        k[:injected] = q
    q, k = q / q.norm() * Q, k / k.norm(dim=-1, keepdim=True) * c
    bias = spread * torch.rand(length, generator=g, dtype=torch.float64)
    found = math.fsum(weights(score, q, k, scale, temperature, bias)[:injected])
    width = robust.logit_width(score, scale=scale, query_norm=Q, key_norm=c, temperature=temperature, bias_range=spread)
    assert found <= float(robust.capture_bound(length, width, injected=injected)) + 1e-12


@pytest.mark.parametrize("score", [scores.Dot(), scores.Cosine()])
@pytest.mark.parametrize("injected", [1, 3])
def test_the_bound_is_reached_by_keys_along_and_against_the_query(score, injected):
    torch.manual_seed(0)
    L, D, s, T, Q, c, R = 10, 4, 0.8, 1.7, 2.0, 1.5, 0.6
    u = torch.nn.functional.normalize(torch.randn(D, dtype=torch.float64), dim=0)
    k = (-c * u).repeat(1, 1, L, 1)
    k[..., :injected, :] *= -1
    bias = biases.KeyBias((torch.arange(L) < injected)[None].double() * R)
    q = (Q * u).view(1, 1, 1, D)
    answer = attend(q, k, k, score=score, scale=s, temperature=T, bias=bias, need=("weights",))
    width = robust.logit_width(score, scale=s, query_norm=Q, key_norm=c, temperature=T, bias_range=R)
    bound = robust.capture_bound(L, width, injected=injected)
    torch.testing.assert_close(answer.weights[0, 0, 0, :injected].sum(), bound, rtol=1e-12, atol=0)


def test_the_width_of_gaussian_scores_is_reached():
    """q = (Q, 0): a key at q scores 0, one at (-c, 0) scores -(Q + c)^2 / 2; c = Q."""
    Q = 1.5
    q = torch.tensor([Q, 0.0], dtype=torch.float64)
    k = torch.stack([q, *[-q] * 4])
    got = weights(scores.Gaussian(), q, k, 1.0, 1.0, torch.zeros(5))[0]
    width = robust.logit_width(scores.Gaussian(), scale=1.0, query_norm=Q, key_norm=Q)
    assert width == (2 * Q) ** 2 / 2
    assert got == pytest.approx(float(robust.capture_bound(5, width)), rel=1e-12)


def test_a_fifth_of_64_keys():
    """a = .2 of L = 64: e^w = .2 * 63 / .8 = 15.75, and s Q c / T is half of ln 15.75."""
    assert robust.width_for(0.2, 64) == pytest.approx(math.log(15.75), rel=1e-15)
    assert float(robust.capture_bound(64, math.log(15.75))) == pytest.approx(0.2, rel=1e-14)
    assert robust.cosine_scale_for(0.2, 64) == pytest.approx(1.3784201826, abs=1e-10)
    assert robust.norm_limit_for(0.2, 64, scale=0.25, query_norm=2.0) == pytest.approx(2 * 1.3784201826, abs=1e-9)
    assert robust.norm_limit_for(0.2, 64, scale=0.25) == pytest.approx(math.sqrt(4 * 1.3784201826), abs=1e-9)


def test_no_width_leaves_the_uniform_share_and_endless_width_everything():
    assert float(robust.capture_bound(8, 0.0)) == pytest.approx(1 / 8, rel=1e-15)
    assert float(robust.capture_bound(8, 1e4)) == 1.0
    assert float(robust.capture_bound(1, 0.0)) == 1.0
    found = robust.capture_bound(torch.tensor([4, 8]), torch.tensor([[0.0], [math.log(7)]]), injected=2)
    expected = torch.tensor([[1 / 2, 1 / 4], [7 / 8, 14 / 20]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@settings(deadline=None)
@given(length=st.integers(4, 10_000), injected=st.integers(1, 3), share=st.floats(0.01, 0.99), T=POSITIVE, R=POSITIVE)
def test_limits_and_scales_give_the_bound_that_was_asked_for(length, injected, share, T, R):
    a = injected / length + share * (1 - injected / length)
    width = robust.width_for(a, length, injected=injected)
    assert float(robust.capture_bound(length, width, injected=injected)) == pytest.approx(a, rel=1e-9)
    R = min(R, 0.5 * T * width)
    c = robust.norm_limit_for(a, length, scale=0.3, temperature=T, bias_range=R, injected=injected)
    one = robust.norm_limit_for(a, length, scale=0.3, query_norm=2.0, temperature=T, bias_range=R, injected=injected)
    s = robust.cosine_scale_for(a, length, temperature=T, bias_range=R, injected=injected)
    shared = {"temperature": T, "bias_range": R}
    for again in (
        robust.logit_width(scores.Dot(), scale=0.3, query_norm=c, key_norm=c, **shared),
        robust.logit_width(scores.Dot(), scale=0.3, query_norm=2.0, key_norm=one, **shared),
        robust.logit_width(scores.Cosine(), scale=s, **shared),
    ):
        assert again == pytest.approx(width, rel=1e-9)


def test_what_cannot_be_had_is_refused():
    with pytest.raises(ValueError, match=r"above the uniform share 0\.1 and below 1, got 0\.1"):
        robust.width_for(0.1, 10)
    with pytest.raises(ValueError, match=r"got 1\.0"):
        robust.width_for(1.0, 10)
    with pytest.raises(ValueError, match="injected: expected 1 to length - 1 = 9 keys, got 10"):
        robust.width_for(0.5, 10, injected=10)
    with pytest.raises(ValueError, match="injected: expected 1 to length = 3 keys, got 4"):
        robust.capture_bound(torch.tensor([3, 8]), 1.0, injected=4)
    with pytest.raises(ValueError, match=r"bias_range: expected below 2\.757, got 3"):
        robust.cosine_scale_for(0.2, 64, bias_range=3.0)
    with pytest.raises(ValueError, match="scale, temperature: expected numbers above 0"):
        robust.norm_limit_for(0.2, 64, scale=0.0)
