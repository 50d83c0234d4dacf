"""Is attention an explanation here? One call that measures it and says so.

References:
    Jain & Wallace, Attention is not explanation, NAACL 2019 (arXiv 1902.10186).
    Wiegreffe & Pinter, Attention is not not explanation, EMNLP 2019 (arXiv 1908.04626).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypedDict

import torch
from torch import Tensor, nn

from .attributions import METHODS, REFERENCE, attribute
from .controls import adversarial_attention, permutation_test, seed_control, uniform_control
from .measured import Accuracy, Agreement, Perturbation
from .perturbation import Curves, deletion_insertion, random_order
from .ranks import bootstrap, kendall, permutation_p, spearman
from .report import FaithfulnessReport
from .subject import Call, Subject, plain_call
from .units import Units
from .verdict import judge


class SearchOptions(TypedDict, total=False):
    """How much effort `faithfulness` makes; see there."""

    random_orders: int
    curve_steps: int | None
    gradient_steps: int
    rank_permutations: int
    weight_permutations: int
    epsilon: float
    adversary_steps: int
    adversary_restarts: int


class FaithfulnessOptions(SearchOptions, total=False):
    """What `faithfulness` takes besides the question itself: its effort, other models and the seed."""

    other_seeds: Sequence[nn.Module]
    uniform_model: nn.Module | None
    seed: int


def faithfulness(
    model: nn.Module,
    inputs: Tensor,
    units: Units,
    *,
    call: Call = plain_call,
    embedding: str | None = None,
    target: Callable[[Tensor], Tensor] | None = None,
    distribution: Callable[[Tensor], Tensor] | None = None,
    layer: str | None = None,
    row: int | Literal["mean"] | None = None,
    labels: Tensor | None = None,
    other_seeds: Sequence[nn.Module] = (),
    uniform_model: nn.Module | None = None,
    random_orders: int = 5,
    curve_steps: int | None = None,
    gradient_steps: int = 32,
    rank_permutations: int = 999,
    weight_permutations: int = 100,
    epsilon: float = 0.01,
    adversary_steps: int = 100,
    adversary_restarts: int = 2,
    seed: int = 0,
) -> FaithfulnessReport:
    """Measure whether a model's attention explains its outputs.

    Ranks the units of every item by attention, rollout, gradient x input and integrated gradients, and compares each
    with leave-one-out: rank correlation, deletion and insertion. Then changes the attention weights (permuted, uniform,
    adversarial) and compares the output; where they are given, compares with models of other seeds and with one trained
    with uniform weights. Rank correlations and the top unit go by magnitude (attention has no sign), deletion and
    insertion by signed value. The rules of the verdict and their reasons are in `core.analysis.faithfulness.verdict`;
    the default is no.

    The model is run in eval() and left as it was; no global random number is drawn. Nothing is retrained here:
    `other_seeds` and `uniform_model` are models that you trained. To train with uniform weights:

        with rewritten(model.get_submodule(layer), uniform_weights):
            ...  # the training loop

    The model needs about n + 2 (random_orders + 5) (curve steps + 1) + weight_permutations forward passes of the whole
    batch, and gradient_steps + adversary_restarts * adversary_steps with backward. The weights of all attention layers
    are held, (B, H, L, L) each.

    Args:
        model: any module with an attention layer that `core.analysis.faithfulness.intervention` knows.
        inputs: the batch: images, embeddings or events; token numbers with `embedding`.
        units: how an input is split into units, and the baseline: `Patches` or `Positions`.
        call: (model, inputs, keep) -> output, where the model takes more than its inputs or a mask; see `Subject`.
        embedding: name of the embedding, where inputs are integers.
        target: output -> one number per item. Default: the log-odds of the class predicted on the intact input, and
            for deletion and insertion its probability.
        distribution: output -> probabilities. Default: softmax, or sigmoid for one logit per item.
        layer: name of the attention layer under test. Default: the last one that runs.
        row: the query whose weights are read, or "mean". Default: of a pooling layer the only one; 0 where units have a
            prefix (the class token); else "mean".
        labels: classes, (B,), for accuracies. The items should not come from training.
        other_seeds: models of this architecture trained with other seeds.
        uniform_model: one trained with uniform weights in this layer, put to use in the same way (it is run so here).
        random_orders: random orders of units to compare with.
        curve_steps: points of the curves; see `deletion_insertion`.
        gradient_steps: of integrated gradients.
        rank_permutations: for the p-values of rank correlations.
        weight_permutations: of the attention weights.
        epsilon: total variation of the output that the adversary may cause (Jain and Wallace: .01 for two classes).
        adversary_steps: of the search, per restart.
        adversary_restarts: starting points of the search.
        seed: of every random draw here.

    Shapes:
        inputs: (B, ...), as the units expect them.

    Raises:
        MissingExtraError: captum is not installed (extra viz).
        TypeError: integer inputs without `embedding`.
        ValueError: see `Subject`; labels of another shape; a uniform_model without labels.
    """
    if labels is not None and labels.shape != inputs.shape[:1]:
        raise ValueError(f"labels: expected one class per item, ({len(inputs)},), got {tuple(labels.shape)}")
    if uniform_model is not None and labels is None:
        raise ValueError("labels: expected classes, as uniform_model is compared by accuracy, got None")
    subject = Subject(
        model,
        inputs,
        units,
        call=call,
        embedding=embedding,
        target=target,
        distribution=distribution,
        layer=layer,
        row=row,
    )
    generator = torch.Generator().manual_seed(seed)
    attributions = attribute(subject, steps=gradient_steps)
    values, effects = attributions.values, attributions.values[REFERENCE].abs()

    agreements = tuple(_agreement(m, values[m].abs(), effects, subject, rank_permutations, generator) for m in METHODS)
    defined = kendall(values["attention"], effects, subject.valid).isnan().logical_not()
    top_share = bootstrap(_top_share(values["attention"], effects, defined, subject), generator)

    random = random_order(subject, orders=random_orders, generator=generator, steps=curve_steps)
    curves = [
        _perturbation(m, deletion_insertion(subject, values[m], steps=curve_steps), random, generator)
        for m in (*METHODS, REFERENCE)
    ]
    curves.append(_perturbation("random", random, None, generator))

    permuted = bootstrap(permutation_test(subject, permutations=weight_permutations, generator=generator), generator)
    uniform_change, uniform_output = uniform_control(subject)
    uniform = bootstrap(uniform_change, generator)
    found = adversarial_attention(
        subject, epsilon=epsilon, steps=adversary_steps, restarts=adversary_restarts, generator=generator
    )
    adversary = bootstrap(found.divergence, generator)
    seeds = bootstrap(seed_control(subject, other_seeds), generator) if other_seeds else None
    accuracy, gain = _accuracy(subject, labels, uniform_output, uniform_model)
    needed = None if gain is None else bootstrap(gain, generator)
    attention_agreement, attention_curve = agreements[0], curves[0]
    assert attention_curve.deletion_gain is not None and attention_curve.insertion_gain is not None
    findings = judge(
        items=int(defined.sum()),
        tau=attention_agreement.tau,
        p=attention_agreement.p,
        top_share=top_share,
        deletion_gain=attention_curve.deletion_gain,
        insertion_gain=attention_curve.insertion_gain,
        permuted=permuted,
        uniform=uniform,
        adversary=adversary,
        seeds=seeds,
        needed=needed,
    )
    return FaithfulnessReport(
        layer=subject.layer,
        row=subject.row,
        items=len(inputs),
        units=int(subject.valid.sum(1).max()),
        baseline=units.baseline_name,
        seed=seed,
        agreements=agreements,
        curves=tuple(curves),
        random_orders=random_orders,
        ranked_items=int(defined.sum()),
        top_share=top_share,
        convergence=(attributions.convergence_delta.median().item(), attributions.convergence_delta.max().item()),
        permuted=permuted,
        uniform=uniform,
        adversary=adversary,
        epsilon=epsilon,
        seeds=seeds,
        seed_models=len(other_seeds),
        accuracy=accuracy,
        needed=needed,
        findings=findings,
        attributions={name: value.cpu() for name, value in values.items()},
    )


def _agreement(
    method: str, magnitude: Tensor, effects: Tensor, subject: Subject, permutations: int, generator: torch.Generator
) -> Agreement:
    """Rank correlation of a method's magnitudes with the effects of removal."""
    return Agreement(
        method,
        bootstrap(kendall(magnitude, effects, subject.valid), generator),
        bootstrap(spearman(magnitude, effects, subject.valid), generator),
        permutation_p(magnitude, effects, subject.valid, generator, permutations),
    )


