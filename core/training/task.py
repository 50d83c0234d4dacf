"""The base of all tasks: a model, its loss and its metrics; optimisation is the same for all."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import lightning as L
from torch import Tensor, nn
from torch.optim import AdamW
from torchmetrics import MeanMetric, MetricCollection

from .adapting import AdaptsToData, check_batch
from .data.module import DataModule
from .optim import parameter_groups, total_steps, warmup_cosine
from .registry import public_path


class StepOutput(NamedTuple):
    """What one batch gives: the mean loss, and what the metrics compare (None: the loss alone counts).

    Shapes:
        loss (); prediction (N, ...) and target (N, ...) as the task's metrics take them; size = N, the number of items
        that the loss is a mean over (default: the target's length).
    """

    loss: Tensor
    prediction: Tensor | None = None
    target: Tensor | None = None
    size: int | None = None


class Task(L.LightningModule, AdaptsToData, ABC):
    """A model and how it is trained. A subclass sets `self.model`, calls `use_metrics`, and writes two steps.

    Where the model depends on the data (how many classes, how many channels), the constructor takes these numbers as
    options that may be None, names them in `known_by_data`, ends with `begin()`, and makes the model in `build`;
    `adapt_to` hands what the data say to `know`. So a checkpoint, which stores the options, builds its model alone.

    Logged: `train/loss`, `val/<metric>`, `test/<metric>` for the loss and every metric in use. Constructors take YAML
    primitives only: they are stored in the checkpoint, which loads without running code.

    Args:
        lr: peak learning rate of AdamW.
        weight_decay: on weights; biases, norms, embeddings and what the model's `no_weight_decay()` names have none.
        betas: AdamW's two decay rates.
        warmup_fraction: share of all steps in which the learning rate rises; then it falls along half a cosine.
        warmup_epochs: the same in epochs, in place of the fraction.
        lr_floor: learning rate of the last step, as a fraction of `lr`.
    """

    model: nn.Module
    batch_type: ClassVar[type | None] = None
    """What a batch is; another one is refused with a sentence that names it. None: whatever comes."""
    batches_from: ClassVar[str] = ""
    """The data module that makes such batches from a user's own arrays, for that sentence."""
    known_by_data: ClassVar[tuple[str, ...]] = ()
    """Options that the data decide where they are None."""
    former_options: ClassVar[Mapping[str, str]] = {}
    """Former name -> name now: renamed options stay accepted, see `core.training.renamed`; None is not given."""
    former: ClassVar[bool] = False
    """Whether the class is only the former name of another one."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.known_by_data and cls.build is Task.build:
            raise TypeError(f"{cls.__name__}: expected a method build(known) beside known_by_data, got none")

    def __init__(
        self,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        betas: tuple[float, float] = (0.9, 0.999),
        warmup_fraction: float = 0.05,
        warmup_epochs: float | None = None,
        lr_floor: float = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not 0.0 <= warmup_fraction < 1.0:
            raise ValueError(f"warmup_fraction: expected 0 <= fraction < 1, got {warmup_fraction}")
        self.lr, self.weight_decay, self.betas = lr, weight_decay, betas
        self.warmup_fraction, self.warmup_epochs, self.lr_floor = warmup_fraction, warmup_epochs, lr_floor
        self.train_loss = MeanMetric()
        self.val_loss, self.test_loss = MeanMetric(), MeanMetric()
        self.val_metrics: MetricCollection | None = None
        self.test_metrics: MetricCollection | None = None
        self.monitor, self.monitor_mode = "val/loss", "min"
        self._explained: set[str] = set()

    def use_metrics(self, metrics: MetricCollection, main: str, mode: Literal["min", "max"]) -> None:
        """Measure these beside the loss; `main` picks best.ckpt and stands in the progress bar.

        A metric that is NaN where the data do not define it says in its attribute `needs` what it needs.
        """
        self.val_metrics, self.test_metrics = metrics.clone(), metrics.clone()
        self.monitor, self.monitor_mode = f"val/{main}", mode

    @property
    def validation_counts(self) -> bool:
        """Whether a validation now may be the best one, and early stopping waits for it.

        A task with a phase of training in which what the main metric measures is not learned says no there.
        """
        return True

    @property
    def is_built(self) -> bool:
        """Whether the model has been made."""
        return isinstance(self._modules.get("model"), nn.Module)

    def build(self, known: Mapping[str, Any]) -> None:
        """Make `self.model`, and whatever else depends on the data; a task that needs no data does so at once.

        Args:
            known: The options that `known_by_data` names, none of them None.
        """
        raise NotImplementedError(f"{type(self).__name__}.build: expected a method that sets self.model, got none")

    def begin(self) -> None:
        """Build the model if nothing about the data is left open: the last line of a constructor."""
        known = {name: getattr(self, name) for name in self.known_by_data}
        if all(value is not None for value in known.values()):
            self.build(known)

    def know(self, **known: Any) -> None:
        """Take what the data say where it was left open, refuse what differs, and build the model if there is none.

        Raises:
            ValueError: The data say something else than the model.
        """
        for name, value in known.items():
            given = getattr(self, name)
            if given is not None and given != value:
                raise ValueError(f"{name}: expected {given}, as the model has, got {value} in the data")
        for name, value in known.items():
            setattr(self, name, value)
            self.hparams[name] = value
        if not self.is_built:
            self.begin()

    def setup(self, stage: str) -> None:
        """Refuse to go on without a model: the data have had their chance in `adapt_to`.

        Raises:
            ValueError: There is no model; what was left open is named.
        """
        if self.is_built or not self.known_by_data:
            return
        missing = [name for name in self.known_by_data if getattr(self, name) is None]
        one = self.data_type[0] if isinstance(self.data_type, tuple) else self.data_type
        hint = "" if one is None else f", or data of {one.__name__}, which knows them"
        raise ValueError(f"{', '.join(missing)}: expected values{hint}, got none")

    @property
    def data_module(self) -> DataModule | None:
        """The data module of the run, if it is one of ours; None without a run, or with loaders of the user's own."""
        data = None if self._trainer is None else self._trainer.datamodule  # type: ignore[attr-defined]
        return data if isinstance(data, DataModule) else None

    def names_of(self, index: Tensor) -> list[str]:
        """Identifiers of items, by their numbers: those of the data, or the numbers themselves."""
        data = self.data_module
        return [str(int(item)) for item in index] if data is None else data.names_of(index)

    @abstractmethod
    def shared_step(self, batch: Any, stage: str) -> StepOutput:
        """Loss, predictions and targets of a batch; stage is "train", "val" or "test"."""

    @abstractmethod
    def predict_step(self, batch: Any, batch_idx: int = 0) -> Mapping[str, Any]:
        """Columns of the prediction table, "id" first: equally long tensors, arrays or lists."""

    def baselines(self, stage: str) -> Mapping[str, Mapping[str, float]]:
        """Metrics of simpler methods on the same split, name -> {"<stage>/<metric>": value}; none by default."""
        return {}

    def check_batch(self, batch: Any) -> None:
        """Refuse a batch of another type than the task's.

        Raises:
            TypeError: It is of another type.
        """
        check_batch(batch, self.batch_type, type(self).__name__, self.batches_from)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Check the batch's type."""
        self.check_batch(batch)

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Check the batch's type."""
        self.check_batch(batch)

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Check the batch's type."""
        self.check_batch(batch)

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Check the batch's type."""
        self.check_batch(batch)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of one batch."""
        out = self.shared_step(batch, "train")
        size = _size(out)
        self.train_loss.update(out.loss.detach(), weight=size)
        self.log("loss", out.loss.detach(), prog_bar=True, logger=False, batch_size=size)
        return out.loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss and the learning rate that it ended with."""
        self.log("train/loss", self.train_loss.compute(), sync_dist=True)
        self.train_loss.reset()
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], sync_dist=True)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Update the validation metrics."""
        self._evaluate(batch, "val", self.val_loss, self.val_metrics)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Update the test metrics."""
        self._evaluate(batch, "test", self.test_loss, self.test_metrics)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_evaluation("val", self.val_loss, self.val_metrics)

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_evaluation("test", self.test_loss, self.test_metrics)

    def _evaluate(self, batch: Any, stage: str, loss: MeanMetric, metrics: MetricCollection | None) -> None:
        out = self.shared_step(batch, stage)
        if self.trainer.sanity_checking:  # a few samples, perhaps of one class only: no metric is defined on them
            return
        loss.update(out.loss, weight=_size(out))
        if out.prediction is not None and metrics is not None:
            metrics.update(out.prediction, out.target)

    def _log_evaluation(self, stage: str, loss: MeanMetric, metrics: MetricCollection | None) -> None:
        if self.trainer.sanity_checking:
            return
        values = {"loss": loss.compute(), **(metrics.compute() if metrics is not None else {})}
        loss.reset()
        if metrics is not None:
            metrics.reset()
            self._explain_undefined(stage, values, metrics)
        for name, value in values.items():
            key = f"{stage}/{name}"
            self.log(key, value.to(self.device), prog_bar=key == self.monitor, sync_dist=True)

    def _explain_undefined(self, stage: str, values: Mapping[str, Tensor], metrics: MetricCollection) -> None:
        """Warn once of each part whose data do not define a metric."""
        if stage in self._explained or not self.trainer.is_global_zero or self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        needs = {f"{stage}/{name}": getattr(metric, "needs", None) for name, metric in metrics.items()}
        missing = [key for key, need in needs.items() if need and values[key.removeprefix(f"{stage}/")].isnan()]
        if not missing or values["loss"].isnan():  # a model that has diverged is not a want of the data
            return
        self._explained.add(stage)
        part = {"val": "validation", "test": "test"}[stage]
        choice = "; best.ckpt goes by val/loss" if self.monitor in missing and self.trainer.state.fn == "fit" else ""
        warnings.warn(
            f"{', '.join(missing)}: not defined (NaN), as the {part} part does not have what they need: "
            f"{needs[missing[0]]}{choice}",
            stacklevel=2,
        )

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine, stepped after every optimiser step."""
        groups = parameter_groups(self, self.weight_decay)
        optimizer = AdamW(groups, lr=self.lr, betas=(self.betas[0], self.betas[1]))
        total, per_epoch = total_steps(self.trainer)
        schedule = warmup_cosine(optimizer, total, self.warmup_steps(total, per_epoch), self.lr_floor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def warmup_steps(self, total: int, per_epoch: int) -> int:
        """Steps in which the learning rate rises, of `total` in all."""
        warmup = self.warmup_fraction * total if self.warmup_epochs is None else self.warmup_epochs * per_epoch
        return min(round(warmup), total)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the classes of task and data, and the mean training loss, so that a resumed epoch is reported whole."""
        checkpoint["task"] = public_path(type(self))
        if self.data_module is not None:
            checkpoint["data"] = public_path(type(self.data_module))
        checkpoint["train_loss"] = [self.train_loss.mean_value.clone(), self.train_loss.weight.clone()]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the running mean of the training loss back."""
        total, weight = checkpoint.get("train_loss", (0.0, 0.0))
        self.train_loss.update(0.0, weight=0.0)
        self.train_loss.mean_value, self.train_loss.weight = (
            self.train_loss.mean_value + total,
            self.train_loss.weight + weight,
        )


def _size(out: StepOutput) -> int:
    if out.size is not None:
        return out.size
    if out.target is None:
        raise ValueError("StepOutput.size: expected the number of items where there is no target, got None")
    return len(out.target)
