"""Attention is kernel regression, and softmax is the answer to a maximum-entropy problem.

identity    attention over keys of norm 1 against Nadaraya-Watson regression written out: temperature = bandwidth^2,
            and at the query's direction its norm is an adaptive bandwidth, h^2 = temperature / (scale |q|)
entropy     softmax(logits / T) against scipy's optimisers of mean logit + T * entropy over the simplex
regression  the progression of diabetes in 442 patients from age, BMI and blood pressure, by core.attend and by
            statsmodels' KernelReg (local constant). Both choose a bandwidth for every feature by leave-one-out on the
            training folds alone; only then the test fold is predicted. Mean and least squares beside them.

python demos/core_kernel_view.py [--fast] [--out FOLDER]
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

import core
from core import scores
from core.analysis import theory
from core.analysis.figures import new_figure

ALL = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
SIMPLE = ("age", "bmi", "bp")  # what needs no blood sample, chosen before any result was seen

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]  # inputs, targets, queries: standardised by the inputs


def written_out(queries: Tensor, inputs: Tensor, targets: Tensor, h: Tensor) -> Tensor:
    """Nadaraya-Watson with one bandwidth per query, as the quotient of sums."""
    distance = (queries[:, None] - inputs).square().sum(-1)
    kernel = torch.exp(-distance / (2 * h[:, None] ** 2))
    return kernel @ targets / kernel.sum(1, keepdim=True)


def identity(seeds: int) -> None:
    """Print the largest differences between attention and the quotient."""
    print(f"\nattention over 200 keys of norm 1 in 8 dimensions, float64: largest difference, {seeds} seed(s)")
    print(f"| temperature | Gaussian score, h^2 = T | dot product, h^2 = T | adaptive bandwidth |\n|{'---|' * 4}")
    for temperature in (0.1, 0.5, 2.0):
        worst = [0.0, 0.0, 0.0]
        for seed in range(seeds):
            generator = torch.Generator().manual_seed(seed)
            q, k, v = (torch.randn(n, 8, generator=generator, dtype=torch.float64) for n in (50, 200, 200))
            k = normalize(k, dim=1)
            q4, k4, v4 = q[None, None], k[None, None], v[None, None]
            plain = written_out(q, k, v, torch.full((50,), math.sqrt(temperature), dtype=torch.float64))
            adaptive = theory.effective_bandwidth(q.norm(dim=1), 8**-0.5, temperature)
            pairs = (
                (core.attend(q4, k4, v4, score=scores.Gaussian(), temperature=temperature), plain),
                (core.attend(q4, k4, v4, scale=1.0, temperature=temperature), plain),
                (core.attend(q4, k4, v4, temperature=temperature), written_out(normalize(q, dim=1), k, v, adaptive)),
            )
            for index, (ours, theirs) in enumerate(pairs):
                worst[index] = max(worst[index], (ours[0, 0] - theirs).abs().max().item())
        print(f"| {temperature:g} | {worst[0]:.1e} | {worst[1]:.1e} | {worst[2]:.1e} |")
    print("target: 1e-12")


def optimise(logits: Tensor, temperature: float, method: str) -> Tensor:
    """The weights that scipy finds: mean logit + T * entropy at its largest on the simplex."""
    from scipy.optimize import Bounds, LinearConstraint, minimize

    x, n = logits.numpy(), len(logits)
    second = {"hess": lambda w: np.diag(temperature / w)} if method == "trust-constr" else {}
    options = {"SLSQP": {"ftol": 1e-15, "maxiter": 1000}, "trust-constr": {"gtol": 1e-10, "maxiter": 1000}}[method]
    found = minimize(
        lambda w: temperature * (w * np.log(w)).sum() - w @ x,
        np.full(n, 1 / n),
        jac=lambda w: temperature * (np.log(w) + 1) - x,
        method=method,
        bounds=Bounds(np.full(n, 1e-12), np.ones(n), keep_feasible=True),
        constraints=LinearConstraint(np.ones((1, n)), 1, 1),
        options=options,
        **second,
    )
    return torch.from_numpy(found.x)


def entropy(logits: Tensor) -> list[tuple[float, Tensor]]:
    """Print softmax beside the optimisers; answer what SLSQP found, by temperature."""
    print(f"\nmaximum entropy: softmax(logits / T) over {len(logits)} keys against scipy's optimisers")
    print(
        f"| T | optimiser | largest difference of weights | softmax's lead in mean logit + T entropy |\n|{'---|' * 4}"
    )
    found = []
    for temperature in (0.3, 1.0, 3.0):
        softmax = theory.maximum_entropy_weights(logits, temperature)
        best = theory.free_energy(softmax, logits, temperature)
        for method in ("SLSQP", "trust-constr"):
            weights = optimise(logits, temperature, method)
            lead = (best - theory.free_energy(weights, logits, temperature)).item()
            print(f"| {temperature:g} | {method} | {(weights - softmax).abs().max():.1e} | {lead:.1e} |")
            if method == "SLSQP":
                found.append((temperature, weights))
    return found


def attention(inputs: Tensor, targets: Tensor, queries: Tensor) -> Tensor:
    """Kernel regression by core.attend, bandwidths by leave-one-out with its gradient."""
    h = theory.cross_validated_bandwidth(inputs, targets)
    return theory.nadaraya_watson(queries, inputs, targets, h)


def statsmodels(inputs: Tensor, targets: Tensor, queries: Tensor) -> Tensor:
    """The same by statsmodels, bandwidths by leave-one-out without a gradient."""
    try:
        from statsmodels.nonparametric.kernel_regression import KernelReg
    except ModuleNotFoundError as error:
        from core.extras import MissingExtraError

        raise MissingExtraError("demos/core_kernel_view.py", error, "dev") from error
    kinds = "c" * inputs.shape[1]
    rng = np.random.default_rng(0)
    model = KernelReg(targets[:, 0].numpy(), inputs.numpy(), kinds, reg_type="lc", bw="cv_ls", rng=rng)
    return torch.from_numpy(model.fit(queries.numpy())[0])[:, None]


def least_squares(inputs: Tensor, targets: Tensor, queries: Tensor) -> Tensor:
    """Linear regression."""
    from sklearn.linear_model import LinearRegression

    return torch.from_numpy(LinearRegression().fit(inputs.numpy(), targets.numpy()).predict(queries.numpy()))


def average(inputs: Tensor, targets: Tensor, queries: Tensor) -> Tensor:
    """The mean of the training targets."""
    return targets.mean(0).expand(len(queries), 1)


def out_of_fold(x: Tensor, y: Tensor, predict: Predict, folds: int, seed: int) -> float:
    """R^2 of predictions for folds that neither the standardisation nor the bandwidth has seen."""
    from sklearn.model_selection import KFold

    predicted = torch.empty_like(y)
    for train, test in KFold(folds, shuffle=True, random_state=seed).split(x.numpy()):
        mean, sd = x[train].mean(0), x[train].std(0)
        predicted[test] = predict((x[train] - mean) / sd, y[train], (x[test] - mean) / sd)
    return (1 - (predicted - y).square().sum() / (y - y.mean()).square().sum()).item()


def spread(values: Sequence[float]) -> str:
    """Mean ± sd; of one value, the value."""
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def regress(x: Tensor, y: Tensor, features: Sequence[str], folds: int, seeds: int) -> None:
    """Print R^2 of every method."""
    columns = [ALL.index(name) for name in features]
    table: list[tuple[str, Predict, Sequence[str]]] = [
        ("training mean", average, features),
        ("least squares", least_squares, features),
        ("core.attend", attention, features),
        ("statsmodels KernelReg", statsmodels, features),
        ("least squares", least_squares, ALL),
        ("core.attend", attention, ALL),
    ]
    print(f"\nregression: R^2 on test folds, {folds} folds, partitions by {seeds} seed(s), mean ± sd over partitions")
    print(f"| method | features | R^2 | s per fit and prediction |\n|{'---|' * 4}")
    for name, predict, used in table:
        columns = [ALL.index(feature) for feature in used]
        start = time.perf_counter()
        runs = [out_of_fold(x[:, columns], y, predict, folds, seed) for seed in range(seeds)]
        seconds = (time.perf_counter() - start) / (folds * seeds)
        label = "all 10" if used is ALL else ", ".join(used)
        print(f"| {name} | {label} | {spread(runs)} | {seconds:.2f} |", flush=True)


def picture(x: Tensor, y: Tensor, logits: Tensor, found: list[tuple[float, Tensor]], path: Path) -> None:
    """Regression on BMI; weights on a circle by the query's norm; entropy against mean logit."""
    figure = new_figure(14, 4.3)
    first, second, third = figure.subplots(1, 3)
    bmi = x[:, ALL.index("bmi"), None]
    grid = torch.linspace(bmi.min(), bmi.max(), 300, dtype=torch.float64)[:, None]
    chosen = theory.cross_validated_bandwidth(bmi, y).item()
    first.plot(bmi, y, ".", color="lightgrey", markersize=4)
    for h, colour in ((chosen / 8, "C1"), (chosen, "C3"), (8 * chosen, "C0")):
        label = f"h = {h:.2g} kg/m²" + (" (leave-one-out)" if h == chosen else "")
        first.plot(grid, theory.nadaraya_watson(grid, bmi, y, h), color=colour, label=label)
    first.set(xlabel="body-mass index (kg/m²)", ylabel="progression after one year (score)")
    first.set_title("Kernel regression by attend")
    first.legend(fontsize=8)
    angle = torch.linspace(-180, 180, 361, dtype=torch.float64)
    keys = torch.stack([angle.deg2rad().cos(), angle.deg2rad().sin()], dim=1)
    for norm in (1.0, 4.0, 16.0):
        q = torch.tensor([[norm, 0.0]], dtype=torch.float64)
        weights = core.attend(q[None, None], keys[None, None], keys[None, None], scale=1.0, need=("weights",)).weights
        h = theory.effective_bandwidth(torch.tensor(norm), 1.0).item()
        second.plot(angle, weights.flatten() / weights.max(), linewidth=2.5, alpha=0.5, label=f"attend, |q| = {norm:g}")
        chord = (keys - torch.tensor([1.0, 0.0])).square().sum(1)
        second.plot(
            angle,
            torch.exp(-chord / (2 * h**2)),
            "k--",
            linewidth=0.8,
            label="Gaussian kernel, $h = |q|^{-1/2}$" if norm == 16 else None,
        )
    second.set(xlabel="angle between key and query (degrees)", ylabel="weight / largest weight", ylim=(0, 1.45))
    second.set_xticks([-180, -90, 0, 90, 180])
    second.set_title("The query's norm is a bandwidth")
    second.legend(fontsize=8, ncols=2, loc="upper center")
    torch.manual_seed(0)
    random = torch.distributions.Dirichlet(0.5 * torch.ones(len(logits), dtype=torch.float64)).sample((1500,))
    third.plot(random @ logits, -torch.xlogy(random, random).sum(1), ".", color="lightgrey", markersize=3)
    softmaxes = torch.stack(
        [theory.maximum_entropy_weights(logits, t) for t in torch.logspace(-1.5, 2.5, 200).tolist()]
    )
    third.plot(
        softmaxes @ logits,
        -torch.xlogy(softmaxes, softmaxes).sum(1),
        color="C3",
        label="softmax(logits / T), all T > 0",
    )
    for temperature, weights in found:
        point = (weights @ logits, -torch.xlogy(weights, weights).sum())
        third.plot(*point, "ks", markersize=5, label="scipy SLSQP" if temperature == found[0][0] else None)
        third.annotate(f"T = {temperature:g}", point, (6, 4), textcoords="offset points", fontsize=8)
    third.plot([], [], ".", color="lightgrey", label="random distributions")
    third.set(xlabel="mean logit", ylabel="entropy (nats)", title="Softmax has the most entropy for its mean")
    third.set_xlim(right=float(logits.max()) + 0.5)
    third.legend(fontsize=8, loc="lower left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="BMI alone in place of three features, 3 folds, one seed")
    parser.add_argument("--out", type=Path, default=Path("runs/demo_kernel_view"), help="folder of the picture")
    arguments = parser.parse_args()
    seeds, folds, features = (1, 3, ("bmi",)) if arguments.fast else (3, 5, SIMPLE)
    torch.set_num_threads(1)
    import scipy
    import sklearn
    from sklearn.datasets import load_diabetes

    from core.training.data import hash_arrays

    data = load_diabetes(scaled=False)
    assert tuple(data.feature_names) == ALL
    x, y = torch.from_numpy(data.data), torch.from_numpy(data.target)[:, None]
    versions = f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, scipy {scipy.__version__}"
    print(f"attention-suite {core.__version__}, {versions}, 1 thread; seeds 0..{seeds - 1}")
    print(f"diabetes: {len(x)} patients, {hash_arrays(x, y)[:23]}")
    start = time.perf_counter()
    identity(seeds)
    logits = torch.randn(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = entropy(logits)
    regress(x, y, features, folds, seeds)
    path = arguments.out / "kernel_view.png"
    picture(x, y, logits, found, path)
    print(f"\nsaved {path}; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