def _top_share(attention: Tensor, effects: Tensor, defined: Tensor, subject: Subject) -> Tensor:
    """Effect of the most attended unit over the largest effect, (B,); NaN where no ranking is defined.

    Where several units are attended alike, the mean of their effects counts.
    """
    attention = attention.masked_fill(~subject.valid, -torch.inf)
    top = (attention == attention.amax(1, keepdim=True)).to(effects)
    effect = (top * effects).sum(1) / top.sum(1)
    return torch.where(defined, effect / effects.amax(1), torch.nan)


def _perturbation(method: str, curves: Curves, random: Curves | None, generator: torch.Generator) -> Perturbation:
    """Means over items, and the gain over random orders."""
    return Perturbation(
        method,
        tuple(curves.fractions.tolist()),
        tuple(curves.deletion.mean(0).tolist()),
        tuple(curves.insertion.mean(0).tolist()),
        bootstrap(curves.deletion_auc, generator),
        bootstrap(curves.insertion_auc, generator),
        None if random is None else bootstrap(random.deletion_auc - curves.deletion_auc, generator),
        None if random is None else bootstrap(curves.insertion_auc - random.insertion_auc, generator),
    )


def _accuracy(
    subject: Subject, labels: Tensor | None, uniform_output: Tensor, uniform_model: nn.Module | None
) -> tuple[Accuracy | None, Tensor | None]:
    """Accuracies, and item by item what the model has over the one trained with uniform weights."""
    if labels is None:
        return None, None
    labels = labels.to(subject.x.device)

    def right(probabilities: Tensor) -> Tensor:
        return (probabilities.argmax(1) == labels).double()

    own = right(subject.intact_distribution)
    uniform = right(subject.distribution(uniform_output)).mean().item()
    if uniform_model is None:
        return Accuracy(own.mean().item(), uniform, None), None
    other = subject.twin(uniform_model)
    retrained = right(other.distribution(uniform_control(other)[1]))
    return Accuracy(own.mean().item(), uniform, retrained.mean().item()), own - retrained
