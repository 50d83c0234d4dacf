"""One attention problem: the arguments of `attend`, checked and taken apart, as every backend receives them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from .. import scores
from ..biases import Bias
from ..masks import Mask, Padding, PairMask, split

NEEDS = ("lse", "entropy", "weights", "pair_weights")


class AttentionOutput(NamedTuple):
    """What `attend` answers when `need` names extras; those not asked for are None.

    Attributes:
        out: The weighted values, (B, H, Lq, Dv); layers put their own output here.
        lse: Log-sum-exp of the logits over the allowed keys, natural log, (B, H, Lq); -inf in a dead row.
        entropy: Entropy of the weights, -sum_j w_j ln w_j = lse - E[logit], in nats, (B, H, Lq); 0 in a dead row.
        weights: The weights before dropout, (B, H, Lq, Lk). The only one that costs L^2 memory.
        pair_weights: The weights before dropout at the pairs that the mask's Edges or Neighbours lists; their
            docstrings give the shape.
    """

    out: Tensor
    lse: Tensor | None = None
    entropy: Tensor | None = None
    weights: Tensor | None = None
    pair_weights: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Problem:
    """The arguments of `attend`, checked: the mask is split, the defaults are filled in, autocast has been applied.

    `memo` holds what a backend works out once for the choice and for the run.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    pattern: Mask | None
    padding: Padding | None
    bias: Bias | None
    score: scores.Score
    scale: float | Tensor
    temperature: float | Tensor
    dropout_p: float
    need: frozenset[str]
    memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def B(self) -> int:
        """Batch size."""
        return self.q.shape[0]

    @property
    def H(self) -> int:
        """Number of query heads."""
        return self.q.shape[1]

    @property
    def groups(self) -> int:
        """Number of query heads that share a key head."""
        return self.q.shape[1] // self.k.shape[1]

    @property
    def Lq(self) -> int:
        """Number of queries."""
        return self.q.shape[2]

    @property
    def Lk(self) -> int:
        """Number of keys."""
        return self.k.shape[2]

    @property
    def compute_dtype(self) -> torch.dtype:
        """The dtype of logits, lse and accumulation: at least float32."""
        return torch.float64 if self.q.dtype == torch.float64 else torch.float32

    def pair_masks(self) -> list[PairMask]:
        """Answer the masks that list pairs."""
        return [m for m in self.pattern.leaves() if isinstance(m, PairMask)] if self.pattern else []

    def pair_mask(self) -> PairMask:
        """Answer the one mask that lists pairs.

        Raises:
            ValueError: There is none, or more than one.
        """
        found = self.pair_masks()
        if len(found) != 1:
            raise ValueError(
                f"mask: expected exactly one Edges or Neighbours for need='pair_weights', got {len(found)}"
            )
        return found[0]


def pose(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Mask | None,
    bias: Bias | None,
    score: scores.Score,
    scale: float | Tensor | None,
    temperature: float | Tensor,
    dropout_p: float,
    need: Iterable[str],
) -> Problem:
    """Check the arguments of `attend` and take them apart.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: An argument has the wrong shape, dtype, device or value; the message names it.
    """
    _check_qkv(q, k, v)
    wanted = _check_need(need)
    if not isinstance(score, get_args(scores.Score)):
        raise TypeError(f"score: expected scores.Dot(), scores.Cosine() or scores.Gaussian(), got {score!r}")
    if not 0.0 <= dropout_p < 1.0:
        raise ValueError(f"dropout_p: expected a number from 0 up to but not 1, got {dropout_p}")
    H = q.shape[1]
    _check_number("temperature", temperature, H)
    if scale is None:
        scale = score.default_scale(q.shape[3])
    else:
        _check_number("scale", scale, H, positive=False)
    sizes = (q.shape[0], H, q.shape[2], k.shape[2])
    if mask is not None:
        if not isinstance(mask, Mask):
            raise TypeError(
                f"mask: expected a core.masks.Mask, got a {type(mask).__name__}; "
                "wrap bool tensors as masks.Dense(tensor)"
            )
        mask.validate(*sizes, q.device)
    if bias is not None:
        if not isinstance(bias, Bias):
            raise TypeError(
                f"bias: expected a core.biases.Bias, got a {type(bias).__name__}; wrap a tensor as biases.Dense(tensor)"
            )
        bias.validate(*sizes, q.device)
    pattern, padding = split(mask)
    if autocast_is_on(q.device) and q.dtype in (torch.float32, torch.float16, torch.bfloat16):
        dtype = torch.get_autocast_dtype(q.device.type)
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    problem = Problem(q, k, v, pattern, padding, bias, score, scale, temperature, dropout_p, wanted)
    if "pair_weights" in wanted:
        problem.pair_mask()
    return problem


