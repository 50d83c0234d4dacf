"""The attacks of the audit: directions by hand, and through the input, within a region and beyond the layers."""

import pytest
import torch
from torch import nn

import core
from core import biases, robust
from core.layers import MultiheadAttention, TorchMultiheadAttention
from core.robust.injection import direction
from tests.tolerance import FUNCTION, rounding

from .test_defences import identity


class Reader(nn.Module):
    """Attends by itself, and by torch's signature."""

    def __init__(self):
        super().__init__()
        self.theirs = TorchMultiheadAttention(8, 2, batch_first=True)

    def forward(self, x, *, times):
        y = self.theirs(x, x, x, need_weights=False)[0]
        heads = y[:, None]
        return core.attend(heads, heads, heads, bias=biases.TimeDecay(times, 0.1))[:, 0]


def test_attention_outside_the_layers_is_named_and_attacked_through_the_input():
    torch.manual_seed(0)
    batch = {"x": torch.randn(2, 5, 8), "times": torch.rand(2, 5).cumsum(1)}
    report = robust.audit(Reader(), batch, factors=(1.0, 1e4))
    assert report.unaudited == ("theirs", "attend[0]")
    assert report.bound is None and not report.passed
    assert {f.layer for f in report.select("input")} == {"theirs", "attend[0]"} and not report.select("key")
    assert "keys not attacked (attention outside core.MultiheadAttention): theirs, attend[0]" in str(report)


def test_the_ascent_finds_what_the_queries_like():
    """Without a norm in the way, the input's row is the key: a long one along the queries takes nearly all."""
    layer = identity(dim=4)
    nn.init.zeros_(layer.q_proj.weight)
    layer.q_proj.bias = nn.Parameter(torch.tensor([0.0, 2.0, 0.0, 0.0], dtype=torch.float64))
    x = torch.randn(2, 10, 4, generator=torch.Generator().manual_seed(1)).double()
    x[:, 0] = torch.tensor([1.0, -1.0, 0.0, 0.0])  # begins on the wrong side
    report = robust.audit(layer, x, levels=("input",), factors=(1.0, 10.0, 100.0))
    assert report.captured("input", 1.0) < 0.5 and report.captured("input", 100.0) > 0.999


def test_an_attacker_of_images_stays_within_region_and_values():
    seen = []

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = MultiheadAttention(4, 1)

        def forward(self, image):
            seen.append(image.detach())
            return self.layer(image.unfold(2, 2, 2).unfold(3, 2, 2).flatten(1, 3).flatten(2))

    torch.manual_seed(0)
    images = torch.rand(3, 1, 4, 4)
    where = torch.zeros(4, 4, dtype=torch.bool)
    where[:2, 2:] = True
    region = robust.Region(where, key=1, low=0.0, high=1.0)
    report = robust.audit(Model(), images, region=region, levels=("input",), factors=(1.0, 1e4), steps=3)
    assert {f.factor for f in report.findings} == {1.0, 1e4} and len(seen) > 8
    for image in seen:
        assert torch.equal(image[..., ~where], images[..., ~where])
        assert 0 <= image.min() and image.max() <= 1
    assert any(not torch.equal(image, images) for image in seen)


def test_directions_by_hand():
    """Unit queries (1, 0) twice and (0, 1): their mean points to (2, 1), the hull's nearest point to (1, 1)."""
    q = torch.tensor([[1.0, 0.0], [7.0, 0.0], [0.0, 2.0], [-50.0, 0.0]], dtype=torch.float64)
    seeing = torch.tensor([True, True, True, False])
    unit = {kind: direction(q, seeing, kind, steps=1000) for kind in ("mean", "hull", "longest")}
    torch.testing.assert_close(unit["mean"], torch.tensor([2.0, 1.0]).double() / 5**0.5)
    torch.testing.assert_close(unit["hull"], torch.tensor([1.0, 1.0]).double() / 2**0.5, rtol=0, atol=1e-3)
    torch.testing.assert_close(unit["longest"], torch.tensor([1.0, 0.0]).double())


def test_the_hull_direction_sees_every_query_of_a_half_space():
    g = torch.Generator().manual_seed(0)
    q = torch.randn(3, 50, 6, generator=g, dtype=torch.float64)
    q[..., 0] = q[..., 0].abs() + 0.3
    u = direction(q, torch.ones(3, 50, dtype=torch.bool), "hull")
    assert ((q @ u[..., None]) > 0).all()


def test_an_input_that_no_attention_reads_and_an_output_that_is_a_number():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Parameter(torch.randn(1, 4, 8))
            self.layer = MultiheadAttention(8, 2)

        def forward(self, x):
            return (self.layer(self.tokens.expand(len(x), -1, -1)).mean() + x.mean()).square()

    torch.manual_seed(0)
    report = robust.audit(Model(), torch.randn(2, 4, 8), factors=(1.0, 100.0))
    taken = report.select("input", factor=100.0)
    # Weights of 4 keys from dot products of 8 and 4 numbers: the same input, but in batches of another size.
    expected = [f.clean for f in taken]
    assert [f.captured for f in taken] == pytest.approx(expected, abs=rounding(8 + 4 + 4 + FUNCTION))
    assert all(f.change > 0 for f in report.select("key", factor=100.0))
