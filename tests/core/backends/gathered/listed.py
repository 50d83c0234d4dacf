"""Masks that list pairs, a random graph, and all that attend answers over them."""

import torch

import core
from core import masks

from ...cases import mask_cases

LISTED = ("neighbours", "neighbours per item", "edges", "edges of items", "edges of heads", "edges of both")


def pair_masks(s):
    """Every kind of pair mask, alone and combined with others that do and do not list pairs."""
    cases = {name: case[0] for name, case in mask_cases(s).items()}
    listed = [cases[name] for name in LISTED if name in cases]
    yield from listed
    for i, mask in enumerate(listed):
        yield mask | masks.Window(0, 0)
        yield mask | cases["dilated"] | listed[i - 1]
        yield (mask | cases["global per item"] | masks.Window(1, 2)) & cases["padding both"]
        yield mask & cases["not after"] & ~cases["dense"]
        yield mask & (listed[i - 1] | masks.Causal()) & cases["padding keep"]
        yield masks.Window(2, 1) & ~mask


def answers(backend, inputs, learned, build, need, **arguments):
    """Everything that `attend` answers, and the gradient of a function of all of it."""
    inputs = [x.detach().clone().requires_grad_() for x in (*inputs, *learned)]
    bias = None if build is None else build(*inputs[3:])
    got = core.attend(*inputs[:3], bias=bias, need=need, backend=backend, **arguments)
    wide = [x.double() for x in got if x is not None]
    finite = [torch.where(x.isfinite(), x, 0.0) for x in wide]
    places = [torch.arange(1.0, x.numel() + 1).double().view_as(x) / max(1, x.numel()) for x in finite]
    loss = sum(((x + x.square()) * place).sum() for x, place in zip(finite, places, strict=True))
    return (*(x for x in got if x is not None), *torch.autograd.grad(loss, inputs, allow_unused=True))


def graph(N, k, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(0, N, (N * k,), generator=g), torch.arange(N).repeat_interleave(k)])
