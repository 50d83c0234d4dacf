"""Positions: closed forms, resizing, the relative property of rotations, buckets."""

import copy
import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core import masks
from core.positions import (
    LearnedPositions,
    Rotary,
    SinusoidalPositions,
    grid_positions,
    relative_bucket,
    resize_positions,
    sinusoidal,
    sinusoidal_2d,
)


def test_sinusoidal_by_hand():
    """dim 4: wavelengths 2 pi and 2 pi * 100."""
    out = sinusoidal(torch.tensor([0, 1, 50], dtype=torch.float64), 4)
    expected = [[math.sin(p), math.cos(p), math.sin(p / 100), math.cos(p / 100)] for p in (0, 1, 50)]
    torch.testing.assert_close(out, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-14)


@given(position=st.floats(-1e4, 1e4), shift=st.floats(-100, 100), half=st.integers(1, 16), base=st.floats(2, 1e5))
@settings(deadline=None, max_examples=50)
def test_sinusoidal_inner_product_depends_on_the_offset(position, shift, half, base):
    """e(p) . e(p + s) = sum_i cos(s / base^(i / half)): real-valued and negative positions, any length."""
    both = sinusoidal(torch.tensor([position, position + shift], dtype=torch.float64), 2 * half, base=base)
    offset = (position + shift) - position
    expected = sum(math.cos(offset / base ** (i / half)) for i in range(half))
    assert abs((both[0] @ both[1]).item() - expected) < 1e-8


def test_sinusoidal_precision_at_large_positions():
    """float32 positions up to 2^16 are angles with an error of at most 2^16 * 2^-24 radians, nearly."""
    positions = torch.arange(0, 65536, 977)
    error = (sinusoidal(positions, 8).double() - sinusoidal(positions.double(), 8)).abs().max()
    assert error < 65536 * 2**-23


def test_sinusoidal_2d_is_rows_then_columns():
    cells = grid_positions(2, 3)
    out = sinusoidal_2d(cells, 8)
    torch.testing.assert_close(out[4], torch.cat([sinusoidal(torch.tensor(1), 4), sinusoidal(torch.tensor(1), 4)]))
    torch.testing.assert_close(out[5], torch.cat([sinusoidal(torch.tensor(1), 4), sinusoidal(torch.tensor(2), 4)]))
    assert len({tuple(row.tolist()) for row in out}) == 6


def test_grid_positions():
    assert grid_positions(2, 2, prefix=1).tolist() == [[0, 0], [0, 0], [0, 1], [1, 0], [1, 1]]
    assert grid_positions(1, 2, dtype=torch.float64).dtype == torch.float64


def test_sinusoidal_module():
    x = torch.randn(2, 5, 8)
    layer = SinusoidalPositions(8)
    assert not layer.state_dict()
    torch.testing.assert_close(layer(x), x + sinusoidal(torch.arange(5), 8))
    times = torch.rand(2, 5) * 30
    torch.testing.assert_close(layer(x, times), x + sinusoidal(times, 8))
    grid = SinusoidalPositions(8, axes=2)
    torch.testing.assert_close(grid(x[:, :4], grid_positions(2, 2)), x[:, :4] + sinusoidal_2d(grid_positions(2, 2), 8))
    assert layer(x.bfloat16()).dtype == torch.bfloat16
    out = layer(x, mask=masks.Padding(torch.tensor([5, 2])))
    assert (out[1, 2:] == 0).all() and torch.equal(out[0], layer(x)[0])


def test_learned_positions_add_their_rows():
    layer = LearnedPositions(4, 3, prefix=1)
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(layer(x), x + layer.table)
    layer(x).sum().backward()
    assert layer.table.grad.tolist() == [[2.0] * 3] * 5
    assert (layer(x, mask=masks.Padding(torch.tensor([5, 2])))[1, 2:] == 0).all()


def test_linear_resizing_by_hand():
    """Two cells with centres at 1/2 and 3/2, read at four centres 1/4, 3/4, 5/4, 7/4; the ends are held."""
    table = torch.tensor([[9.0], [0.0], [1.0]])
    out = resize_positions(table, 2, 4, prefix=1, mode="linear")
    assert out.flatten().tolist() == [9.0, 0.0, 0.25, 0.75, 1.0]


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("prefix", [0, 1, 3])
def test_grids_are_resized_by_row_and_column(mode, prefix):
    layer = LearnedPositions((3, 5), 4, prefix=prefix, mode=mode)
    out = layer.rows((6, 7))
    assert out.shape == (prefix + 42, 4)
    assert torch.equal(out[:prefix], layer.table[:prefix])
    image = layer.table[prefix:].reshape(3, 5, 4).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(image, size=(6, 7), mode=mode, align_corners=False)
    torch.testing.assert_close(out[prefix:], expected[0].permute(1, 2, 0).reshape(42, 4))
    out.sum().backward()
    torch.testing.assert_close(layer.table.grad.sum(), torch.tensor(4.0 * (prefix + 42)))


