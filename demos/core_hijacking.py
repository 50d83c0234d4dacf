"""Hijack the attention of trained models with one key, one patch, one event, and bound what they can take.

Two systems are trained plainly, with limits on the norms of queries and keys, and with cosine scores. Limits and scale
are not tuned: they are derived so that one of 64 keys can never take more than a fifth of a query's attention. Then

- `core.robust.audit` injects keys of growing norm into every layer, at the key projection and through the input;
- a patch of 2 x 2 pixels, and an event that by the rule of the labels does not matter, are found by gradient on
  held-out items and counted on test items, beside random ones, within the range of clean values and far beyond it.

Prints accuracies, audits and successes as mean ± sd over seeds, and draws them.

    python demos/core_hijacking.py [--fast] [--out FOLDER]
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from hijacking import systems

import core
from core import robust
from core.analysis.figures import new_figure

DEFENCES = {"plain": "plain dot products", "limits": "limited norms", "cosine": "cosine scores"}
COLOURS = {"plain": "C3", "limits": "C0", "cosine": "C2"}
MARKERS = {"plain": "o", "limits": "s", "cosine": "^"}
TOKENS = (("within", "found"), ("within", "random"), ("beyond", "found"), ("beyond", "random"))
EPOCHS = {"digits": 25, "events": 3}
FACTORS = tuple(10 ** (n / 2) for n in range(9))


class Result(NamedTuple):
    """One model of one seed. `within` and `beyond`: success with clean values and with values 10 or 100 x as large."""

    accuracy: float
    audit: robust.Audit
    within: systems.Success
    beyond: systems.Success


Results = dict[tuple[str, str], list[Result]]
Costs = dict[str, tuple[float, float, float]]
"""Accuracy, bound and attention taken, by defence."""


def attack_digits(model: torch.nn.Module, parts: systems.Parts, seed: int, fast: bool) -> Result:
    """Audit with the first patch under attack, then patches at every place."""
    where = torch.zeros(8, 8, dtype=torch.bool)
    where[3 * systems.CELL :, : systems.CELL] = True
    region = robust.Region(where, key=1 + 3 * systems.GRID, low=0.0, high=1.0)
    audit = robust.audit(model, parts.test.x[:8], region=region, factors=FACTORS[:: 4 if fast else 1], steps=2)
    ranges = [(torch.zeros(4), torch.ones(4)), (torch.full((4,), -10.0), torch.full((4,), 10.0))]
    found = [
        systems.attack(model, systems.paste, parts, low, high, seed, tries=16, steps=3 if fast else 20)[0]
        for low, high in ranges
    ]
    return Result(float(systems.right(model, parts.test).double().mean()), audit, *found)


def attack_events(model: torch.nn.Module, parts: systems.Parts, seed: int, fast: bool) -> Result:
    """Audit an inserted event, then insert unmarked ones that shall turn positive sequences."""
    batch = systems.insert(parts.test.x[:8], torch.zeros(2 + systems.NOISE), 0)
    audit = robust.audit(model, batch, factors=FACTORS[:: 4 if fast else 1], steps=2, key=0)
    chosen = [systems.Split(part.x[part.y == 1], part.y[part.y == 1]) for part in parts[:3]]
    positive = systems.Parts(*chosen, parts.fingerprint)
    found = []
    for most in (3.0, 300.0):
        high = torch.full((2 + systems.NOISE,), most)
        low = -high
        low[0] = high[0] = -1.0  # no mark: by the rule this event changes nothing
        steps = 3 if fast else 20
        success, token, place = systems.attack(model, systems.insert, positive, low, high, seed, tries=4, steps=steps)
        assert torch.equal(systems.rule(systems.insert(positive.test.x, token, place)), positive.test.y)
        found.append(success)
    return Result(float(systems.right(model, parts.test).double().mean()), audit, *found)


def wrapped(model: torch.nn.Module, parts: systems.Parts) -> Costs:
    """Accuracy and bound of a plainly trained model with defences put in afterwards."""
    clean = robust.calibrate(model, parts.train.x.split(500), quantile=0.99)
    derived = systems.options("limits", 16)
    ways = {
        "key limit: .99 quantile of clean keys": {"key_norm_limit": clean.key_norms},
        "query and key limits: .99 quantiles": {
            "query_norm_limit": clean.query_norms,
            "key_norm_limit": clean.key_norms,
        },
        "query and key limits: derived": derived,
        "cosine scores: scales fitted to clean logits": {"cosine_scale": clean.cosine_scales},
        "cosine scores: derived scale": {"cosine_scale": systems.options("cosine", 16)["scale"]},
    }
    answers = {}
    for name, way in ways.items():
        with robust.defend(model, **way):
            audit = robust.audit(model, parts.test.x[:8], levels=("key",), factors=(1e4,))
            answers[name] = (float(systems.right(model, parts.test).double().mean()), audit.bound, audit.captured())
    return answers


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean ± standard deviation."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def peak(audit: robust.Audit, level: str) -> float:
    """The most that a key took of one query."""
    return max(f.peak for f in audit.select(level))


def print_setting(seeds: int) -> None:
    """Versions, seeds, data and what is derived."""
    parts, data = systems.digits_data()
    print(f"attention-suite {core.__version__}, torch {torch.__version__}, {torch.get_num_threads()} thread")
    print(f"seeds 0..{seeds - 1}, epochs {EPOCHS} (with --fast 1)")
    print(f"digits: {data.describe_split()}, {parts.fingerprint}")
    print(f"events: drawn, seed 0: {systems.event_data(0).fingerprint}")
    width = robust.width_for(systems.BOUND, systems.KEYS)
    at_17 = float(robust.capture_bound(17, width))
    print(
        f"derived: logits of a query differ by at most w = {width:.4f}, so that one key of {systems.KEYS} takes at most"
    )
    print(f"e^w / (e^w + {systems.KEYS - 1}) = {systems.BOUND}, and one of the 17 keys of the digits model {at_17:.3f}")


def print_tables(results: Results, costs: list[Costs]) -> None:
    """Accuracy, audit and attacks of the trained models; the price of defences put in afterwards."""
    print("\n| system | trained with | accuracy | cost | one key takes: mean | of one query | by the input | bound |")
    print("|---|---|---|---|---|---|---|---|")
    for (system, defence), rows in results.items():
        cost = [a.accuracy - b.accuracy for a, b in zip(results[system, "plain"], rows, strict=True)]
        audits = [row.audit for row in rows]
        cells = [spread([row.accuracy for row in rows], 4), spread(cost, 4)]
        cells += [spread([audit.captured("key") for audit in audits]), spread([peak(a, "key") for a in audits])]
        bound = "none" if audits[0].bound is None else spread([a.bound for a in audits])
        cells += [spread([audit.captured("input") for audit in audits]), bound]
        print(f"| {system} | {DEFENCES[defence]} | {' | '.join(cells)} |")
    print(
        "\n| system | trained with | found token, clean range | random, clean range | found, beyond | random, beyond |"
    )
    print("|---|---|---|---|---|---|")
    for (system, defence), rows in results.items():
        numbers = [[r.within.found for r in rows], [r.within.random for r in rows]]
        numbers += [[r.beyond.found for r in rows], [r.beyond.random for r in rows]]
        print(f"| {system} | {DEFENCES[defence]} | {' | '.join(map(spread, numbers))} |")
    print("\n| put into the plain digits model after training | accuracy | one key takes | bound at 17 keys |")
    print("|---|---|---|---|")
    for name in costs[0]:
        accuracy, bound, taken = zip(*(cost[name] for cost in costs), strict=True)
        print(f"| {name} | {spread(accuracy, 4)} | {spread(taken)} | {spread(bound)} |")
    bounded = [row.audit for (_, defence), rows in results.items() if defence != "plain" for row in rows]
    plain = [row.audit.captured("key") for (_, defence), rows in results.items() if defence == "plain" for row in rows]
    print(f"\nplain models: least captured {min(plain):.4f} (target: above .99)")
    print(f"defended models: {sum(a.passed for a in bounded)} of {len(bounded)} pass under their bounds (target: all)")


def plot(results: Results, path: Path) -> None:
    """Captured attention with its bound, change of the output, and successes, one row a system."""
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(system for system, _ in results))
    figure = new_figure(15, 4.4 * len(names))
    axes = figure.subplots(len(names), 3, squeeze=False)
    factors = sorted({f.factor for f in results[names[0], "plain"][0].audit.findings})
    for (left, middle, bars), system in zip(axes, names, strict=True):
        for number, (defence, colour) in enumerate(COLOURS.items()):
            rows = results[system, defence]
            audits = [row.audit for row in rows]
            taken = torch.tensor([[a.captured("key", r) for r in factors] for a in audits])
            through = torch.tensor([[a.captured("input", r) for r in factors] for a in audits])
            moved = torch.tensor([[max(f.change for f in a.select("key", factor=r)) for r in factors] for a in audits])
            curves = ((left, taken, "-"), (left, through, ":"), (middle, moved, "-"))
            for axis, values, style in curves:
                axis.plot(factors, values.mean(0), style, color=colour, marker=MARKERS[defence], markersize=5)
                axis.fill_between(factors, values.amin(0), values.amax(0), color=colour, alpha=0.12)
            for group, (kind, token) in enumerate(TOKENS):
                values = [getattr(getattr(row, kind), token) for row in rows]
                error = statistics.stdev(values) if len(values) > 1 else None
                shade = 1 if token == "found" else 0.45
                place = group + (number - 1) * 0.27
                bars.bar(place, statistics.mean(values), 0.25, yerr=error, color=colour, alpha=shade, capsize=3)
        bound = results[system, "limits"][0].audit.bound
        left.axhline(bound, color="black", linestyle="--", linewidth=1.2)
        left.text(factors[-1], bound + 0.015, f"derived bound {bound:.3f}", ha="right", va="bottom")
        left.set(xscale="log", ylim=(0, 1.04), ylabel="attention taken by one key (share)")
        left.set_title(f"{system}: attention that one key takes (worst head)")
        middle.set(xscale="log", yscale="log", ylabel="change of the logits (share of their norm)")
        middle.set_title(f"{system}: output, one layer's key replaced (worst layer)")
        for axis in (left, middle):
            axis.set_xlabel("norm of what is injected (multiple of the clean median)")
            axis.grid(alpha=0.3)
        much, what = ("10", "2 x 2 pixels") if system == "digits" else ("100", "one event that means nothing")
        bars.set(ylim=(0, 1.04), ylabel="right test items turned (share)", title=f"{system}: success of {what}")
        ranges = ("clean range", f"{much} x range")
        bars.set_xticks(range(4), [f"{token},\n{where}" for where in ranges for token in ("found", "random")])
        bars.grid(axis="y", alpha=0.3)
    handles = [Line2D([], [], color=COLOURS[d], marker=MARKERS[d], label=DEFENCES[d]) for d in DEFENCES]
    handles += [Line2D([], [], color="grey", linestyle="-", label="key replaced at its projection")]
    handles += [Line2D([], [], color="grey", linestyle=":", label="token replaced in the input")]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def one_seed(system: str, defence: str, seed: int, fast: bool) -> tuple[Result, Costs]:
    """Train and attack one model; for plain digits also the price of defences put in afterwards."""
    epochs = 1 if fast else EPOCHS[system]
    torch.manual_seed(seed)
    if system == "events":
        parts, model = systems.event_data(seed), systems.Events(defence)
        parts = parts.first(128) if fast else parts
        systems.train(model, parts.train, seed, epochs)
        return attack_events(model, parts, seed, fast), {}
    parts, data = systems.digits_data()
    parts = parts.first(128) if fast else parts
    model = systems.Digits(defence, data.mean, data.std)
    systems.train(model, parts.train, seed, epochs, data.affine)
    return attack_digits(model, parts, seed, fast), wrapped(model, parts) if defence == "plain" else {}


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="one seed, few items: shows that it runs, not how well")
    parser.add_argument("--out", type=Path, default=Path("runs/demo_hijacking"), help="folder of the picture")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = 1 if arguments.fast else 3
    start, results, costs = time.process_time(), {}, []
    print_setting(seeds)
    for system in EPOCHS:
        for defence in DEFENCES:
            found = [one_seed(system, defence, seed, arguments.fast) for seed in range(seeds)]
            results[system, defence] = [result for result, _ in found]
            costs += [cost for _, cost in found if cost]
            print(f"\n{system}, {DEFENCES[defence]}, seed 0\n{found[0][0].audit.verdict}", flush=True)
    print_tables(results, costs)
    print(f"{time.process_time() - start:.0f} s of processor time")
    if arguments.fast:
        print("--fast: few items, hardly trained; these numbers show that it runs, not how good it is")
    path = arguments.out / "hijacking.png"
    plot(results, path)
    print(f"saved {path}")


if __name__ == "__main__":
    main()
