r"""Predict outcomes from health records: events up to a prediction time in, calibrated probabilities out.

.. math:: L = M(z) + \lambda \, (M(z_\text{events}) + M(z_\text{summary})), \qquad M = L_o + \mu \, L_a

with L_o the loss of the outcome (`outcomes`) and L_a that of further outcomes, if the data have any (`auxiliary`). The
first `pretrain_epochs` epochs learn to forecast the events of the next hours (`pretrain`) and see no target; the others
learn the outcome. All that is fitted (vocabulary, quantiles, intervals, class weights) comes from the training part,
the temperature from the validation part, and everything goes into the checkpoint.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from core.layers import evaluating
from core.training import StepOutput

from ..events.batches import EventBatch
from ..events.samples import EventSamples
from ..events.summary import SummaryFeatures
from ..events.trained_on import RemembersSubjects
from ..events.vocabulary import Vocabulary
from ..probabilities.outcomes import Outcome
from ..probabilities.recalibration import Recalibration
from .auxiliary import AuxiliaryLoss
from .baselines.scores import tabular_scores
from .model.model import EventModel, EventOutput
from .model.pretrain import Forecast, idle_parameters, take_encoder
from .model.summary_branch import summary_columns
from .model.tokens import EncodedEvents, Tokenizer
from .model.values import NormalScores
from .recalibrated import RecalibratedTask


class Encoded(NamedTuple):
    """A set of samples as the model takes them: tokens, and summary columns (N, 3, F) or None."""

    tokens: EncodedEvents
    summary: Tensor | None


class EventClassificationTask(RecalibratedTask, RemembersSubjects):
    """Which outcome follows a record: binary, multiclass, multilabel, or the time to an event.

    What is None at the end of the list is taken from the data when training begins, and kept in the checkpoint.

    Args:
        unit: What makes a token: "bin", "code_bin", "timestamp" or "event", see `Tokenizer`.
        bin_hours: Width of a bin in hours, or several widths: tokens of each.
        values: False for counts alone, an ablation.
        shuffle_times: Seed by which the times of each sample's events are dealt out anew, an ablation.
        summary: Statistics per code for the summary branch, see `SummaryFeatures`; [] for events alone.
        architecture: Options of `EventModel`, such as {dim: 64, half_lives: [1, 48], fusion: gate}.
        branch_weight: lambda, the weight of the branches' own losses.
        auxiliary_weight: mu, the weight of further outcomes that the data have; 0 for the target alone.
        class_weight: "balanced", or null. Weights make probabilities too high for rare classes, by a shift of the
            logits that no temperature undoes; an isotonic regression does.
        intervals: For a time to event: how many.
        pretrain_epochs: Epochs of self-supervision; their validations do not count for best.ckpt and early stopping.
        pretrain_hours: Length of the window that is forecast.
        pretrain_lr: Peak learning rate of these epochs; None for `lr`.
        pretrained: A checkpoint of this task whose tokens and encoder training begins with, such as one that was
            pretrained on the same training part; heads begin anew.
        recalibrate: "temperature", or "isotonic" for a binary outcome, fitted on the validation part after each of its
            passes that count, unless it holds one class alone; None for none.
        temperature: What logits are divided by where nothing is fitted, such as one found by cross-validation.
        baselines: Put logistic regression, gradient boosting and their blend beside the test metrics.
        codes: The vocabulary.
        static_names: The static columns.
        static_flags: Those of them that are flags, see `Vocabulary`; None in checkpoints from before.
        kind: Of the target.
        names: Of the classes, labels or intervals.
        edges: Ends of the intervals in hours.
        auxiliary_names: Of the further outcomes.
        options: Of the optimisation, see `core.training.Task`.

    Raises:
        ValueError: An argument is out of range or does not fit the data.
    """

    scores: NormalScores
    summary_scores: NormalScores | None

    def __init__(
        self,
        unit: str = "bin",
        bin_hours: float | list[float] = 4.0,
        values: bool = True,
        shuffle_times: int | None = None,
        summary: list[str] | None = None,
        architecture: dict[str, Any] | None = None,
        branch_weight: float = 0.5,
        auxiliary_weight: float = 0.5,
        class_weight: str | None = None,
        intervals: int = 10,
        pretrain_epochs: int = 0,
        pretrain_hours: float = 6.0,
        pretrain_lr: float | None = None,
        pretrained: str | None = None,
        recalibrate: str | None = "temperature",
        temperature: float = 1.0,
        baselines: bool = True,
        codes: list[str] | None = None,
        static_names: list[str] | None = None,
        static_flags: list[str] | None = None,
        kind: str | None = None,
        names: list[str] | None = None,
        edges: list[float] | None = None,
        auxiliary_names: list[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for name, weight in (("branch_weight", branch_weight), ("auxiliary_weight", auxiliary_weight)):
            if not weight >= 0:
                raise ValueError(f"{name}: expected at least 0, got {weight}")
        if class_weight not in ("balanced", None):
            raise ValueError(f"class_weight: expected 'balanced' or null, got {class_weight!r}")
        if recalibrate not in ("temperature", "isotonic", None):
            raise ValueError(f"recalibrate: expected 'temperature', 'isotonic' or null, got {recalibrate!r}")
        if pretrain_epochs < 0:
            raise ValueError(f"pretrain_epochs: expected at least 0, got {pretrain_epochs}")
        self.tokenizer = Tokenizer(unit, bin_hours, values=values, shuffle=shuffle_times)  # type: ignore[arg-type]
        self.statistics = list(SummaryFeatures.DEFAULT) if summary is None else summary
        self.architecture = dict(architecture or {})
        self.branch_weight, self.auxiliary_weight = branch_weight, auxiliary_weight
        self.class_weight, self.intervals = class_weight, intervals
        self.pretrain_epochs, self.pretrain_hours, self.pretrain_lr = pretrain_epochs, pretrain_hours, pretrain_lr
        self.pretrained, self.use_baselines = pretrained, baselines
        self.recalibrate_by(Recalibration(temperature), recalibrate)
        self.vocabulary: Vocabulary | None = None
        self.outcome: Outcome | None = None
        self.features: SummaryFeatures | None = None
        self._encoded: tuple[EventSamples, Encoded] | None = None
        if codes is not None and kind is not None and names is not None:
            outcome = Outcome(kind, tuple(names), tuple(edges or ()))  # type: ignore[arg-type]
            flags = None if static_flags is None else tuple(static_flags)
            vocabulary = Vocabulary(tuple(codes), tuple(static_names or ()), flags)
            self._build(vocabulary, outcome, tuple(auxiliary_names or ()))

    def _build(self, vocabulary: Vocabulary, outcome: Outcome, auxiliary: tuple[str, ...] = ()) -> None:
        self.vocabulary, self.outcome, self.auxiliary_names = vocabulary, outcome, auxiliary
        features = len(vocabulary.codes) + len(vocabulary.static_names)
        self.scores, self.summary_scores, summaries = NormalScores(features), None, 0
        if self.statistics:
            self.features = SummaryFeatures(vocabulary.codes, vocabulary.static_names, self.statistics)
            summaries = len(self.features.names)
            self.summary_scores = NormalScores(summaries)
        self.register_buffer("weight", torch.ones(1 if outcome.kind == "binary" else outcome.outputs))
        scales = len(self.tokenizer.widths)
        self.auxiliary_loss = AuxiliaryLoss(auxiliary) if auxiliary else None
        self.model = EventModel(features, outcome.outputs, summaries, scales, len(auxiliary), **self.architecture)
        if self.pretrain_epochs:
            self.forecast = Forecast(self.model.dim, len(vocabulary.codes), self.pretrain_hours)
        metrics, main = outcome.metrics()
        self.use_metrics(metrics, main=main, mode="max")

    def adapt_to(self, data: Any) -> None:
        """Take from the data what is not known yet; in training, fit what is fitted, on the training part.

        Raises:
            ValueError: The data lack what the model needs, or have what it does not know; an option does not fit them.
        """
        self._encoded = None
        if "train" not in data.samples and (self.vocabulary is None or self.trainer.training):
            why = "train on" if self.trainer.training else "know the model by (or give a ckpt_path)"
            hint = "; all_test leaves none" if data.all_test else ""
            raise ValueError(f"{type(data).__name__}: expected a training part to {why}, got none{hint}")
        if self.vocabulary is None:
            train = data.samples["train"]
            auxiliary = train.auxiliary_names if self.auxiliary_weight else ()
            self._build(data.vocabulary, Outcome.of(train, self.intervals), auxiliary)
            assert self.outcome is not None
            flags = data.vocabulary.static_flags
            known = {
                "codes": list(data.vocabulary.codes),
                "static_names": list(data.vocabulary.static_names),
                "static_flags": None if flags is None else list(flags),
                "kind": self.outcome.kind,
                "names": list(self.outcome.names),
                "edges": list(self.outcome.edges),
                "auxiliary_names": list(auxiliary),
            }
            for name, value in known.items():
                self.hparams[name] = value
        else:
            data.use_vocabulary(self.vocabulary)
        assert self.outcome is not None
        data.use_outcome(self.outcome)
        if self.trainer.training:
            self.check_epochs()
            if self.recalibrate is not None:
                Recalibration.check(self.recalibrate, self.outcome)
            self.trained_on = data.trained_on()
            self.fit_scores(data.samples["train"])
            if self.pretrained is not None:
                take_encoder(self.model, self.pretrained, self.vocabulary)

    def fit_scores(self, train: EventSamples) -> None:
        """Fit quantiles and class weights on training samples."""
        assert self.outcome is not None
        self.tokenizer.fit(train, self.scores)
        if self.features is not None and self.summary_scores is not None:
            self.summary_scores.fit_columns(self.features(train))
        if self.class_weight == "balanced":
            self.weight.copy_(torch.tensor(self.outcome.balance(train.target)))
        if self.auxiliary_loss is not None:
            if train.auxiliary_names != self.auxiliary_names:
                raise ValueError(
                    f"auxiliary_names: expected {', '.join(self.auxiliary_names)}, as the model learned, the data have "
                    f"{', '.join(train.auxiliary_names) or 'none'}"
                )
            self.auxiliary_loss.fit(train.auxiliary)

    def setup(self, stage: str) -> None:
        """Refuse to go on without a model (the data have had their chance in `adapt_to`)."""
        if self.vocabulary is None:
            raise ValueError("codes, kind, names: expected values, or one of our event data modules, got None")

    def encode(self, samples: EventSamples) -> Encoded:
        """Samples in the model's vocabulary, as the model takes them.

        Raises:
            ValueError: Their codes or static columns are not the model's, in its order.
        """
        assert self.vocabulary is not None
        _check_names("codes", self.vocabulary.codes, samples.codes)
        _check_names("static_names", self.vocabulary.static_names, samples.static_names)
        tokens = self.tokenizer.encode(samples, self.scores)
        if self.features is None or self.summary_scores is None:
            return Encoded(tokens, None)
        table = self.features(samples)
        if not self.tokenizer.values:  # counts alone: of the summary only what holds no value
            table = np.where([name.endswith((":count", ":since_last")) for name in self.features.names], table, np.nan)
        return Encoded(tokens, summary_columns(self.summary_scores, table))

    def forward(self, encoded: Encoded, index: Tensor) -> EventOutput:
        """Logits of the samples at these places."""
        tokens = encoded.tokens.batch(index.cpu())
        tokens = type(tokens)(*(column.to(self.device) for column in tokens))
        return self.model(tokens, None if encoded.summary is None else encoded.summary[index.cpu()].to(self.device))

    @property
    def whole(self) -> Encoded:
        """The data module's samples, encoded when they are first asked for (with the weights that are loaded then)."""
        samples = self.trainer.datamodule.whole
        if self._encoded is None or self._encoded[0] is not samples:
            self._encoded = (samples, self.encode(samples))
        return self._encoded[1]

    def idle(self) -> Iterable[nn.Parameter]:
        """The heads of the other phase."""
        return idle_parameters(self.model, self.forecast, self.pretraining) if self.pretrain_epochs else ()

    def shared_step(self, batch: EventBatch, stage: str) -> StepOutput:
        """Loss and predictions of a batch."""
        assert self.outcome is not None
        if stage == "train" and self.pretraining:
            tokens = self.whole.tokens.batch(batch.index.cpu())
            loss, size = self.forecast(self.model, type(tokens)(*(column.to(self.device) for column in tokens)))
            return StepOutput(loss, size=max(size, 1))
        out = self(self.whole, batch.index)
        if stage == "train":
            return StepOutput(self.training_loss(out, batch), size=len(batch.index))
        if stage == "val":
            self.keep_for_calibration(out.logits, batch.target)
        loss = self.outcome.loss(out.logits, batch.target)
        prediction, target = self.outcome.metric_inputs(self.outcome.probabilities(out.logits), batch.target)
        return StepOutput(loss, prediction, target)

    def training_loss(self, out: EventOutput, batch: EventBatch) -> Tensor:
        """L of a batch, see the top of this file."""
        assert self.outcome is not None
        heads = [head for head in (out.logits, out.events, out.summary) if head is not None]
        losses = [self.outcome.loss(head, batch.target, self.weight) for head in heads]
        if self.auxiliary_loss is not None and out.auxiliary is not None:
            known = torch.from_numpy(self.trainer.datamodule.whole.auxiliary[batch.index.cpu()]).to(self.device)
            further = [self.auxiliary_loss(logits, known) for logits in out.auxiliary.unbind(1)]
            losses = [a + self.auxiliary_weight * b for a, b in zip(losses, further, strict=True)]
        return losses[0] + self.branch_weight * sum(losses[1:], torch.zeros((), device=self.device))

    @torch.no_grad()
    def logits_of(self, samples: EventSamples, batch_size: int = 512) -> EventOutput:
        """Logits of any samples in the model's vocabulary, in evaluation mode, see `encode`."""
        encoded = self.encode(samples)
        with evaluating(self):
            outs = [self(encoded, index) for index in torch.arange(len(samples)).split(batch_size)]
        columns = zip(*outs, strict=True)
        return EventOutput(*(None if column[0] is None else torch.cat(column).cpu() for column in columns))

    def predict_step(self, batch: EventBatch, batch_idx: int = 0) -> Mapping[str, Any]:
        """Sample and prediction time, target, and the calibrated probability of each class, label or interval."""
        assert self.outcome is not None
        probabilities = self.probabilities(self(self.whole, batch.index).logits)
        table: dict[str, Any] = self.trainer.datamodule.keys_of(batch.index)
        if self.outcome.kind == "time_to_event":
            table |= {"duration_h": batch.target[:, 0], "event": batch.target[:, 1]}
        elif self.outcome.kind == "multilabel":
            table |= {f"target_{name}": batch.target[:, k] for k, name in enumerate(self.outcome.names)}
        else:
            table["target"] = batch.target
        columns: Sequence[Tensor] = probabilities[:, None].unbind(1) if probabilities.ndim == 1 else probabilities.T
        return table | {f"probability_{name}": p for name, p in zip(self.outcome.names, columns, strict=True)}

    def baselines(self, stage: str) -> Mapping[str, Mapping[str, float]]:
        """Logistic regression, gradient boosting and their blend on summary features of the same split."""
        data = getattr(self.trainer, "datamodule", None)
        if not self.use_baselines or stage != "test" or data is None or "train" not in data.samples:
            return {}  # with all_test there is nothing to fit them on
        assert self.outcome is not None
        found = tabular_scores(self.outcome, data.samples["train"], data.samples[stage])
        return {name: {f"{stage}/{metric}": x for metric, x in scores.items()} for name, scores in found.items()}


def _check_names(argument: str, known: Sequence[str], found: Sequence[str]) -> None:
    """Compare names and their order, which say what the columns are."""
    if tuple(known) == tuple(found):
        return
    for k, (ours, theirs) in enumerate(zip(known, found, strict=False)):
        if ours != theirs:
            raise ValueError(f"{argument}: expected {ours!r} at place {k}, as the model learned, got {theirs!r}")
    raise ValueError(f"{argument}: expected {len(known)}, as the model learned, got {len(found)}")
