"""A model runs under capture as without it: outputs, gradients, random numbers, modules and hooks."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module

import core
from core import masks
from core.analysis.capture import capture
from core.engine import observers
from core.layers import TransformerBlock

from ..models import images, vit


def gradients(model, out):
    return torch.autograd.grad(out.square().sum(), list(model.parameters()), allow_unused=True)


def same(a, b):
    return all(x is y is None or torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("quantities", [("entropy",), ("weights", "lse", "inputs")])
def test_outputs_gradients_and_random_numbers_stay_the_same(training, quantities):
    model = vit(attn_drop_rate=0.3, proj_drop_rate=0.1, drop_path_rate=0.2).train(training)
    x = images()
    torch.manual_seed(5)
    plain = model(x)
    expected, number = gradients(model, plain), torch.rand(3)
    torch.manual_seed(5)
    with capture(model, quantities, statistics={"past": masks.Causal()}):
        watched = model(x)
    assert torch.equal(watched, plain)
    assert same(gradients(model, watched), expected)
    assert torch.equal(torch.rand(3), number)


def test_dropout_from_a_generator_stays_the_same():
    q = torch.randn(1, 2, 5, 4)

    class Dropping(nn.Module):
        def forward(self, generator):
            return core.attend(q, q, q, dropout_p=0.5, generator=generator)

    model = Dropping()
    plain = model(torch.Generator().manual_seed(3))
    with capture(model, ("weights",)) as seen:
        assert torch.equal(model(torch.Generator().manual_seed(3)), plain)
    torch.testing.assert_close(seen[""].weights.sum(-1), torch.ones(1, 2, 5))


@pytest.mark.parametrize("training", [True, False])
def test_a_checkpointed_block_is_recorded_once(training):
    block = TransformerBlock(8, 2, checkpoint=True, attention_dropout=0.2).train(training)
    x = torch.randn(2, 4, 8, requires_grad=True)
    torch.manual_seed(0)
    expected = gradients(block, block(x))
    torch.manual_seed(0)
    with capture(block, ("entropy",)) as seen:
        found = gradients(block, block(x))
    assert len(seen) == 1
    assert same(found, expected)


def test_reentrant_checkpoints_are_recorded_once():
    model = vit()
    model.set_grad_checkpointing()
    with capture(model, ("entropy",)) as seen:
        model(images()).sum().backward()
    assert [record.layer for record in seen] == ["blocks.0.attention", "blocks.1.attention"]


def test_nothing_is_left_behind_even_by_an_error():
    model = vit()
    before = copy.deepcopy(model.state_dict())
    hooks = nn.modules.module._global_forward_hooks, nn.modules.module._global_forward_pre_hooks
    with pytest.raises(ZeroDivisionError), capture(model):
        model(images())
        raise ZeroDivisionError
    with pytest.raises(ValueError, match="images: expected shape"), capture(model):
        model(torch.randn(2, 7, 8, 8))
    assert not observers and not any(hooks)
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert same(model.state_dict().values(), before.values())


def test_no_hook_is_left_behind():
    """Neither the hooks nor torch's notes of them: torch.compile would warn of either."""
    model = torch.nn.Sequential(core.Encoder(8, 1, 2))
    with capture(model, ("entropy",)):
        model(torch.randn(1, 3, 8))
    assert not torch_module._has_any_global_hook()
