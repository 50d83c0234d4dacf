r"""Predict outcomes from health records: events up to a prediction time in, calibrated probabilities out.

.. math:: L = M(z) + \lambda \, (M(z_\text{events}) + M(z_\text{summary})), \qquad M = L_o + \mu \, L_a

with L_o the loss of the outcome (`outcomes`) and L_a that of further outcomes, if the data have any (`auxiliary`). The
first `pretrain_epochs` epochs learn to forecast the events of the next hours (`pretrain`) and see no target; the others
learn the outcome. All that is fitted (vocabulary, quantiles, intervals, class weights) comes from the training part,
the temperature from the validation part, and everything goes into the checkpoint.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from core.training import StepOutput, by_name, checked_names, keep, renamed

from ..events.batches import EventBatch
from ..events.samples import EventSamples
from ..events.summary import SummaryFeatures
from ..events.trained_on import RemembersSubjects
from ..events.vocabulary import Vocabulary
from ..probabilities.outcomes import Kind, Outcome
from ..probabilities.recalibration import Recalibration
from .auxiliary import AuxiliaryLoss
from .baselines.scores import METHODS, tabular_results
from .data.base import EventDataModule
from .encoding import EncodingTask
from .model.model import EventModel, EventOutput
from .model.pretrain import Forecast, idle_parameters, take_encoder
from .model.tokens import Tokenizer
from .model.values import NormalScores
from .outcomes import outcome_of


class EventClassificationTask(EncodingTask, RemembersSubjects):
    """Which outcome follows a record: binary, multiclass, multilabel, or the time to an event.

    What is None at the end of the list is taken from the data when training begins, and kept in the checkpoint.

    Args:
        unit: What makes a token: "bin", "code_bin", "timestamp" or "event", see `Tokenizer`.
        bin_hours: Width of a bin in hours, or several widths: tokens of each.
        values: False for counts alone, an ablation.
        shuffle_times: Seed by which the times of each sample's events are dealt out anew, an ablation.
        summary: Statistics per code for the summary branch, see `SummaryFeatures`; [] for events alone.
        model_name: "attention", or "gru" of about as many parameters; None is attention.
        model_options: Of `EventModel`, such as {dim: 64, half_lives: [1, 48], fusion: gate}.
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
        baselines: Methods beside the test metrics, of "logistic_regression", "gradient_boosting" and "blend"; None or
            true for all of them, [] or false for none.
        codes: The vocabulary.
        static_names: The static columns.
        static_flags: Those of them that are flags, see `Vocabulary`; None in checkpoints from before.
        kind: Of the target.
        names: Of the classes, labels or intervals.
        edges: Ends of the intervals in hours.
        auxiliary_names: Of the further outcomes.
        architecture: Former name of `model_options`; what stands here is laid over it.
        options: Of the optimisation, see `core.training.Task`.

    Raises:
        ValueError: An argument is out of range or does not fit the data.
    """

    data_type = EventDataModule
    batch_type = EventBatch
    batches_from = "timeseries.EventArrayData"
    known_by_data = ("codes", "kind", "names")
    former_options: ClassVar[Mapping[str, str]] = {"architecture": "model_options"}

    weight: Tensor

    def __init__(
        self,
        unit: str = "bin",
        bin_hours: float | list[float] = 4.0,
        values: bool = True,
        shuffle_times: int | None = None,
        summary: list[str] | None = None,
        model_name: Literal["attention", "gru"] | None = None,
        model_options: dict[str, Any] | None = None,
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
        baselines: list[str] | bool | None = None,
        codes: list[str] | None = None,
        static_names: list[str] | None = None,
        static_flags: list[str] | None = None,
        kind: Kind | None = None,
        names: list[str] | None = None,
        edges: list[float] | None = None,
        auxiliary_names: list[str] | None = None,
        architecture: dict[str, Any] | None = None,
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
        self._choose_model(model_name, model_options, architecture)
        self.branch_weight, self.auxiliary_weight = branch_weight, auxiliary_weight
        self.class_weight, self.intervals = class_weight, intervals
        self.pretrain_epochs, self.pretrain_hours, self.pretrain_lr = pretrain_epochs, pretrain_hours, pretrain_lr
        self.pretrained = pretrained
        asked = {True: None, False: []}[baselines] if isinstance(baselines, bool) else baselines
        self.baseline_names = checked_names(asked, METHODS)
        self.hparams["baselines"] = asked
        self.recalibrate_by(Recalibration(temperature), recalibrate)
        self.codes, self.static_names, self.static_flags = codes, static_names, static_flags
        self.kind, self.names, self.edges, self.auxiliary_names = kind, names, edges, auxiliary_names
        self.begin()

    def _choose_model(self, name: str | None, options: dict[str, Any] | None, former: dict[str, Any] | None) -> None:
        """Take the model's name and options; the former `architecture` held both."""
        if former is not None:
            owner = type(self).__name__
            options = renamed(owner, "architecture", {**(options or {}), **former}, "model_options", None)
        chosen = dict(options or {})
        inside = chosen.pop("backbone", None)
        if None not in (name, inside) and name != inside:
            raise ValueError(f"model_name: expected the same as model_options.backbone, {inside!r}, got {name!r}")
        self.model_name, self.model_options = name or inside or "attention", chosen
        self.hparams["model_name"] = self.model_name
        keep(self.hparams, "model_options", chosen, "architecture")

    def build(self, known: Mapping[str, Any]) -> None:
        """Make the model, for the vocabulary and the outcome."""
        flags = None if self.static_flags is None else tuple(self.static_flags)
        self.vocabulary = vocabulary = Vocabulary(tuple(known["codes"]), tuple(self.static_names or ()), flags)
        self.outcome = outcome = Outcome(known["kind"], tuple(known["names"]), tuple(self.edges or ()))
        auxiliary = tuple(self.auxiliary_names or ())
        features = len(vocabulary.codes) + len(vocabulary.static_names)
        self.scores, self.summary_scores, summaries = NormalScores(features), None, 0
        if self.statistics:
            self.features = SummaryFeatures(vocabulary.codes, vocabulary.static_names, self.statistics)
            summaries = len(self.features.names)
            self.summary_scores = NormalScores(summaries)
        self.register_buffer("weight", torch.ones(1 if outcome.kind == "binary" else outcome.outputs))
        scales = len(self.tokenizer.widths)
        self.auxiliary_loss = AuxiliaryLoss(auxiliary) if auxiliary else None
        options = {"backbone": self.model_name, **self.model_options}
        self.model = EventModel(features, outcome.outputs, summaries, scales, len(auxiliary), **options)
        if self.pretrain_epochs:
            self.forecast = Forecast(self.model.dim, len(vocabulary.codes), self.pretrain_hours)
        metrics, main = outcome.metrics()
        self.use_metrics(metrics, main=main, mode="max")

    def adapt_to(self, data: Any) -> None:
        """Take from the data what is not known yet; in training, fit what is fitted, on the training part.

        Raises:
            ValueError: The data lack what the model needs, or have what it does not know; an option does not fit them.
        """
        self.forget_encoded()
        if "train" not in data.samples and (self.vocabulary is None or self.trainer.training):
            why = "train on" if self.trainer.training else "know the model by (or give a ckpt_path)"
            hint = "; all_test leaves none" if data.all_test else ""
            raise ValueError(f"{type(data).__name__}: expected a training part to {why}, got none{hint}")
        if self.vocabulary is None:
            train = data.samples["train"]
            vocabulary, outcome = data.vocabulary, outcome_of(train, self.intervals)
            self.know(
                codes=list(vocabulary.codes),
                static_names=list(vocabulary.static_names),
                static_flags=None if vocabulary.static_flags is None else list(vocabulary.static_flags),
                kind=outcome.kind,
                names=list(outcome.names),
                edges=list(outcome.edges),
                auxiliary_names=list(train.auxiliary_names) if self.auxiliary_weight else [],
            )
        else:
            data.use_vocabulary(self.vocabulary)
        assert self.outcome is not None
        data.use_outcome(self.outcome)
        if self.trainer.training:
            self.trained_on = data.trained_on()
            self.learn_from(data.samples["train"])

    def check_options(self) -> None:
        """Check the options against the outcome and the training.

        Raises:
            ValueError: One does not fit.
        """
        assert self.outcome is not None
        self.check_epochs()
        if self.recalibrate is not None:
            Recalibration.check(self.recalibrate, self.outcome)

    def learn_from(self, train: EventSamples) -> None:
        """What training begins with: the options are checked, and what is fitted is fitted on the training samples.

        Raises:
            ValueError: An option does not fit the outcome, the training or the samples.
        """
        assert self.vocabulary is not None
        self.check_options()
        self.fit_scores(train)
        if self.pretrained is not None:
            take_encoder(self.model, self.pretrained, self.vocabulary)

    def on_train_start(self) -> None:
        """Fit what is fitted on batches of the user's own, read once more; our data modules have had it done before.

        Raises:
            ValueError: There are several processes, none of which sees all batches.
        """
        super().on_train_start()
        if self.data_module is not None:
            return
        self.check_options()
        if bool(self.scores.known.any()):  # of a checkpoint, or by `fit_scores`
            return
        if self.trainer.world_size > 1:
            raise ValueError(f"trainer.devices: expected 1 with loaders of your own, got {self.trainer.world_size}")
        self.learn_from(self.samples_of(list(self.trainer.train_dataloader or ())))

    def fit_scores(self, train: EventSamples) -> None:
        """Fit quantiles and class weights on training samples."""
        assert self.outcome is not None
        self.tokenizer.fit(train, self.scores)
        if self.features is not None and self.summary_scores is not None:
            self.summary_scores.fit_columns(self.features(train))
        if self.class_weight == "balanced":
            self.weight.copy_(torch.tensor(self.outcome.balance(train.target)))
        if self.auxiliary_loss is not None:
            if train.auxiliary_names != self.auxiliary_loss.names:
                raise ValueError(
                    f"auxiliary_names: expected {', '.join(self.auxiliary_loss.names)}, as the model has, got "
                    f"{', '.join(train.auxiliary_names) or 'none'} in the data"
                )
            self.auxiliary_loss.fit(train.auxiliary)

    def idle(self) -> Iterable[nn.Parameter]:
        """The heads of the other phase."""
        return idle_parameters(self.model, self.forecast, self.pretraining) if self.pretrain_epochs else ()

    def shared_step(self, batch: EventBatch, stage: str) -> StepOutput:
        """Loss and predictions of a batch."""
        assert self.outcome is not None
        encoded, index = self.encoded(batch)
        if stage == "train" and self.pretraining:
            loss, size = self.forecast(self.model, self.tokens_of(encoded, index))
            return StepOutput(loss, size=max(size, 1))
        out = self(encoded, index)
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
            known = self.further_outcomes(batch)
            further = [self.auxiliary_loss(logits, known) for logits in out.auxiliary.unbind(1)]
            losses = [a + self.auxiliary_weight * b for a, b in zip(losses, further, strict=True)]
        return losses[0] + self.branch_weight * sum(losses[1:], torch.zeros((), device=self.device))

    def further_outcomes(self, batch: EventBatch) -> Tensor:
        """What else is known of a batch's samples, (B, A).

        Raises:
            ValueError: The batches are not those of our data modules, which alone know it.
        """
        data = self.data_module
        if not isinstance(data, EventDataModule) or data.whole is None:
            raise ValueError(
                "auxiliary_names: expected data of EventDataModule, which hold further outcomes, got batches alone"
            )
        return torch.from_numpy(data.whole.auxiliary[batch.index.cpu().numpy()]).to(self.device)

    def predict_step(self, batch: EventBatch, batch_idx: int = 0) -> Mapping[str, Any]:
        """Sample and prediction time, target, and the calibrated probability of each class, label or interval."""
        assert self.outcome is not None
        probabilities = self.probabilities(self(*self.encoded(batch)).logits)
        data = self.data_module
        table: dict[str, Any] = {"id": self.names_of(batch.index), "prediction_time": batch.prediction_time}
        if isinstance(data, EventDataModule):
            table = data.keys_of(batch.index)
        if self.outcome.kind == "time_to_event":
            table |= {"duration_h": batch.target[:, 0], "event": batch.target[:, 1]}
        elif self.outcome.kind == "multilabel":
            table |= {f"target_{name}": batch.target[:, k] for k, name in enumerate(self.outcome.names)}
        else:
            table["target"] = batch.target
        columns = (probabilities[:, None] if probabilities.ndim == 1 else probabilities).unbind(1)
        return table | {f"probability_{name}": p for name, p in zip(self.outcome.names, columns, strict=True)}

    def baselines(self, stage: str) -> Mapping[str, Mapping[str, float]]:
        """Logistic regression, gradient boosting and their blend on summary features of the same split."""
        data = self.data_module
        if not self.baseline_names or stage != "test" or not isinstance(data, EventDataModule):
            return {}
        if "train" not in data.samples:  # with all_test there is nothing to fit them on
            return {}
        assert self.outcome is not None
        found = tabular_results(self.outcome, data.samples["train"], data.samples[stage], self.baseline_names)
        return by_name(found, stage)
