"""Attention as kernel regression, and softmax as the answer to a maximum-entropy problem."""

import torch
from torch import Tensor

from ... import masks
from ...attend import attend
from ...scores import Gaussian


def nadaraya_watson(queries: Tensor, inputs: Tensor, targets: Tensor, bandwidth: float | Tensor) -> Tensor:
    """Kernel regression with a Gaussian kernel, as one call of `attend`.

        f(x) = sum_j K((x - x_j) / h) y_j / sum_j K((x - x_j) / h),  K(u) = exp(-|u|^2 / 2)

    It is attention with the score -|q - k|^2 / 2 and temperature h^2; a bandwidth for every feature divides queries and
    keys instead. Softmax shifts the logits, so a point far from all data takes the value of the nearest one where the
    plain quotient is 0 / 0.

    Args:
        queries: where to evaluate.
        inputs: the data's x_j.
        targets: the data's y_j.
        bandwidth: h, one for all features or one for each, in the features' units; may require grad.

    Shapes:
        queries: (m, d); inputs: (n, d); targets: (n, p); bandwidth: () or (d,); out: (m, p).

    Raises:
        ValueError: shapes that do not go together, or a bandwidth that is not positive.

    References:
        Nadaraya, On estimating regression, 1964; Watson, Smooth regression analysis, 1964.
        Tsai et al., Transformer dissection, EMNLP 2019, section 3.
    """
    h = _bandwidths(inputs, targets, bandwidth)
    if queries.dim() != 2 or queries.shape[1] != inputs.shape[1]:
        raise ValueError(f"queries: expected (m, {inputs.shape[1]}), got {tuple(queries.shape)}")
    q, k, v = (x[None, None] for x in (queries / h, inputs / h, targets))
    return attend(q, k, v, score=Gaussian())[0, 0]


def leave_one_out(inputs: Tensor, targets: Tensor, bandwidth: float | Tensor) -> Tensor:
    """Kernel regression at every data point from all the others: `nadaraya_watson` behind a mask that forbids i = j.

    The mean squared error of its answer is the criterion of least-squares cross-validation. It has a gradient with
    respect to the bandwidths.

    Args:
        inputs: the data's x_j, at least two.
        targets: the data's y_j.
        bandwidth: h, one for all features or one for each, in the features' units; may require grad.

    Shapes:
        inputs: (n, d); targets: (n, p); bandwidth: () or (d,); out: (n, p).

    Raises:
        ValueError: As `nadaraya_watson`; fewer than two points.
    """
    h = _bandwidths(inputs, targets, bandwidth)
    if len(inputs) < 2:
        raise ValueError(f"inputs: expected at least 2 rows, got {len(inputs)}")
    q, v = (inputs / h)[None, None], targets[None, None]
    others = ~torch.eye(len(inputs), dtype=torch.bool, device=inputs.device)
    return attend(q, q, v, score=Gaussian(), mask=masks.Dense(others[None, None]))[0, 0]


def cross_validated_bandwidth(inputs: Tensor, targets: Tensor, steps: int = 100) -> Tensor:
    """A bandwidth for every feature by least-squares cross-validation: the least mean squared error of `leave_one_out`.

    L-BFGS on the logarithms, from the rule of thumb h = 1.06 sigma n^(-1 / (4 + d)). The criterion may have several
    minima; this answers one. The bandwidth of a feature that does not help grows without end, which `steps` ends.

    Args:
        inputs: the data's x_j, no feature constant.
        targets: the data's y_j.
        steps: of L-BFGS, at most.

    Shapes:
        inputs: (n, d); targets: (n, p); out: (d,), in the features' units.

    Raises:
        ValueError: As `leave_one_out`, or a feature is constant.

    References:
        Haerdle and Marron, Optimal bandwidth selection in nonparametric regression function estimation, 1985.
    """
    n, d = inputs.shape
    sigma = inputs.std(0)
    if not (sigma > 0).all():
        raise ValueError(f"inputs: expected no constant feature, got one in column {int((~(sigma > 0)).nonzero()[0])}")
    log_h = (1.06 * sigma * n ** (-1 / (4 + d))).log().requires_grad_()
    size = (targets - targets.mean(0)).square().mean()
    optimizer = torch.optim.LBFGS([log_h], max_iter=steps, line_search_fn="strong_wolfe")

    def criterion() -> Tensor:
        optimizer.zero_grad()
        loss = (leave_one_out(inputs, targets, log_h.exp()) - targets).square().mean() / size
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return loss

    optimizer.step(criterion)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    found: Tensor = log_h.detach().exp()
    return found