def by_head(value: float | Tensor, after: int = 2) -> float | Tensor:
    """Shape one number per head, (H,), so that it broadcasts where `after` axes follow; others stay as they are."""
    return value.reshape(-1, *[1] * after) if isinstance(value, Tensor) and value.ndim else value


def features(p: Problem, q: Tensor, k: Tensor) -> tuple[float | Tensor, Tensor, Tensor]:
    """Answer f and features of queries and keys with f * q'_i . k'_j = scale * score(q_i, k_j) / temperature.

    Shapes:
        q: (..., H, n, D), k: (..., Hk, m, D).
        Answer: f is a number, a scalar or (H, 1, 1); the features are as q and k, some scores' wider.
    """
    q_offset, k_offset = p.score.offset(q), p.score.offset(k)
    q, k = p.score.prepare(q), p.score.prepare(k)
    if q_offset is not None and k_offset is not None:
        q = torch.cat([q, q_offset[..., None], torch.ones_like(q_offset)[..., None]], dim=-1)
        k = torch.cat([k, torch.ones_like(k_offset)[..., None], k_offset[..., None]], dim=-1)
    return by_head(p.scale) / by_head(p.temperature), q, k


def nan_where(condition: Tensor) -> Tensor:
    """Answer NaN where the condition holds, else 0: added, it marks numbers and passes gradients on unchanged."""
    return torch.where(condition, torch.nan, 0.0)


def autocast_is_on(device: torch.device) -> bool:
    """Whether torch.autocast is active on this kind of device; some kinds have none."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def _check_qkv(q: Tensor, k: Tensor, v: Tensor) -> None:
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}: expected a torch.Tensor, got a {type(x).__name__}")
        if x.ndim != 4:
            raise ValueError(f"{name}: expected 4-D, (batch, heads, length, features), got shape {tuple(x.shape)}")
        if not x.dtype.is_floating_point:
            raise TypeError(f"{name}: expected a floating-point dtype, got {x.dtype}")
    for name, x in (("k", k), ("v", v)):
        if x.dtype != q.dtype and not autocast_is_on(q.device):
            raise ValueError(f"{name}: expected {q.dtype} as q has, got {x.dtype}")
        if x.device != q.device:
            raise ValueError(f"{name}: expected a tensor on {q.device} as q is, got one on {x.device}")
        if x.shape[0] != q.shape[0]:
            raise ValueError(f"{name}: expected batch size {q.shape[0]} as q has, got {x.shape[0]}")
    if k.shape[3] != q.shape[3]:
        raise ValueError(f"k: expected {q.shape[3]} features as q has, got {k.shape[3]}")
    if q.shape[3] == 0:
        raise ValueError("q: expected at least 1 feature, got 0")
    if v.shape[1:3] != k.shape[1:3]:
        raise ValueError(f"v: expected (heads, length) {tuple(k.shape[1:3])} as k has, got {tuple(v.shape[1:3])}")
    if k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        raise ValueError(f"q: expected a multiple of k's {k.shape[1]} heads, got {q.shape[1]}")


def _check_need(need: Iterable[str]) -> frozenset[str]:
    if isinstance(need, str):
        raise TypeError(f"need: expected a tuple such as ({need!r},), got the string {need!r}")
    wanted = frozenset(need)
    unknown = sorted(wanted.difference(NEEDS))
    if unknown:
        raise ValueError(f"need: expected names from {', '.join(NEEDS)}, got {', '.join(map(repr, unknown))}")
    return wanted


def _check_number(name: str, value: Any, H: int, *, positive: bool = True) -> None:
    if isinstance(value, Tensor):
        if value.ndim != 0 and tuple(value.shape) != (H,):
            raise ValueError(f"{name}: expected a scalar or (H,) = ({H},), got shape {tuple(value.shape)}")
    elif not isinstance(value, (int, float)):
        raise TypeError(f"{name}: expected a number or a tensor, got a {type(value).__name__}")
    elif not math.isfinite(value) or (positive and value <= 0):
        raise ValueError(f"{name}: expected a finite number{' above 0' if positive else ''}, got {value}")
