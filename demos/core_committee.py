"""How many heads must agree to find one item among L? Heads needed for 99% accuracy grow as a + b ln L.

L items are stored. Every head sees them through its own Gaussian random projection to few features, and is asked for
one by a noisy copy of its key: alone it is nearly always wrong. Heads that add their logits, or say yes or no to every
item and count the votes, find the item together. Heads that name one item each do much worse.

Simulated: vectors are drawn and heads decide; the estimate is the first number of heads with at least 99% of trials
won, in brackets where the 95% interval of that share reaches 99%. Theory, in core.analysis.theory: the exact accuracy
by quadrature; the union bound with Chernoff's exponent, which surely suffices; and the slope for L without end.

    python demos/core_committee.py [--fast] [--out FOLDER]
"""

import argparse
import math
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import core
from core.analysis import theory
from core.analysis.figures import new_figure
from core.analysis.theory import Bracket, Committee, Rule

COMMITTEE = Committee(head_size=8, noise=2.0, threshold=1.0)
RULES: tuple[Rule, ...] = ("logits", "approval")
TARGET = 0.99
MOST = 255  # heads that the simulation can take


class Counted(NamedTuple):
    """Wins of one rule among L items, by seed and number of heads. Shapes: won (seeds, H); trials of one seed."""

    won: Tensor
    trials: int

    def pooled(self) -> Bracket:
        """Heads needed, from all seeds together."""
        found = theory.bracket_heads(self.won.sum(0), self.trials * len(self.won), TARGET)
        if found is None:
            raise RuntimeError(f"{self.won.shape[1]} heads do not reach {TARGET:.0%}: simulate more")
        return found

    def by_seed(self) -> list[int]:
        """Heads needed, from each seed alone."""
        share = self.won / self.trials
        return [int((row >= TARGET).nonzero()[0]) + 1 for row in share]


