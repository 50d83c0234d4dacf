"""How many heads must agree: retrieval by a committee of noisy heads, and what theory says it needs.

The model. L items are stored. Head h sees item j as k_hj, a Gaussian random projection of one-hot items into d
features, and is asked for item 1 by a noisy copy of its key:

    k_hj ~ N(0, I_d),  q_h = k_h1 + noise * e_h,  e_h ~ N(0, I_d)

Three rules make the committee's choice, the arg max over j, ties broken at random:

    logits     sum_h q_h . k_hj                       heads add their logits: one head of size H d
    approval   sum_h 1[q_h . k_hj > threshold |q_h|]  each head says yes or no to every item
    plurality  sum_h 1[j = arg max_i q_h . k_hi]      each head names one item
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .gaussian import integral

Rule = Literal["logits", "approval", "plurality"]
RULES: tuple[Rule, ...] = ("logits", "approval", "plurality")


@dataclass(frozen=True)
class Committee:
    """The heads of a committee, all alike.

    Args:
        head_size: d, features of a head.
        noise: standard deviation of the noise on a query's components, in those of the key.
        threshold: of approval, in standard deviations of a wrong item's logit.

    Raises:
        ValueError: head_size or noise is not positive.
    """

    head_size: int
    noise: float
    threshold: float

    def __post_init__(self) -> None:
        if self.head_size < 1:
            raise ValueError(f"head_size: expected at least 1, got {self.head_size}")
        if not self.noise > 0:
            raise ValueError(f"noise: expected a positive number, got {self.noise}")


class ApprovalRates(NamedTuple):
    """Probability that a head says yes to the right item, and to a wrong one."""

    right: float
    wrong: float


class LogFit(NamedTuple):
    """Least squares H = intercept + slope * ln L, and the share of variance explained."""

    intercept: float
    slope: float
    r_squared: float


def approval_rates(committee: Committee) -> ApprovalRates:
    """How often a head says yes.

    Given q, a wrong item's q . k / |q| is standard normal, and the right one's is N(|q| / s, noise^2 / s) with
    s = 1 + noise^2 and |q|^2 = s * chi^2_d. Hence votes for wrong items are independent of everything else.
    """
    wrong = 0.5 * math.erfc(committee.threshold / math.sqrt(2))
    sd = _noise_of_right(committee)
    right = _over_norms(committee, 1, lambda mean: torch.special.ndtr((mean - committee.threshold) / sd))
    return ApprovalRates(right, wrong)


def pair_exponent(committee: Committee, rule: Rule) -> float:
    """Chernoff exponent c of one wrong item per head: P(it outdoes the right one among H heads) <= exp(-c H).

        logits    c = (d / 2) ln(1 + 1 / (1 + 2 noise^2))
        approval  c = -2 ln(sqrt(p r) + sqrt((1 - p) (1 - r))),  p and r the rates of yes to the right and a wrong item

    Logits: E exp(t q (k' - k)) = ((1 + t)^2 - 2 s t^2)^(-1/2) per feature, s = 1 + noise^2, least at t = 1 / (2 s - 1).
    Approval: the difference of two Bernoulli variables; the exponent is twice their Bhattacharyya distance.

    Raises:
        ValueError: the rule is "plurality", where a head's accuracy depends on the number of items.
    """
    if rule == "logits":
        return 0.5 * committee.head_size * math.log1p(1 / (1 + 2 * committee.noise**2))
    if rule == "approval":
        right, wrong = approval_rates(committee)
        return -2 * math.log(math.sqrt(right * wrong) + math.sqrt((1 - right) * (1 - wrong)))
    raise ValueError(f"rule: expected 'logits' or 'approval', got {rule!r}")


def limiting_exponent(committee: Committee, rule: Rule) -> float:
    """Exponent that rules for many items: H / ln L tends to its inverse, at any fixed accuracy.

        logits    d / (2 (1 + noise^2))
        approval  p ln(p / r) + (1 - p) ln((1 - p) / (1 - r))

    With many heads the right item's sum is at its mean, and the best of L wrong ones must reach it (Stein's lemma). It
    is larger than `pair_exponent`: the union bound pays for atypical right items that 99% accuracy may lose.

    Raises:
        ValueError: the rule is "plurality".

    References:
        Cover and Thomas, Elements of information theory, 2nd edition, 2006, section 11.8.
    """
    if rule == "logits":
        return committee.head_size / (2 * (1 + committee.noise**2))
    if rule == "approval":
        right, wrong = approval_rates(committee)
        return right * math.log(right / wrong) + (1 - right) * math.log((1 - right) / (1 - wrong))
    raise ValueError(f"rule: expected 'logits' or 'approval', got {rule!r}")


def union_bound_heads(committee: Committee, rule: Rule, items: int, error: float = 0.01) -> float:
    """Heads that surely suffice: (L - 1) exp(-c H) <= error gives H = (ln(L - 1) - ln error) / c.

    Args:
        committee: its heads.
        rule: "logits" or "approval".
        items: L, at least 2.
        error: accepted, between 0 and 1.

    Raises:
        ValueError: the rule is "plurality", fewer than 2 items, or an error that is no probability.
    """
    _check(items, 1, error)
    return (math.log(items - 1) - math.log(error)) / pair_exponent(committee, rule)


def retrieval_accuracy(committee: Committee, rule: Rule, items: int, heads: int) -> float:
    """Probability that the committee finds the right item: exact, up to quadrature.

        logits    E Phi(S)^(L - 1),  S ~ N(|q| / s, noise^2 / s),  |q|^2 = s chi^2_(H d)
        approval  sum_v P(V = v) (F(v)^L - F(v - 1)^L) / (L f(v)),  V ~ Bin(H, p),  f and F those of Bin(H, r)

    The fraction in the second line is the chance to lead L - 1 independent rivals, ties broken at random.

    Args:
        committee: its heads.
        rule: "logits" or "approval"; for "plurality" only simulation answers.
        items: L, at least 2.
        heads: H.

    Raises:
        ValueError: the rule is "plurality", fewer than 2 items or no heads.
    """
    _check(items, heads, 0.5)
    if rule == "logits":
        sd = _noise_of_right(committee)
        return _over_norms(committee, heads, lambda mean: integral(lambda y: _leads(mean[:, None] + sd * y, items)))
    if rule == "approval":
        return _approval_accuracy(*approval_rates(committee), items, heads)
    raise ValueError(f"rule: expected 'logits' or 'approval', got {rule!r}")


def heads_needed(committee: Committee, rule: Rule, items: int, target: float = 0.99) -> int:
    """Fewest heads whose exact `retrieval_accuracy` reaches the target.

    Between one head and the union bound, which suffices, by bisection: accuracy grows with heads. With votes that are
    whole numbers it may dip by a hair from one head to the next; the answer then is one of the crossings.

    Raises:
        ValueError: As `retrieval_accuracy`, or a target that is not between 0 and 1.
    """
    _check(items, 1, 1 - target)
    low, high = 0, math.ceil(union_bound_heads(committee, rule, items, 1 - target))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if retrieval_accuracy(committee, rule, items, middle) >= target else (middle, high)
    return high


def log_fit(items: Tensor, heads: Tensor) -> LogFit:
    """Fit H = a + b ln L by least squares.

    Shapes:
        items: (n,); heads: (n,), n at least 3.

    Raises:
        ValueError: fewer than 3 points, or shapes that differ.
    """
    if items.shape != heads.shape or items.dim() != 1 or len(items) < 3:
        raise ValueError(f"items and heads: expected (n,) with n >= 3, got {tuple(items.shape)}, {tuple(heads.shape)}")
    x, y = items.double().log(), heads.double()
    dx, dy = x - x.mean(), y - y.mean()
    slope = (dx @ dy / (dx @ dx)).item()
    residual = dy - slope * dx
    return LogFit((y.mean() - slope * x.mean()).item(), slope, 1 - (residual @ residual / (dy @ dy)).item())


def _approval_accuracy(right: float, wrong: float, items: int, heads: int) -> float:
    rivals = float(items - 1)  # a float: an integer beyond 2^63 is no scalar for torch
    votes = torch.arange(heads + 1, dtype=torch.float64)
    log_f = _log_binomial(votes, heads, wrong)
    # upper tails P(X > v), summed from the far end: accurate where 1 - F is tiny
    f = log_f.exp()
    above = torch.cat([f.flip(0).cumsum(0).flip(0)[1:], f.new_zeros(1)])
    # (F(v)^L - F(v-1)^L) / (L f(v)) as F(v)^(L-1) (1 - x^L) / (L (1 - x)), x = F(v-1) / F(v) = 1 - f / F(v)
    log_F = torch.log1p(-above.clamp(max=1.0))
    share = (f / torch.exp(log_F)).clamp(max=1.0)
    few = share * (rivals + 1)
    ties = torch.where(few < 1e-12, 1.0, -torch.expm1((rivals + 1) * torch.log1p(-share)) / few)
    leads = torch.exp(rivals * log_F) * ties
    return (_log_binomial(votes, heads, right).exp() * leads).sum().item()


def _over_norms(committee: Committee, heads: int, function: Callable[[Tensor], Tensor]) -> float:
    """E function(m) over the mean m = |q| / s of the right item's normalised logit, |q|^2 = s chi^2_n, n = H d.

    In u = ln chi the density is proportional to exp(n u - exp(2 u) / 2), smooth, with tails that the grid covers.
    """
    n = heads * committee.head_size
    spread = 9 / math.sqrt(2 * n)
    u = torch.linspace(-30 / n - spread, spread, 801, dtype=torch.float64) + 0.5 * math.log(n)
    log_density = n * u - 0.5 * (2 * u).exp() + (1 - n / 2) * math.log(2) - math.lgamma(n / 2)
    weights = log_density.exp() * (u[1] - u[0])
    return (weights * function(u.exp() / math.sqrt(1 + committee.noise**2))).sum().item()


def _log_binomial(k: Tensor, n: int, p: float) -> Tensor:
    choose = math.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    return choose + k * math.log(p) + (n - k) * math.log1p(-p)


def _leads(x: Tensor, items: int) -> Tensor:
    """Probability that L - 1 standard normals all stay below x."""
    return torch.exp(float(items - 1) * torch.special.log_ndtr(x))


def _noise_of_right(committee: Committee) -> float:
    """Standard deviation of the right item's normalised logit, given the query."""
    return committee.noise / math.sqrt(1 + committee.noise**2)


def _check(items: int, heads: int, error: float) -> None:
    if items < 2:
        raise ValueError(f"items: expected at least 2, got {items}")
    if heads < 1:
        raise ValueError(f"heads: expected at least 1, got {heads}")
    if not 0 < error < 1:
        raise ValueError(f"error: expected a probability between 0 and 1, got {error}")
