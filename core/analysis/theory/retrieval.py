"""The committee of `committee.py`, simulated: keys and queries are drawn, and heads decide."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .committee import RULES, Committee, Rule

QUERIES, ITEMS = 256, 2048  # of a tile: small enough to stay in cache


class Curves(NamedTuple):
    """Trials won by the first 1, 2, ..., H heads under each rule, and how many trials there were.

    Shapes:
        won: (rules, H), float64; a tie of n items for the lead counts 1 / n.
    """

    rules: tuple[Rule, ...]
    won: Tensor
    trials: int


class Bracket(NamedTuple):
    """Heads needed as simulated: the estimate, and the range that the error of the simulation leaves."""

    low: int
    estimate: int
    high: int


def simulate_retrieval(
    committee: Committee,
    items: int,
    heads: int,
    trials: int,
    generator: torch.Generator,
    rules: Sequence[Rule] = RULES,
) -> Curves:
    """Play the committee: draw keys and noisy queries, add up logits and votes head by head.

    One pass gives the accuracy for every number of heads up to `heads`. The queries of a block have a right item each
    and share the L - 1 wrong ones. Memory is one tile of 256 queries by 2048 items, whatever the other sizes are.

    Args:
        committee: its heads.
        items: L, at least 2.
        heads: H, the largest committee, at most 255.
        trials: retrievals in all.
        generator: where keys and noise are drawn from.
        rules: which to play.

    Raises:
        ValueError: a number is out of range, or a rule unknown.
    """
    if items < 2 or not 1 <= heads <= 255 or trials < 1:
        expected = "at least 2, 1 to 255 and at least 1"
        raise ValueError(f"items, heads, trials: expected {expected}, got {items}, {heads}, {trials}")
    if not rules or set(rules) - set(RULES):
        raise ValueError(f"rules: expected some of {RULES}, got {tuple(rules)}")
    won = torch.zeros(len(rules), heads, dtype=torch.float64)
    for start in range(0, trials, QUERIES):
        won += _block(committee, items, heads, min(QUERIES, trials - start), generator, rules)
    return Curves(tuple(rules), won, trials)


def bracket_heads(won: Tensor, trials: int, target: float = 0.99, deviations: float = 1.96) -> Bracket | None:
    """Heads needed for the target accuracy, from the wins of simulated committees of 1, 2, ... heads.

    The estimate is the first committee whose share of wins reaches the target; low and high are the first whose Wilson
    interval reaches it with its upper and its lower end.

    Args:
        won: wins by number of heads.
        trials: behind each of them.
        target: accuracy.
        deviations: half width of the interval in standard deviations; 1.96 for 95%.

    Shapes:
        won: (H,).

    Returns:
        None where even the largest committee does not reach the target with its lower end.

    References:
        Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    share, z2 = won / trials, deviations**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = deviations / (1 + z2 / trials) * (share * (1 - share) / trials + z2 / (4 * trials**2)).clamp(min=0).sqrt()
    found = [(curve >= target).nonzero() for curve in (centre + half, share, centre - half)]
    if not all(len(hits) for hits in found):
        return None
    low, estimate, high = (int(hits[0]) + 1 for hits in found)
    return Bracket(low, estimate, high)


class _Rivals:
    """What the wrong items have reached against each query after each head; taken in tile by tile.

    Shapes:
        q: (H, Q, d); mine (votes of the right item): (H, Q).
    """

    def __init__(self, q: Tensor, thresholds: Tensor, mine: Tensor) -> None:
        heads, queries = mine.shape
        self.q, self.thresholds, self.mine = q, thresholds, mine
        self.logit = torch.full((heads, queries), -torch.inf)  # the largest sum of logits
        self.score = torch.full((heads, queries), -torch.inf)  # the largest logit of one head, and whose it is
        self.named = torch.full((heads, queries), -1, dtype=torch.long)
        self.ahead = torch.zeros(heads, queries, dtype=torch.bool)  # one has more votes than the right item
        self.level = torch.zeros(heads, queries, dtype=torch.long)  # how many have as many

    def meet(self, first: int, count: int, generator: torch.Generator, rules: Sequence[Rule]) -> None:
        """Draw `count` wrong items, the first of them number `first`, and let all heads see them."""
        queries, d = self.q.shape[1:]
        scores, sums = torch.empty(queries, count), torch.zeros(queries, count)
        yes = torch.empty(queries, count, dtype=torch.bool)
        votes = torch.zeros(queries, count, dtype=torch.uint8)
        for head, q in enumerate(self.q):
            torch.mm(q, torch.randn(count, d, generator=generator).T, out=scores)
            if "logits" in rules:
                sums += scores
                torch.maximum(self.logit[head], sums.amax(1), out=self.logit[head])
            if "approval" in rules:
                votes += torch.gt(scores, self.thresholds[head, :, None], out=yes)
                lead = votes.amax(1)
                self.ahead[head] |= lead > self.mine[head]
                level = (lead == self.mine[head]).nonzero()[:, 0]
                self.level[head, level] += (votes[level] == lead[level, None]).sum(1)
            if "plurality" in rules:
                best, index = scores.max(1)
                higher = best > self.score[head]
                self.named[head] = torch.where(higher, index + first, self.named[head])
                self.score[head] = torch.where(higher, best, self.score[head])


def _block(
    committee: Committee, items: int, heads: int, queries: int, generator: torch.Generator, rules: Sequence[Rule]
) -> Tensor:
    """Trials won by rule and number of heads, (rules, H), for queries that share the wrong items."""
    shape = (heads, queries, committee.head_size)
    right = torch.randn(shape, generator=generator)
    q = right + committee.noise * torch.randn(shape, generator=generator)
    thresholds = committee.threshold * q.norm(dim=2)
    score = (q * right).sum(2)
    mine = (score > thresholds).cumsum(0)
    rivals = _Rivals(q, thresholds, mine)
    for first in range(0, items - 1, ITEMS):
        rivals.meet(first, min(ITEMS, items - 1 - first), generator, rules)
    named = torch.where(score > rivals.score, -1, rivals.named)
    won = []
    for rule in rules:
        if rule == "logits":
            won.append((score.cumsum(0) > rivals.logit).sum(1).double())
        elif rule == "approval":
            won.append(torch.where(rivals.ahead, 0.0, 1 / (1.0 + rivals.level)).double().sum(1))
        else:
            won.append(torch.stack([_plurality(part.T) for part in torch.split(named, 32, dim=1)]).sum(0))
    return torch.stack(won)


def _plurality(named: Tensor) -> Tensor:
    """Trials won where every head names one item, by number of heads; the right item is number -1.

    Shapes:
        named: (queries, H); out: (H,).
    """
    # votes[., h, n]: how often the item that head h named has been named by the first n + 1 heads; 0 before head h
    votes = (named[:, :, None] == named[:, None, :]).int().cumsum(2, dtype=torch.int32).triu()
    lead = votes.amax(1)
    tied = torch.where((votes == lead[:, None]) & (votes > 0), 1.0 / votes, 0.0).sum(1)  # items, each counted once
    wins = (named == -1).cumsum(1)
    return torch.where(wins == lead, 1 / tied, 0.0).double().sum(0)
