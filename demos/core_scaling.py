"""Why attention divides by sqrt(d): unscaled dot products saturate softmax, and its gradient vanishes.

Queries and keys have independent normal components of standard deviation sigma.

    variance   Var(q . k) = d sigma^4, measured on independent pairs beside its standard error
    softmax    the largest weight and the norm of the Jacobian diag(p) - p p^T, for 64 keys, with core.attend at scale 1
               and at its default d^-1/2. The norm bounds what an upstream gradient leaves on the logits.

Theory: the lead of the largest logit over the second has a closed form that grows with sqrt(d); far into saturation two
keys are left, and the norm is 2 p (1 - p) with p = sigmoid(lead).

    python demos/core_scaling.py [--fast] [--out FOLDER]
"""

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import core
from core.analysis import theory
from core.analysis.figures import new_figure

KEYS, SIGMA = 64, 1.0
SIGMAS = (0.5, 1.0, 2.0)
SATURATED, VANISHED = 0.99, 0.01


class Saturation(NamedTuple):
    """Softmax over random keys, a value per query: largest weight, norm of its Jacobian. Shapes: (queries,) each."""

    largest: Tensor
    jacobian: Tensor


def variance(d: int, sigma: float, pairs: int, generator: torch.Generator) -> float:
    """Sample variance of q . k over independent pairs, in chunks."""
    draws = []
    for start in range(0, pairs, 4096):
        shape = (2, min(4096, pairs - start), d)
        q, k = sigma * torch.randn(shape, generator=generator, dtype=torch.float64)
        draws.append((q * k).sum(1))
    return torch.cat(draws).var().item()


def saturate(d: int, scale: float | None, queries: int, generator: torch.Generator) -> Saturation:
    """Weights of queries over 64 keys of their own, by core.attend."""
    chunks = []
    for start in range(0, queries, 100):
        shape = (min(100, queries - start), 1, KEYS, d)
        k = SIGMA * torch.randn(shape, generator=generator, dtype=torch.float64)
        q = SIGMA * torch.randn((*shape[:2], 1, d), generator=generator, dtype=torch.float64)
        weights = core.attend(q, k, k[..., :1], scale=scale, need=("weights",)).weights
        assert weights is not None
        chunks.append(weights.flatten(0, 2))
    weights = torch.cat(chunks)
    return Saturation(weights.amax(-1), theory.softmax_jacobian_norm(weights))


def spread(values: Sequence[float], digits: str = ".3f") -> str:
    """Mean ± sd; of one value, the value."""
    mean = f"{statistics.mean(values):{digits}}"
    return f"{mean} ± {statistics.stdev(values):{digits}}" if len(values) > 1 else mean


def two_keys(d: int) -> float:
    """Theory's median norm of the Jacobian for unscaled logits where only the two largest weights count."""
    p = 1 / (1 + math.exp(-theory.median_top_gap(KEYS, SIGMA**2 * math.sqrt(d))))
    return 2 * p * (1 - p)


def measure_variance(dims: Sequence[int], pairs: int, seeds: int) -> dict[tuple[float, int], list[float]]:
    """Print measured against theory, and answer the ratios by sigma and d, a value per seed."""
    print(f"\nVar(q . k) over theory's d sigma^4, {pairs} pairs a seed (± sd over seeds; theory's standard error)")
    print(f"| sigma | d | theory | measured / theory | standard error |\n|{'---|' * 5}")
    ratios, worst = {}, 0.0
    for number, sigma in enumerate(SIGMAS):
        for d in dims:
            moments = theory.dot_product_moments(d, sigma, sigma)
            error = theory.variance_standard_error(moments, pairs) / moments.variance
            generators = [torch.Generator().manual_seed(seed + 1000 * d + 100 * number) for seed in range(seeds)]
            runs = [variance(d, sigma, pairs, generator) / moments.variance for generator in generators]
            ratios[sigma, d] = runs
            worst = max(worst, *(abs(run - 1) / error for run in runs))
            print(f"| {sigma:g} | {d} | {moments.variance:g} | {spread(runs, '.4f')} | {error:.4f} |")
    print(f"largest deviation of {len(ratios) * seeds} runs: {worst:.1f} standard errors")
    return ratios


