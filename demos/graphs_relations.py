"""Breadth: heads as relations. How many heads does it take to read materials, labour and capital?

A buyer's cost follows its suppliers of three relations, each with a multiplier that changes from sample to sample. One
attention with H heads sees all suppliers, without being told whose relation is whose: no relation masks, no relation
biases. Its gates are combinations of the multipliers without negative weights, which leaves no exact solution but one
head per relation (graphs/supply/breadth.py says why). Heads are matched with relations afterwards, by the Hungarian
method on attention mass, on a graph that training has not seen.

Controls: heads confined to one relation each by a mask; gates of any sign, for which there is no such proof.

    python demos/graphs_relations.py [--fast]

Prints unexplained variance by number of heads beside the least possible, matched mass, and what is lost without each
head and without each relation's edges; saves the picture. `--docs` writes the tables into docs/supply-chains.md.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import torch
from reporting.tables import mean_sd, table, versions

from core.training import hash_arrays, rewrite
from graphs.supply import (
    RELATIONS,
    BreadthModel,
    Matching,
    Samples,
    SupplierGroups,
    draw_groups,
    draw_relations,
    draw_samples,
    least_unexplained,
    match_heads,
    relation_mass,
    train_breadth,
    unexplained,
    without_relation,
)

PAGE = Path(__file__).parents[1] / "docs" / "supply-chains.md"
FEATURES, HEADS = 8, (1, 2, 3, 4)
VARIANTS = {"free heads": {}, "masked by relation (control)": {"masked": True}, "gates of any sign": {"signed": True}}


class World(NamedTuple):
    """Training graphs, the graph of the test and its samples."""

    train: list[SupplierGroups]
    test: SupplierGroups
    samples: Samples


class Outcome(NamedTuple):
    """One model on the test graph; without: by relation, without its head and without its edges."""

    unexplained: float
    matching: Matching
    without_head: list[float]
    without_edges: list[float]


def draw(seed: int, graphs: int) -> World:
    """Prototypes of the relations, shared by all graphs of a seed."""
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(len(RELATIONS), FEATURES, generator=generator)
    train = [draw_groups(generator, prototypes) for _ in range(graphs)]
    test = draw_groups(generator, prototypes)
    return World(train, test, draw_samples(test, 1000, generator))


def run(world: World, seed: int, heads: int, steps: int, **options: bool) -> Outcome:
    """Train one model and take it apart."""
    torch.manual_seed(1000 * seed + heads)
    model = BreadthModel(FEATURES, len(RELATIONS), heads, **options)
    train_breadth(model, world.train, steps, torch.Generator().manual_seed(seed), lr=0.03)
    matching = match_heads(relation_mass(model.weights(world.test), world.test.edges))
    silenced, cut = [], []
    for relation, head in enumerate(matching.head.tolist()):
        if head >= 0:
            silenced.append(unexplained(model, world.test, world.samples, silenced=head))
        fewer = world.test._replace(edges=without_relation(world.test.edges, relation))
        cut.append(unexplained(model, fewer, world.samples))
    return Outcome(unexplained(model, world.test, world.samples), matching, silenced, cut)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/graphs_relations"), help="folder of the picture")
    parser.add_argument("--fast", action="store_true", help="one seed, few steps: shows that it runs")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/supply-chains.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    seeds, steps, graphs = (1, 30, 2) if arguments.fast else (arguments.seeds, 400, 40)
    worlds = [draw(seed, graphs) for seed in range(seeds)]
    print(versions())
    print(f"data: drawn, seeds 0 .. {seeds - 1}; test of seed 0 {hash_arrays(worlds[0].samples.change)[:23]}…\n")
    found: dict[tuple[str, int], list[Outcome]] = {}
    for variant, options in VARIANTS.items():
        for heads in HEADS if not options else (len(RELATIONS),):
            found[variant, heads] = [run(worlds[seed], seed, heads, steps, **options) for seed in range(seeds)]
            values = [outcome.unexplained for outcome in found[variant, heads]]
            print(f"{variant}, H = {heads}: {mean_sd(values)} after {time.perf_counter() - started:.0f} s", flush=True)
    rows = []
    for (variant, heads), outcomes in found.items():
        masses = [outcome.matching.mean for outcome in outcomes]
        least = f"{least_unexplained(heads, len(RELATIONS)):.3f}"
        lowest = f"{min(masses):.3f}" if heads >= len(RELATIONS) else "-"
        mass = mean_sd(masses, 3) if heads >= len(RELATIONS) else "-"
        rows.append([variant, str(heads), mean_sd([o.unexplained for o in outcomes], 5), least, mass, lowest])
    scores = table(
        ["model", "heads", "unexplained variance", "least possible", "matched mass", "lowest of the seeds"], rows
    )
    share = [
        [float(world.samples.part[..., k].var() / world.samples.target.var()) for world in worlds]
        for k in range(len(RELATIONS))
    ]
    rows = []
    for variant in VARIANTS:
        outcomes = found[variant, len(RELATIONS)]
        for k, relation in enumerate(RELATIONS):
            heads = mean_sd([outcome.without_head[k] for outcome in outcomes], 3)
            edges = mean_sd([outcome.without_edges[k] for outcome in outcomes], 3)
            rows.append([variant, relation, mean_sd(share[k], 3), heads, edges])
    losses = table(
        ["model, H = 3", "relation", "its share of the variance", "unexplained without its head", "without its edges"],
        rows,
    )
    text = (
        f"{len(RELATIONS)} relations, {seeds} seed(s), {steps} steps on {graphs} graphs each, tested on another graph; "
        f"mean ± sd.\n\n{scores}\n\nTaken apart, three heads each. Without its head a relation's share of the variance "
        "should be missing, and no more; without its edges an unmasked head reads the other relations' suppliers "
        f"instead, which is worse.\n\n{losses}\n"
    )
    print(f"\n{text}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "summary.md").write_text(text, "utf-8")
    curves = {
        variant: (
            [heads for name, heads in found if name == variant],
            [[o.unexplained for o in outcomes] for (name, _), outcomes in found.items() if name == variant],
        )
        for variant in VARIANTS
    }
    bound = {heads: least_unexplained(heads, len(RELATIONS)) for heads in HEADS}
    shown = {
        f"{heads} free heads, worst seed": min((o.matching for o in found["free heads", heads]), key=lambda m: m.mean)
        for heads in (2, 3, 4)
    }
    path = arguments.out / "relations.png"
    draw_relations(curves, bound, shown, RELATIONS, path)
    if arguments.docs:
        rewrite(PAGE, "relations", text)
    print(f"picture: {path}; {time.perf_counter() - started:.0f} s")
    if arguments.fast:
        print("--fast: a few steps only; these numbers show that it runs, not how good it is")


if __name__ == "__main__":
    main()
