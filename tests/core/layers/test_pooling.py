"""Pooling: exact values, padding, empty items, errors."""

import pytest
import torch
from torch import nn

from core import AttentionOutput, masks
from core.layers import AttentionPooling, ClassTokenPooling, MeanPooling

X = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]], [[7.0, 8.0], [torch.nan, torch.inf], [torch.nan, 1.0]]])
PADDING = masks.Padding(torch.tensor([3, 1]))
NOTHING = masks.Padding(torch.tensor([0, 0]))


def test_class_token():
    assert ClassTokenPooling()(X).tolist() == [[1.0, 2.0], [7.0, 8.0]]
    assert ClassTokenPooling(index=-1)(X, mask=PADDING).tolist() == [[5.0, 9.0], [0.0, 0.0]]
    assert ClassTokenPooling()(X, mask=NOTHING).count_nonzero() == 0
    with pytest.raises(ValueError, match=r"x: expected a sequence with the row 3, got \(2, 3, 2\)"):
        ClassTokenPooling(3)(X)


def test_mean():
    assert MeanPooling()(X[:1]).tolist() == [[3.0, 5.0]]
    assert MeanPooling()(X, mask=PADDING).tolist() == [[3.0, 5.0], [7.0, 8.0]]
    assert MeanPooling(skip=1)(X, mask=PADDING).tolist() == [[4.0, 6.5], [0.0, 0.0]]
    assert MeanPooling()(X, mask=NOTHING).count_nonzero() == 0
    assert MeanPooling()(X[:, :0]).tolist() == [[0.0, 0.0]] * 2
    with pytest.raises(ValueError, match="skip: expected at least 0 rows, got -1"):
        MeanPooling(-1)


def test_mean_of_many_in_half_precision():
    """The count is exact, whatever the dtype of x: 300 ones have mean 1 in bfloat16 too."""
    x = torch.ones(1, 300, 1, dtype=torch.bfloat16)
    assert MeanPooling()(x, mask=masks.Padding(torch.tensor([300]))).item() == 1.0
    assert MeanPooling()(x).item() == 1.0
    assert MeanPooling()(x, mask=masks.Padding(torch.tensor([299]))).item() == 1.0


def test_attention_pooling_with_equal_logits_is_the_mean():
    pool = AttentionPooling(2)
    for projection in (pool.attention.q_proj, pool.attention.k_proj):
        nn.init.zeros_(projection.weight)
    for projection in (pool.attention.v_proj, pool.attention.out_proj):
        nn.init.eye_(projection.weight)
    answer = pool(X, mask=PADDING, need=("weights",))
    torch.testing.assert_close(answer.out, torch.tensor([[3.0, 5.0], [7.0, 8.0]]))
    torch.testing.assert_close(answer.weights[:, 0, 0], torch.tensor([[1 / 3] * 3, [1.0, 0.0, 0.0]]))


@pytest.mark.parametrize("queries", [1, 3])
def test_attention_pooling_shapes_and_answers(queries):
    pool = AttentionPooling(8, 2, queries=queries)
    x = torch.randn(4, 5, 8)
    shape = (4, 8) if queries == 1 else (4, queries, 8)
    assert pool(x).shape == shape
    answer = pool(x, need=("weights", "entropy"))
    assert isinstance(answer, AttentionOutput) and answer.out.shape == shape
    assert answer.weights.shape == (4, 2, queries, 5)
    torch.testing.assert_close(answer.out, pool(x))


def test_attention_pooling_of_nothing_is_zero():
    pool = AttentionPooling(8, 2, queries=2)
    nn.init.normal_(pool.attention.out_proj.bias)
    x = torch.full((2, 3, 8), torch.nan, requires_grad=True)
    out = pool(x, mask=masks.Padding(torch.tensor([0, 0])))
    assert out.count_nonzero() == 0
    out.sum().backward()
    assert x.grad.count_nonzero() == 0 and pool.attention.out_proj.bias.grad.count_nonzero() == 0
    assert pool(torch.zeros(2, 0, 8)).count_nonzero() == 0
    assert pool(torch.zeros(0, 3, 8)).shape == (0, 2, 8)


def test_attention_pooling_ignores_the_order():
    torch.manual_seed(0)
    pool = AttentionPooling(8, 2)
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(pool(x.flip(1)), pool(x))
    assert (pool(x + 1) - pool(x)).abs().max() > 1e-3


@pytest.mark.parametrize(
    "pool", [ClassTokenPooling(), MeanPooling(), AttentionPooling(2)], ids=lambda p: type(p).__name__
)
def test_patterns_are_refused(pool):
    with pytest.raises(ValueError, match=r"mask: expected masks\.Padding alone.*Window"):
        pool(X, mask=masks.Window(1, 1) & PADDING)


def test_at_least_one_query():
    with pytest.raises(ValueError, match="queries: expected at least 1, got 0"):
        AttentionPooling(8, queries=0)