def measure_softmax(dims: Sequence[int], queries: int, seeds: int) -> dict[tuple[str, int], list[Saturation]]:
    """Print and answer the saturation by scale and d."""
    print(
        f"\nsoftmax over {KEYS} keys, sigma {SIGMA:g}, {queries} queries a seed; medians over queries, ± sd over seeds"
    )
    header = f"above {SATURATED} | theory, at most | Jacobian norm | theory, two keys | below {VANISHED} |"
    print(f"| scale | d | largest weight | {header}\n|{'---|' * 8}")
    results = {}
    for name in ("1", "d^-1/2"):
        for d in dims:
            scale = 1.0 if name == "1" else None
            runs = [saturate(d, scale, queries, torch.Generator().manual_seed(seed)) for seed in range(seeds)]
            results[name, d] = runs
            top = spread([run.largest.median().item() for run in runs])
            share = statistics.mean((run.largest > SATURATED).double().mean().item() for run in runs)
            norm = spread([run.jacobian.median().item() for run in runs], ".4f")
            gone = statistics.mean((run.jacobian < VANISHED).double().mean().item() for run in runs)
            lead = math.log(SATURATED / (1 - SATURATED))  # a weight this large leads the second by more
            logit_sigma = SIGMA**2 * math.sqrt(d) * (1.0 if name == "1" else d**-0.5)
            bound = theory.top_gap_survival(lead, KEYS, logit_sigma).item()
            theirs = f"{two_keys(d):.4f}" if name == "1" else "-"
            print(f"| {name} | {d} | {top} | {share:.1%} | {bound:.1%} | {norm} | {theirs} | {gone:.1%} |")
    return results


def picture(
    ratios: dict[tuple[float, int], list[float]],
    pairs: int,
    results: dict[tuple[str, int], list[Saturation]],
    path: Path,
) -> None:
    """Three panels by d: variance over theory, largest weight, norm of the Jacobian."""
    figure = new_figure(13, 4)
    first, second, third = figure.subplots(1, 3)
    dims = sorted({d for _, d in ratios})
    for number, sigma in enumerate(SIGMAS):
        for shift, d in enumerate(dims):
            x = [d * 2 ** (0.15 * (number - 1))] * len(ratios[sigma, d])
            label = rf"$\sigma$ = {sigma:g}" if shift == 0 else None
            first.plot(x, ratios[sigma, d], ".", color=f"C{number}", label=label)
    errors = [
        1.96 * theory.variance_standard_error(m, pairs) / m.variance for m in map(theory.dot_product_moments, dims)
    ]
    first.fill_between(dims, [1 - e for e in errors], [1 + e for e in errors], alpha=0.2, color="grey", label="95%")
    first.set(ylabel="measured / theory", title=r"Var(q · k) against $d\,\sigma^4$, a point per seed")
    first.legend(fontsize=8, ncols=4, loc="upper center", columnspacing=0.8, handletextpad=0.2)
    first.set_ylim(0.9, 1.12)
    dims = sorted({d for _, d in results})
    for name, colour in (("1", "C3"), ("d^-1/2", "C0")):
        pooled = [torch.stack([torch.stack(run) for run in results[name, d]], 1).flatten(1) for d in dims]
        quartiles = torch.stack([q.quantile(torch.tensor([0.25, 0.5, 0.75]).double(), dim=1) for q in pooled])
        label = "unscaled" if name == "1" else "scaled by $d^{-1/2}$"
        for axis, column in ((second, 0), (third, 1)):
            axis.plot(dims, quartiles[:, 1, column], "o-", color=colour, markersize=4, label=label)
            axis.fill_between(dims, quartiles[:, 0, column], quartiles[:, 2, column], alpha=0.2, color=colour)
    third.plot(dims, [two_keys(d) for d in dims], "k--", linewidth=1, label="theory, two keys left")
    second.set(ylabel="largest weight", title=f"Softmax over {KEYS} keys (median, quartiles)", ylim=(0, 1.03))
    third.set(ylabel="Frobenius norm (log scale)", title="Jacobian of softmax (median, quartiles)", yscale="log")
    for axis in (first, second, third):
        axis.set_xscale("log", base=2)
        axis.set_xlabel("features d of a head (log scale)")
        axis.grid(alpha=0.3)
    second.legend(fontsize=8, loc="center right", bbox_to_anchor=(1, 0.3))
    third.legend(fontsize=8, loc="lower left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="fewer pairs, queries and seeds")
    parser.add_argument("--out", type=Path, default=Path("runs/demo_scaling"), help="folder of the picture")
    arguments = parser.parse_args()
    seeds, pairs, queries = (2, 2_000, 100) if arguments.fast else (5, 10_000, 600)
    dims = (8, 64, 512) if arguments.fast else (8, 32, 128, 512)
    torch.set_num_threads(1)
    print(
        f"attention-suite {core.__version__}, torch {torch.__version__}, 1 thread; seeds 0..{seeds - 1}; data are drawn"
    )
    start = time.perf_counter()
    ratios = measure_variance(dims, pairs, seeds)
    results = measure_softmax(dims, queries, seeds)
    path = arguments.out / "scaling.png"
    picture(ratios, pairs, results, path)
    print(f"\nsaved {path}; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
