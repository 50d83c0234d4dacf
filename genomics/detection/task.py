r"""Tell sequences with a site from those without: binary cross-entropy on a detector's logit.

.. math:: L = -\frac{\sum_b m_b \left(t_b \log p_b + (1 - t_b) \log (1 - p_b)\right)}{\sum_b m_b}, \qquad
          t_b = (1 - \epsilon) y_b + \epsilon / 2

with p the sigmoid of the logit, y the label, epsilon the label smoothing and m the weight of the label's class; in
evaluation epsilon is 0 and every weight 1.

The loss of the training adds, times `diversity`, how much the heads look at the same places: the mean over pairs of
heads of the inner product of their attentions.

References:
    Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7 (label smoothing). Lin et al., A
    structured self-attentive sentence embedding, ICLR 2017, section 2.2 (the penalty; there the norm of A A^T - I).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from core.training import StepOutput, Task, by_name, checked_names, classification_metrics, keep, renamed

from ..detector.cnn import MotifCNN
from ..detector.model import Look, MotifDetector, top_site
from .baselines import BASELINES, fit_baselines
from .data.base import SequenceDataModule
from .data.batch import SequenceBatch

MODELS: dict[str, type[MotifDetector] | type[MotifCNN]] = {"attention": MotifDetector, "cnn": MotifCNN}
"""What `model_name` names."""


class MotifDetectionTask(Task):
    """Which sequences hold a site: heads that attend to motifs, or a convolutional network of the same size.

    No motif is given to the model. The matrices that the data's option `motif` names serve a baseline alone.

    Args:
        model_name: "attention" (`MotifDetector`), also where it is None, or "cnn" (`MotifCNN`).
        model_options: Its arguments, such as {features: 32, heads: 6}.
        label_smoothing: epsilon.
        positive_weight: m of class 1, with that of class 0 being 1; "balanced" is negatives over positives of the
            training part, which a `SequenceDataModule` says.
        diversity: Weight of the penalty on heads that look at the same places; for "attention" alone.
        baselines: What testing also fits, among `BASELINES`: logistic regression on 4-mers and on 6-mers of both
            strands, and the scan with known matrices where the data name any. None: all; [] none.
        architecture: Former name of `model_name`.
        architecture_options: Former name of `model_options`.
        baseline: Former name of `baselines`: false is [].
        options: Of the optimisation, see `core.training.Task`.

    Attributes:
        training_length: Letters of the longest sequence that it was trained on, kept in the checkpoint; 0 where the
            data were no `SequenceDataModule`, and before.

    Raises:
        ValueError: An argument is out of range.
    """

    model: MotifDetector | MotifCNN
    class_weight: Tensor
    training_length: Tensor
    data_type = SequenceDataModule
    batch_type = SequenceBatch
    batches_from = "genomics.SequenceArrayData"
    former_options: ClassVar[dict[str, str]] = {
        "architecture": "model_name",
        "architecture_options": "model_options",
        "baseline": "baselines",
    }

    def __init__(
        self,
        model_name: str | None = None,
        model_options: dict[str, Any] | None = None,
        label_smoothing: float = 0.0,
        positive_weight: float | str | None = None,
        diversity: float = 0.0,
        baselines: list[str] | None = None,
        architecture: str | None = None,
        architecture_options: dict[str, Any] | None = None,
        baseline: bool | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        owner = type(self).__name__
        model_name = renamed(owner, "architecture", architecture, "model_name", model_name) or "attention"
        model_options = renamed(owner, "architecture_options", architecture_options, "model_options", model_options)
        none_asked: list[str] | None = [] if baseline is False else None
        baselines = renamed(owner, "baseline", none_asked, "baselines", baselines)
        keep(self.hparams, "model_name", model_name, "architecture")
        keep(self.hparams, "model_options", model_options, "architecture_options")
        keep(self.hparams, "baselines", baselines, "baseline")
        if model_name not in MODELS:
            raise ValueError(f"model_name: expected one of {sorted(MODELS)}, got {model_name!r}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: expected 0 <= epsilon < 1, got {label_smoothing}")
        balanced = positive_weight == "balanced"
        weight = 1.0 if positive_weight is None or balanced else positive_weight
        if isinstance(weight, str) or not weight > 0:
            raise ValueError(
                f"positive_weight: expected a positive number, 'balanced' or None, got {positive_weight!r}"
            )
        if not diversity >= 0 or (diversity and model_name != "attention"):
            raise ValueError(f"diversity: expected at least 0, and 0 for {model_name!r} without heads, got {diversity}")
        self.model_name, self.model_options = model_name, dict(model_options or {})
        self.label_smoothing, self.diversity, self.positive_weight = label_smoothing, diversity, positive_weight
        self.baseline_names = checked_names(baselines, BASELINES)
        self.build({})
        self.register_buffer("class_weight", torch.tensor([1.0, float(weight)]))
        self.register_buffer("training_length", torch.tensor(0))
        self.use_metrics(classification_metrics(2), main="auroc", mode="max")

    def build(self, known: Mapping[str, Any]) -> None:
        """Make the model; it needs nothing of the data."""
        kind = MODELS[self.model_name]
        try:
            self.model = kind(**self.model_options)
        except TypeError as error:
            raise ValueError(
                f"model_options: expected options of {kind.__name__}, got {self.model_options}: {error}"
            ) from error

    def adapt_to(self, data: SequenceDataModule) -> None:
        """Note the longest training sequence, and the weight of the positives if it is to balance the classes."""
        if not self.trainer.training or data.plain_train_set is None:
            return
        self.training_length.fill_(max(map(len, data.plain_train_set.letters())))
        if self.positive_weight == "balanced":
            targets = data.plain_train_set.targets()
            ratio = data.ratio if data.shuffled_train else (targets == 0).sum() / (targets == 1).sum()
            self.class_weight[1] = float(ratio)

    def on_fit_start(self) -> None:
        """Refuse to balance the classes of data that do not say how many items each has.

        Raises:
            ValueError: They do not.
        """
        if self.positive_weight == "balanced" and self.data_module is None:
            raise ValueError("positive_weight: expected a number without a SequenceDataModule, got 'balanced'")

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (B,) of one-hot sequences (B, L, 4)."""
        logits: Tensor = self.model(x, lengths)
        return logits

    def shared_step(self, batch: SequenceBatch, stage: str) -> StepOutput:
        """Loss and probabilities of a batch."""
        target = batch.label.to(batch.x.dtype)
        padded = bool((batch.lengths != batch.x.shape[1]).any())
        lengths = batch.lengths if padded else None  # where nothing is padded: the same numbers, sooner
        if stage != "train":
            logits = self(batch.x, lengths).float()
            return StepOutput(F.binary_cross_entropy_with_logits(logits, target), logits.sigmoid(), batch.label)
        penalty: Tensor | float = 0.0
        if self.diversity:
            look = self._look(batch.x, lengths)
            logits, penalty = look.logits, self.diversity * overlap(look.attention)
        else:
            logits = self(batch.x, lengths)
        smoothed = target * (1 - self.label_smoothing) + self.label_smoothing / 2
        each = F.binary_cross_entropy_with_logits(logits.float(), smoothed, reduction="none")
        weight = self.class_weight[batch.label]
        return StepOutput((weight * each).sum() / weight.sum() + penalty, size=len(target))

    def predict_step(self, batch: SequenceBatch, batch_idx: int = 0) -> Mapping[str, Any]:
        """Identifier, label (if known), probability, and the place that adds most to the logit.

        The site's position is that of the attention's peak, from 0 on the given strand; a head may stand some bases
        beside the middle of its motif.
        """
        table: dict[str, Any] = {"id": self.names_of(batch.index)}
        if (batch.label >= 0).all():
            table["label"] = batch.label
        if not isinstance(self.model, MotifDetector):
            return table | {"probability": self(batch.x, batch.lengths).float().sigmoid()}
        look = self.model.look(batch.x, batch.lengths)
        site = top_site(look)
        return table | {
            "probability": look.logits.float().sigmoid(),
            "site_position": site.position,
            "site_strand": ["+-"[int(strand)] for strand in site.strand],
            "site_head": site.head,
            "site_weight": site.weight,
        }

    def baselines(self, stage: str) -> Mapping[str, Mapping[str, float]]:
        """k-mer regressions and the scan with known matrices, on the same parts; choices are made on validation."""
        data = self.data_module
        if stage != "test" or not isinstance(data, SequenceDataModule) or data.test_set is None:
            return {}
        return by_name(fit_baselines(data, self.baseline_names), stage)

    def _look(self, x: Tensor, lengths: Tensor | None) -> Look:
        assert isinstance(self.model, MotifDetector)
        return self.model.look(x, lengths)


def overlap(attention: Tensor) -> Tensor:
    r"""How much heads look at the same places: the mean over items and pairs h < g of sum_sl a_hsl a_gsl, in 0 .. 1.

    Args:
        attention: See `Look`.

    Shapes:
        attention: (B, 2, H, L)
        answer: ()
    """
    heads = attention.shape[2]
    a = attention.transpose(1, 2).flatten(2)
    inner = a @ a.transpose(1, 2)
    return torch.triu(inner, diagonal=1).sum((1, 2)).mean() / max(heads * (heads - 1) / 2, 1)
