"""Problems of the flex backend, its functions of one pair at all of them, and its answers beside the reference's."""

import torch

import core
from core import scores
from core.engine import pose

SCORES = [scores.Dot(), scores.Cosine(), scores.Gaussian()]
LEARNED = ["time exponential", "time logarithmic", "distance exponential", "relative", "edges per head", "key", "sum"]


def draw(s, D=4, Dv=5, heads=1, dtype=torch.float32):
    """Queries, keys and values that require grad."""
    shapes = (s.B, s.H, s.Lq, D), (s.B, s.H // heads, s.Lk, D), (s.B, s.H // heads, s.Lk, Dv)
    return [s.normal(*shape).to(dtype).requires_grad_() for shape in shapes]


def problem(q, k, v, **arguments):
    defaults = {"mask": None, "bias": None, "score": scores.Dot(), "scale": None, "temperature": 1.0}
    return pose(q, k, v, **{**defaults, "dropout_p": 0.0, "need": (), **arguments})


def everywhere(mod, s):
    """A function of one pair at all of them."""
    b, h, i, j = (torch.arange(n) for n in (s.B, s.H, s.Lq, s.Lk))
    value = mod(b[:, None, None, None], h[:, None, None], i[:, None], j)
    return value.expand(s.B, s.H, s.Lq, s.Lk)


def gradients(backend, qkv, build, learnable, weights, **arguments):
    """Output, lse, and the gradients of a weighted sum of both by q, k, v and what is learned.

    `build` answers, from what is learned, arguments of `attend`.
    """
    qkv = [x.detach().clone().requires_grad_() for x in qkv]
    learnable = [t.detach().clone().requires_grad_() for t in learnable]
    arguments = arguments | (build(*learnable) if build else {})
    out, lse, *_ = core.attend(*qkv, backend=backend, need=("lse",), **arguments)
    total = (out * weights).sum() + (torch.where(lse.isinf(), 0.0, lse) * weights[..., 0]).sum()
    return out, lse, *torch.autograd.grad(total, [*qkv, *learnable])


def assert_equal(got, expected, tolerance=1e-5):
    """Compare relative to the largest number in play: a gradient may be a sum of large terms that cancel."""
    finite = [y.detach()[y.isfinite()].abs() for y in expected]
    scale = max((float(y.max()) for y in finite if y.numel()), default=0.0)
    for x, y in zip(got, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
