"""Statistics without weights against the same sums over the weights of the reference."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import core
from core import biases, masks, scores
from core.analysis import linear_statistic, mass, mean_distance
from core.backends import BACKENDS
from tests.tolerance import FUNCTION, rounding

from ...cases import Sizes, bias_cases, mask_cases


def dense(q, k, f, **arguments):
    """The sum over the weights themselves, pairs without weight left out."""
    w = core.attend(q, k, k, need=("weights",), backend="reference", **arguments).weights
    f = f.materialize(q.shape[0], q.shape[1], q.shape[2], k.shape[2]).to(w.dtype)
    return (w * torch.where(w == 0, 0.0, f.expand(w.shape))).sum(dim=-1)


@settings(max_examples=250)
@given(
    sizes=st.tuples(st.integers(1, 2), st.sampled_from([1, 2]), st.integers(1, 9), st.integers(1, 9)),
    groups=st.sampled_from([1, 2]),
    score=st.sampled_from([scores.Dot(), scores.Cosine(), scores.Gaussian()]),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
def test_equals_the_dense_sum(sizes, groups, score, dtype, seed, data):
    B, Hk, Lq, Lk = sizes
    s = Sizes(B, Hk * groups, Lq, Lk, seed=seed)
    some_masks, some_biases = mask_cases(s), bias_cases(s)
    mask = data.draw(st.none() | st.sampled_from(sorted(some_masks)), label="mask")
    bias = data.draw(st.none() | st.sampled_from(sorted(some_biases)), label="bias")
    kind = data.draw(st.sampled_from([some_masks, some_biases]), label="statistic is of")
    case = kind[data.draw(st.sampled_from(sorted(kind)), label="statistic")]
    statistic = case[0] if kind is some_masks else case[0](*case[1])
    q, k = (s.normal(B, h, n, 3).to(dtype) for h, n in ((s.H, Lq), (Hk, Lk)))
    arguments = {
        "mask": None if mask is None else some_masks[mask][0],
        "bias": None if bias is None else some_biases[bias][0](*some_biases[bias][1]),
        "score": score,
        "temperature": 0.7,
    }
    expected, got = dense(q, k, statistic, **arguments), linear_statistic(q, k, statistic, **arguments)
    # Logits of 3 products and a bias, the softmax and the sum of up to 9 keys; logits are of the size 10 or below.
    scale = max(1.0, float(expected.abs().max()))
    tolerance = rounding(3 + 1 + 9 + 9 + 2 * FUNCTION, 10 * scale, dtype)
    torch.testing.assert_close(got, expected.to(got.dtype), rtol=0, atol=tolerance)


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_every_backend_may_give_the_log_sum_exp(backend):
    g = torch.Generator().manual_seed(0)
    q, k = (torch.randn(2, 2, 12, 4, generator=g) for _ in range(2))
    near = masks.Neighbours(torch.randint(0, 12, (12, 5), generator=g)) & masks.Window(8, 8)
    if core.plan(q, k, k, mask=near, need=("lse",)).candidates[list(BACKENDS).index(backend)].reasons:
        pytest.skip(f"{backend} does not serve here")
    got = mean_distance(q, k, mask=near, backend=backend)
    # Logits of 4 products, softmax and mean over at most 12 distances, none above 8.
    tolerance = rounding(4 + 12 + 12 + 2 * FUNCTION, 8.0)
    torch.testing.assert_close(got, dense(q, k, biases.Alibi(-1.0), mask=near), rtol=0, atol=tolerance)


def test_by_hand():
    """Equal weights over keys 0 to i: the mean distance is i / 2, the weight on the query itself 1 / (i + 1)."""
    x = torch.zeros(1, 1, 5, 2)
    i = torch.arange(5.0)
    torch.testing.assert_close(mean_distance(x, x, mask=masks.Causal())[0, 0], i / 2)
    torch.testing.assert_close(mass(x, x, masks.Window(0, 0), mask=masks.Causal())[0, 0], 1 / (i + 1))
    times = torch.tensor([[0.0, 1.0, 4.0, 4.0, 11.0]])
    hours = linear_statistic(x, x, biases.TimeDecay(times, -1.0), mask=masks.Causal())[0, 0]
    torch.testing.assert_close(hours, torch.tensor([0.0, 0.5, (4 + 3) / 3, (4 + 3) / 4, (11 + 10 + 7 + 7) / 5]))


def test_the_statistic_of_a_key():
    g = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 2, 6, 4, generator=g), torch.randn(2, 2, 7, 4, generator=g)
    value = torch.randn(2, 7, generator=g)
    got = linear_statistic(q, k, biases.KeyBias(value))
    torch.testing.assert_close(got, dense(q, k, biases.KeyBias(value)), rtol=1e-5, atol=1e-6)


def test_what_is_not_finite_stays_with_those_who_see_it():
    q, k = torch.randn(1, 1, 4, 2), torch.randn(1, 1, 4, 2)
    k[0, 0, 2] = torch.nan
    got = mean_distance(q, k, mask=masks.Causal(), backend="tiled")[0, 0]
    assert got[:2].isfinite().all()
    assert got[2:].isnan().all()


def test_wrong_arguments():
    x = torch.zeros(1, 1, 3, 2)
    with pytest.raises(TypeError, match=r"statistic: expected a core\.biases\.Bias or core\.masks\.Mask, got a float"):
        linear_statistic(x, x, 1.0)
    with pytest.raises(TypeError, match=r"on: .*got a Alibi"):
        mass(x, x, biases.Alibi(1.0))
    with pytest.raises(ValueError, match=r"Relative\.table"):
        linear_statistic(x, x, biases.Relative(torch.zeros(2, 3)))


MEASURE = """
import torch
from core import masks
from core.analysis import mass, mean_distance
torch.set_num_threads(1)
def status(name):
    return int(next(x for x in open("/proc/self/status") if x.startswith(name)).split()[1])
def run(L):
    q, k = torch.randn(1, 2, L, 16), torch.randn(1, 2, L, 16)
    mean_distance(q, k)
    mass(q, k, masks.Window(4, 4), mask=masks.Causal())
    mean_distance(q, k, mask=masks.Window(32, 32))
    mean_distance(q, k, mask=masks.Neighbours(torch.randint(0, L, (L, 8))))
run(64)
before = status("VmRSS")
run(8192)
print((status("VmHWM") - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_no_square_of_the_length_is_held():
    """At L = 8192 the weights of two heads would be 537 MB; their mask alone, as bytes, 134 MB."""
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) < 120e6