def play(sizes: list[int], needed: dict[Rule, list[int]], seeds: int, budget: int, most: int) -> list[list[Counted]]:
    """Simulate every rule among every number of items; [rule][size]. `budget` is items times trials, of one seed."""
    results: list[list[Counted]] = [[] for _ in RULES]
    for index, items in enumerate(sizes):
        trials = max(most // 5, min(most, budget // items))
        for number, rule in enumerate(RULES):
            heads = min(MOST, math.ceil(1.3 * needed[rule][index]) + 4)
            runs = []
            for seed in range(seeds):
                generator = torch.Generator().manual_seed(1000 * number + 100_000 * index + seed)
                runs.append(theory.simulate_retrieval(COMMITTEE, items, heads, trials, generator, (rule,)).won[0])
            results[number].append(Counted(torch.stack(runs), trials))
    return results


def spread(values: list[float]) -> str:
    """Mean ± sd; of one value, the value."""
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def plurality(sizes: list[int], trials: int) -> None:
    """What becomes of one vote a head: heads needed, or how far `MOST` heads get."""
    print(f"\none vote a head (plurality), simulated with {trials} trials:")
    print(f"| items L | accuracy of one head | accuracy of {MOST} heads | heads for {TARGET:.0%} |\n|{'---|' * 4}")
    for items in sizes:
        curves = theory.simulate_retrieval(
            COMMITTEE, items, MOST, trials, torch.Generator().manual_seed(items), rules=("plurality",)
        )
        share = curves.won[0] / trials
        reached = (share >= TARGET).nonzero()
        found = theory.bracket_heads(curves.won[0], trials, TARGET)
        if found is not None:
            needed = f"{found.estimate} [{found.low}, {found.high}]"
        else:
            needed = f"{int(reached[0]) + 1}, uncertain" if len(reached) else f"more than {MOST}"
        alone = theory.retrieval_accuracy(COMMITTEE, "logits", items, 1)
        print(f"| {items} | {share[0]:.3f} (exact {alone:.3f}) | {share[-1]:.3f} | {needed} |")


def picture(sizes: list[int], needed: dict[Rule, list[int]], results: list[list[Counted]], path: Path) -> None:
    """Left: heads needed by number of items; right: accuracy by heads, simulated and exact."""
    figure = new_figure(11, 4.4)
    left, right = figure.subplots(1, 2)
    names = {"logits": "added logits", "approval": "yes/no votes"}
    for number, rule in enumerate(RULES):
        brackets = [counted.pooled() for counted in results[number]]
        estimates = [found.estimate for found in brackets]
        bars = [[e.estimate - e.low for e in brackets], [e.high - e.estimate for e in brackets]]
        fit = theory.log_fit(torch.tensor(sizes), torch.tensor(estimates))
        colour = f"C{number}"
        left.errorbar(
            sizes, estimates, bars, fmt="o", capsize=3, color=colour, markersize=4, label=f"{names[rule]}, simulated"
        )
        line = [fit.intercept + fit.slope * math.log(items) for items in sizes]
        label = f"fit {fit.intercept:.1f} + {fit.slope:.2f} ln L, $R^2$ = {fit.r_squared:.3f}"
        left.plot(sizes, line, color=colour, label=label)
        bounds = [theory.union_bound_heads(COMMITTEE, rule, items, 1 - TARGET) for items in sizes]
        left.plot(sizes, bounds, "--", color=colour, linewidth=1, label=f"{names[rule]}, union bound")
    left.set_xscale("log", base=2)
    left.set(xlabel="items L (log scale)", ylabel="heads H", title=f"Heads needed for {TARGET:.0%} accuracy")
    left.legend(fontsize=8, loc="upper left")
    left.set_ylim(0, 105)
    for shade, index in enumerate(sorted({0, len(sizes) // 2, len(sizes) - 1})):
        counted, colour = results[1][index], f"C{2 + shade}"
        heads = range(1, counted.won.shape[1] + 1)
        share = counted.won.sum(0) / (counted.trials * len(counted.won))
        power = f"$2^{{{round(math.log2(sizes[index]))}}}$"
        right.plot(heads, share, "o", markersize=3, color=colour, label=f"L = {power}, simulated")
        exact = [theory.retrieval_accuracy(COMMITTEE, "approval", sizes[index], h) for h in heads]
        right.plot(heads, exact, color=colour, linewidth=1, label=f"L = {power}, exact")
    right.axhline(TARGET, color="grey", linestyle=":", linewidth=1)
    right.set(xlabel="heads H", ylabel="accuracy", title="Accuracy of yes/no votes (dotted: 99%)")
    right.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="up to 2^10 items, two seeds, few trials")
    parser.add_argument("--out", type=Path, default=Path("runs/demo_committee"), help="folder of the picture")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # tiles fit into one core's cache
    seeds, largest, budget, most = (2, 10, 2**18, 1024) if arguments.fast else (5, 16, 2**24, 4096)
    sizes = [2**power for power in range(6, largest + 1)]
    print(
        f"attention-suite {core.__version__}, torch {torch.__version__}, 1 thread; seeds 0..{seeds - 1}; data are drawn"
    )
    rates = theory.approval_rates(COMMITTEE)
    print(f"{COMMITTEE}; yes to the right item {rates.right:.3f}, to a wrong one {rates.wrong:.3f}")
    start = time.perf_counter()
    needed = {rule: [theory.heads_needed(COMMITTEE, rule, items, TARGET) for items in sizes] for rule in RULES}
    results = play(sizes, needed, seeds, budget, most)
    for number, rule in enumerate(RULES):
        print(f"\n{rule}: heads for {TARGET:.0%}\n| items L | trials | simulated [95%] | exact | union bound |")
        print("|" + "---|" * 5)
        for index, items in enumerate(sizes):
            counted = results[number][index]
            found, bound = counted.pooled(), theory.union_bound_heads(COMMITTEE, rule, items, 1 - TARGET)
            simulated = f"{found.estimate} [{found.low}, {found.high}]"
            trials = counted.trials * seeds
            print(f"| {items} | {trials} | {simulated} | {needed[rule][index]} | {bound:.1f} |")
        L = torch.tensor(sizes)
        pooled = theory.log_fit(L, torch.tensor([counted.pooled().estimate for counted in results[number]]))
        exact = theory.log_fit(L, torch.tensor(needed[rule]))
        by_seed = zip(*(counted.by_seed() for counted in results[number]), strict=True)
        fits = [theory.log_fit(L, torch.tensor(heads)) for heads in by_seed]
        print(
            f"fit of the simulation: H = {pooled.intercept:.2f} + {pooled.slope:.3f} ln L, R^2 {pooled.r_squared:.4f}"
            + ("" if arguments.fast else " (target: above 0.98)")
        )
        lowest = min(fit.r_squared for fit in fits)
        print(f"  each seed alone: slope {spread([fit.slope for fit in fits])}, lowest R^2 {lowest:.4f}")
        print(f"fit of the exact theory: slope {exact.slope:.3f}, R^2 {exact.r_squared:.4f}")
        print(
            f"slope of the union bound {1 / theory.pair_exponent(COMMITTEE, rule):.3f}, "
            f"for L without end {1 / theory.limiting_exponent(COMMITTEE, rule):.3f}"
        )
    plurality([64, 128] if arguments.fast else [64, 256, 1024, 4096], 512 if arguments.fast else 1024)
    path = arguments.out / "committee.png"
    picture(sizes, needed, results, path)
    print(f"\nsaved {path}; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
