"""Dropout is a pure function of seed and place, and it drops what it should."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import core
from core import masks
from core.engine import dropout


def keep(seed, p, B=2, H=3, Lq=40, Lk=50):
    b, h, i, j = (
        torch.arange(n).reshape(s)
        for n, s in zip((B, H, Lq, Lk), ((-1, 1, 1, 1), (-1, 1, 1), (-1, 1), (-1,)), strict=True)
    )
    return dropout.keep(torch.tensor(seed), p, b, h, i, j, H)


def test_any_part_equals_the_whole():
    """A tile computes the same weights to drop as the whole does."""
    whole = keep(7, 0.3)
    part = dropout.keep(
        torch.tensor(7), 0.3, torch.tensor(1), torch.tensor(2), torch.arange(5, 17)[:, None], torch.arange(20, 23), 3
    )
    assert torch.equal(part, whole[1, 2, 5:17, 20:23])


def test_known_bits():
    """The bits are part of the contract: a checkpoint resumed with another version drops the same weights."""
    bits = keep(12345, 0.5, 1, 1, 4, 8)[0, 0].int().tolist()
    assert bits == [
        [0, 0, 0, 1, 1, 1, 0, 1],
        [1, 1, 0, 0, 0, 1, 0, 0],
        [0, 1, 1, 0, 1, 1, 0, 0],
        [1, 0, 1, 1, 1, 0, 1, 0],
    ]


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_rate(p):
    """The share kept is 1 - p within 4 standard errors."""
    kept = keep(3, p, 2, 4, 200, 300).double()
    error = (p * (1 - p) / kept.numel()) ** 0.5
    assert abs(kept.mean().item() - (1 - p)) <= 4 * error


@pytest.mark.parametrize(
    "shift", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 1, 1), (0, 1, 1, 0)], ids=str
)
def test_neighbours_are_independent(shift):
    """Along every axis, weights next to each other are dropped independently (correlation within 4 standard errors)."""
    kept = keep(11, 0.5, 4, 4, 64, 64).double() - 0.5
    moved = kept.roll(shift, (0, 1, 2, 3))
    assert abs((kept * moved).mean().item() * 4) <= 4 / kept.numel() ** 0.5


def test_seeds_differ():
    a, b = keep(1, 0.5), keep(2, 0.5)
    assert 0.45 < (a == b).double().mean() < 0.55


def test_every_row_and_column_is_touched_evenly():
    kept = keep(5, 0.5, 1, 1, 1000, 1000)[0, 0].double()
    for axis in (0, 1):
        z = (kept.sum(axis) - 500) / 250**0.5
        assert z.abs().max() < 5
        assert 0.85 < z.var() < 1.15


class TestAttend:
    x = torch.randn(2, 2, 12, 4, generator=torch.Generator().manual_seed(0))

    def test_drops_weights_and_scales_the_rest(self):
        g = torch.Generator().manual_seed(9)
        seed = dropout.draw_seed(torch.Generator().manual_seed(9), self.x.device)
        got = core.attend(
            self.x, self.x, self.x, mask=masks.Causal(), dropout_p=0.4, generator=g, need=("weights", "entropy")
        )
        kept = keep(int(seed), 0.4, 2, 2, 12, 12)
        torch.testing.assert_close(got.out, (got.weights * kept / 0.6) @ self.x)
        plain = core.attend(self.x, self.x, self.x, mask=masks.Causal(), need=("weights", "entropy"))
        assert torch.equal(got.weights, plain.weights)
        assert torch.equal(got.entropy, plain.entropy)

    def test_generator_decides(self):
        def run(generator):
            return core.attend(self.x, self.x, self.x, dropout_p=0.5, generator=generator)

        a, b = (run(torch.Generator().manual_seed(4)) for _ in range(2))
        assert torch.equal(a, b)
        assert not torch.equal(a, run(torch.Generator().manual_seed(5)))
        torch.manual_seed(4)
        assert torch.equal(a, run(None))
        assert not torch.equal(a, run(None))

    def test_plan_draws_nothing(self):
        g = torch.Generator().manual_seed(4)
        before = g.get_state()
        core.plan(self.x, self.x, self.x, dropout_p=0.5, generator=g)
        assert torch.equal(g.get_state(), before)

    def test_mean_over_seeds_is_the_plain_output(self):
        x = self.x.double()
        draws = torch.stack([core.attend(x, x, x, dropout_p=0.3) for _ in range(1000)])
        error = draws.std(0) / len(draws) ** 0.5
        assert ((draws.mean(0) - core.attend(x, x, x)).abs() <= 5 * error).all()

    @pytest.mark.parametrize("use_reentrant", [False, True])
    def test_checkpoint_drops_the_same_weights_again(self, use_reentrant):
        def f(x):
            return core.attend(x, x, x, dropout_p=0.5)

        gradients = []
        for wrapped in (f, lambda x: checkpoint(f, x, use_reentrant=use_reentrant)):
            torch.manual_seed(1)
            x = self.x.clone().requires_grad_()
            wrapped(x).square().sum().backward()
            gradients.append(x.grad)
        assert torch.equal(*gradients)