@given(
    old=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    new=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    value=st.floats(-3, 3),
)
@settings(deadline=None, max_examples=40)
def test_a_constant_table_stays_constant(old, new, value):
    table = torch.full((math.prod(old), 2), value, dtype=torch.float64)
    out = resize_positions(table, old, new)
    torch.testing.assert_close(out, torch.full((math.prod(new), 2), value, dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_same_size_is_the_table_itself():
    layer = LearnedPositions((2, 3), 4, prefix=1)
    assert layer.rows((2, 3)) is layer.table


def test_forward_on_another_grid():
    layer = LearnedPositions((2, 2), 4, prefix=1)
    x = torch.randn(2, 1 + 12, 4)
    torch.testing.assert_close(layer(x, (3, 4)), x + layer.rows((3, 4)))
    with pytest.raises(
        ValueError, match=r"x: expected \(B, 5, 4\) for 1 prefix rows and size \(2, 2\), got \(2, 13, 4\)"
    ):
        layer(x)


def test_state_of_another_grid_is_loaded():
    trained = LearnedPositions((4, 4), 8, prefix=1)
    buffer = io.BytesIO()
    torch.save(trained.state_dict(), buffer)
    buffer.seek(0)
    other = LearnedPositions((6, 5), 8, prefix=1)
    parameter = other.table
    other.load_resized(torch.load(buffer, weights_only=True), (4, 4))
    assert other.table is parameter  # an optimiser made before keeps its parameter
    torch.testing.assert_close(other.table.detach(), trained.rows((6, 5)).detach(), rtol=0, atol=0)
    again = copy.deepcopy(trained).resize_((6, 5))
    torch.testing.assert_close(again.table, other.table, rtol=0, atol=0)
    assert again.size == (6, 5) and again.table.requires_grad and again.table.is_leaf
    with pytest.raises(ValueError, match=r"state: expected the one entry 'table', got \['positions'\]"):
        other.load_resized({"positions": torch.zeros(1)}, (4, 4))
    with pytest.raises(ValueError, match="state: expected 8 features, got 4"):
        other.load_resized({"table": torch.zeros(17, 4)}, (4, 4))
    with pytest.raises(ValueError, match=r"table: expected \(26, dim\) for prefix 1 and size \(5, 5\), got \(17, 8\)"):
        other.load_resized(trained.state_dict(), (5, 5))


def test_half_precision_tables_are_resized():
    table = torch.randn(16, 4).bfloat16()
    out = resize_positions(table, (4, 4), (5, 5))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), resize_positions(table.float(), (4, 4), (5, 5)), rtol=0, atol=0.02)