def effective_bandwidth(query_norm: Tensor, scale: float = 1.0, temperature: float = 1.0) -> Tensor:
    """Bandwidth of dot-product attention over keys of norm 1, seen as a kernel on the sphere.

        scale * q . k / temperature = const - |q / |q| - k|^2 / (2 h^2)  with  h^2 = temperature / (scale * |q|)

    So the temperature is a squared bandwidth and the query's norm adapts it: a long query looks at few keys. 1 / h^2 is
    the concentration kappa of a von Mises-Fisher kernel.

    Args:
        query_norm: |q|.
        scale: of the dot product; `core.attend` takes D ** -0.5 where none is given.
        temperature: of the softmax.

    Shapes:
        query_norm: (...); out: (...).

    Raises:
        ValueError: scale or temperature is not positive.
    """
    if not scale > 0 or not temperature > 0:
        raise ValueError(f"scale and temperature: expected positive numbers, got {scale} and {temperature}")
    return (temperature / (scale * query_norm)).sqrt()


def free_energy(weights: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """What attention maximises: F(w) = sum_j w_j logit_j + T * entropy(w), with 0 ln 0 = 0.

    Args:
        weights: a distribution over the keys.
        logits: before the temperature; -inf forbids a key, which costs -inf unless its weight is 0.
        temperature: T.

    Shapes:
        weights: (..., L); logits: (..., L); out: (...).
    """
    gain = torch.where(weights == 0, 0.0, weights * logits)
    return gain.sum(-1) - temperature * torch.xlogy(weights, weights).sum(-1)


def maximum_entropy_weights(logits: Tensor, temperature: float) -> Tensor:
    """The distribution that maximises `free_energy`: w = softmax(logits / T).

    Among all distributions with the same mean logit it has the largest entropy, and T is the Lagrange multiplier of
    that constraint. The maximum is T * logsumexp(logits / T).

    Args:
        logits: -inf forbids a key.
        temperature: T, above 0.

    Shapes:
        logits: (..., L); out: (..., L).

    Raises:
        ValueError: temperature is not positive.

    References:
        Jaynes, Information theory and statistical mechanics, 1957, section 2.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: expected a positive number, got {temperature}")
    return torch.softmax(logits / temperature, dim=-1)


def temperature_for_mean(logits: Tensor, mean: float) -> float:
    """Temperature at which the weights of `maximum_entropy_weights` give the logits this mean.

    The mean falls as T grows, from the maximum at T = 0 to the plain average at infinity: bisection on 1 / T.

    Args:
        logits: finite, not all equal.
        mean: strictly between the plain average and the maximum of the logits.

    Shapes:
        logits: (L,).

    Raises:
        ValueError: mean is out of reach at a positive temperature.
    """
    x = logits.double()
    average, top = x.mean().item(), x.max().item()
    if logits.dim() != 1 or not average < mean < top:
        raise ValueError(f"mean: expected a number between {average:.6g} and {top:.6g}, got {mean}")

    def reached(inverse: float) -> float:
        return (torch.softmax(x * inverse, dim=-1) * x).sum().item()

    low, high = 0.0, 1.0 / (top - average)
    while reached(high) < mean and high < 1e300:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) < mean else (low, middle)
    return 2 / (low + high)


def _bandwidths(inputs: Tensor, targets: Tensor, bandwidth: float | Tensor) -> Tensor:
    """Check the data and answer the bandwidth as a tensor."""
    if inputs.dim() != 2:
        raise ValueError(f"inputs: expected (n, d), got {tuple(inputs.shape)}")
    if targets.dim() != 2 or len(targets) != len(inputs):
        raise ValueError(f"targets: expected ({len(inputs)}, p), got {tuple(targets.shape)}")
    h = torch.as_tensor(bandwidth, dtype=inputs.dtype, device=inputs.device)
    if h.shape not in ((), (inputs.shape[1],)):
        raise ValueError(f"bandwidth: expected a number or ({inputs.shape[1]},), got {tuple(h.shape)}")
    if not (h > 0).all():
        raise ValueError(f"bandwidth: expected positive numbers, got {h.min().item()}")
    return h