def complex_rotation(x, positions, base=10_000.0):
    """The definition, in complex numbers: (..., L, D) for positions (L,)."""
    dim = x.shape[-1]
    theta = base ** (-2 * torch.arange(dim // 2, dtype=torch.float64) / dim)
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * torch.exp(1j * positions[:, None] * theta)
    return torch.view_as_real(turned).flatten(-2)


def test_rotary_equals_the_complex_formula():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 7, 8, dtype=torch.float64)
    positions = torch.tensor([0.0, 1, 2.5, -3, 100, 1e3, 12345.6], dtype=torch.float64)
    torch.testing.assert_close(Rotary(8)(x, positions), complex_rotation(x, positions), rtol=0, atol=1e-11)
    torch.testing.assert_close(
        Rotary(8, base=50.0)(x, positions), complex_rotation(x, positions, 50.0), rtol=0, atol=1e-11
    )


def test_rotary_by_hand():
    """A quarter turn: (1, 0) becomes (0, 1)."""
    x = torch.tensor([[[[1.0, 0.0]]]], dtype=torch.float64)
    out = Rotary(2)(x, torch.tensor([math.pi / 2], dtype=torch.float64))
    torch.testing.assert_close(out.flatten(), torch.tensor([0.0, 1.0], dtype=torch.float64), rtol=0, atol=1e-15)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_rotary_dot_products_see_offsets_alone(axes):
    torch.manual_seed(0)
    rotary = Rotary(12, axes=axes)
    q, k = torch.randn(2, 1, 2, 5, 12, dtype=torch.float64)
    positions = torch.rand((5,) if axes == 1 else (5, axes), dtype=torch.float64) * 20
    shift = torch.randn(() if axes == 1 else (axes,), dtype=torch.float64) * 30

    def logits(p):
        return rotary(q, p) @ rotary(k, p).mT

    torch.testing.assert_close(logits(positions + shift), logits(positions), rtol=0, atol=1e-10)
    assert (logits(positions * 2) - logits(positions)).abs().max() > 0.1
    torch.testing.assert_close(rotary(q, positions).norm(dim=-1), q.norm(dim=-1), rtol=0, atol=1e-12)


def test_rotary_axes_turn_their_own_share():
    x = torch.randn(2, 2, 6, 8, dtype=torch.float64)
    cells = grid_positions(2, 3, dtype=torch.float64)
    out = Rotary(8, axes=2)(x, cells)
    torch.testing.assert_close(out[..., :4], complex_rotation(x[..., :4], cells[:, 0]), rtol=0, atol=1e-12)
    torch.testing.assert_close(out[..., 4:], complex_rotation(x[..., 4:], cells[:, 1]), rtol=0, atol=1e-12)


def test_rotary_positions_by_item_and_default():
    x = torch.randn(2, 2, 3, 4)
    rotary = Rotary(4)
    torch.testing.assert_close(rotary(x), rotary(x, torch.arange(3)), rtol=0, atol=0)
    each = torch.tensor([[0.0, 1.0, 5.0], [7.0, 2.0, 0.0]])
    out = rotary(x, each)
    for item in range(2):
        torch.testing.assert_close(out[item], rotary(x[item : item + 1], each[item])[0])
    keep = torch.tensor([[True, True, False], [True, True, True]])
    torch.testing.assert_close(rotary(x, each.masked_fill(~keep, torch.nan), keep=keep)[0, :, 2], x[0, :, 2])


def test_rotary_gradient():
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: Rotary(4)(t, torch.tensor([0.0, 2.5, 9.0])), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rotary_in_half_precision_keeps_its_angles(dtype):
    """Angles are computed in float32: position 4001 is not rounded to bfloat16 first."""
    x = torch.randn(1, 1, 1, 8).to(dtype)
    out = Rotary(8)(x, torch.tensor([4001]))
    assert out.dtype == dtype
    exact = complex_rotation(x.double(), torch.tensor([4001.0], dtype=torch.float64))
    torch.testing.assert_close(out.double(), exact, rtol=0, atol=0.02)


def test_relative_buckets_are_t5s():
    """The values of the T5 authors' function for 32 buckets and distance 128, both directions."""
    offsets = torch.tensor([0, -1, -7, -8, -11, -12, -127, -128, -5000, 1, 7, 8, 127, 128])
    expected = [0, 1, 7, 8, 8, 9, 15, 15, 15, 17, 23, 24, 31, 31]
    assert relative_bucket(offsets, buckets=32, max_distance=128).tolist() == expected


@given(buckets=st.integers(2, 40), reach=st.integers(50, 1000))
@settings(deadline=None, max_examples=30)
def test_relative_buckets_rise_with_the_distance(buckets, reach):
    out = relative_bucket(torch.arange(0, -1500, -1), buckets=2 * buckets, max_distance=reach)
    assert (out.diff() >= 0).all() and out[0] == 0 and out.max() == buckets - 1
    up = relative_bucket(torch.arange(1, 1500), buckets=2 * buckets, max_distance=reach)
    torch.testing.assert_close(up, out[1:] + buckets)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sinusoidal(torch.zeros(1), 3), "dim: expected an even number of at least 2, got 3"),
        (lambda: sinusoidal_2d(torch.zeros(1, 2), 6), "dim: expected a multiple of 4, got 6"),
        (lambda: sinusoidal_2d(torch.zeros(1, 3), 8), r"positions: expected \(..., 2\), got \(1, 3\)"),
        (lambda: SinusoidalPositions(8, axes=3), "axes: expected 1 or 2, got 3"),
        (lambda: SinusoidalPositions(8, axes=2)(torch.zeros(1, 2, 8)), r"positions: expected \(L, 2\) .* got None"),
        (
            lambda: SinusoidalPositions(8)(torch.zeros(1, 2, 8), torch.zeros(2, 2)),
            r"positions: expected 2 of them for 1 or 1 items, got \(2, 2\)",
        ),
        (lambda: LearnedPositions(0, 4), r"size: expected a length or \(height, width\), positive, got 0"),
        (lambda: LearnedPositions(3, 4, mode="bicubic"), r"mode: expected one of \('linear',\).* got 'bicubic'"),
        (lambda: resize_positions(torch.zeros(4, 1), (2, 2), 4), r"new_size: expected 2 numbers .* got \(4,\)"),
        (lambda: Rotary(6, axes=2), r"dim: expected a multiple of 2 \* axes = 4, got 6"),
        (lambda: Rotary(4)(torch.zeros(1, 1, 2, 6)), r"x: expected \(B, H, L, 4\), got \(1, 1, 2, 6\)"),
        (lambda: Rotary(4)(torch.zeros(1, 1, 2, 4), torch.zeros(3)), r"positions: expected 2 of them .* got \(3,\)"),
        (lambda: Rotary(4, axes=2)(torch.zeros(1, 1, 2, 4), torch.zeros(2)), r"positions: expected \(L, 2\)"),
        (lambda: relative_bucket(torch.zeros(1), buckets=5, max_distance=9), "buckets: expected an even number"),
        (lambda: relative_bucket(torch.zeros(1), buckets=8, max_distance=2), "max_distance: expected more than 2"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
