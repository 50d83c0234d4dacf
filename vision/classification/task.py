r"""Classify images: a backbone, cross-entropy with soft labels, and the metrics that are compared.

.. math:: L = -\sum_c t_c \log \text{softmax}(f((x - \mu) / \sigma))_c

with t the label smoothed by epsilon, or mixed with that of another image of the batch (mixup, CutMix); in evaluation
t is the label itself.

References:
    Szegedy et al.: Rethinking the Inception architecture, CVPR 2016, section 7 (label smoothing).
    Zhang et al.: mixup, ICLR 2018. Yun et al.: CutMix, ICCV 2019.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from timm.data import Mixup
from torch.nn import functional as F
from torchmetrics import ClasswiseWrapper, MetricCollection
from torchmetrics.classification import BinaryRecall, BinarySpecificity, MulticlassAccuracy

from core.training import (
    StepOutput,
    Task,
    by_name,
    checked_names,
    classification_metrics,
    keep,
    renamed,
    total_steps,
)

from ..images.base import ImageDataModule
from ..images.datasets import ImageBatch
from ..vit.backbones import create_backbone, pretrained_moments
from ..vit.model import VisionTransformer
from .baselines import BASELINES
from .explain import ImageExplains, chosen_images
from .schedules import NAMES, NamedSchedule

DEFAULT = "vit_suite_micro_patch4_32"
"""The model where none is named."""


class ImageClassificationTask(Task):
    """Which of K classes an image shows: our vision transformer, or any model of timm.

    What is None is taken from the data when training begins, and kept in the checkpoint.

    Args:
        model_name: timm's name of the model; ours begin with vit_suite_. None is vit_suite_micro_patch4_32.
        model_options: Its further arguments, such as {embed_dim: 64, drop_path_rate: 0.1}.
        pretrained: Begin with trained weights, which come over the network.
        num_classes: K.
        channels: Of the images.
        image_size: Side of the images in pixels.
        class_names: In the order of their labels.
        normalize: "data" (mean and deviation of the training images), "backbone" (those of the backbone's trained
            weights), or None: "backbone" if pretrained, else "data".
        label_smoothing: epsilon.
        mixup: alpha of mixup's beta distribution; 0 for none.
        cutmix: alpha of CutMix's; 0 for none.
        scheduler: timm's name of a learning-rate schedule, "cosine", "tanh", "step", "multistep" or "poly", with
            linear warm-up; None for warm-up and cosine as every task has it.
        scheduler_options: Its further arguments, such as {decay_rate: 0.5, decay_epochs: 10}.
        baselines: Simpler methods to test on the same split: "svc_pixels", scikit-learn's support vector machine on the
            pixels; None for all of them, [] for none.
        backbone: Former name of `model_name`.
        backbone_options: Former name of `model_options`.
        baseline: Former name of `baselines`: "svc", or None for none.
        options: Of the optimisation, see `core.training.Task`.

    Raises:
        ValueError: An argument is out of range or does not fit the data.
    """

    mean: torch.Tensor
    std: torch.Tensor
    data_type = ImageDataModule
    batch_type = ImageBatch
    batches_from = "vision.ImageArrayData"
    known_by_data = ("num_classes", "channels", "image_size")
    former_options: ClassVar[Mapping[str, str]] = {
        "backbone": "model_name",
        "backbone_options": "model_options",
        "baseline": "baselines",
    }

    def __init__(
        self,
        model_name: str | None = None,
        model_options: dict[str, Any] | None = None,
        pretrained: bool = False,
        num_classes: int | None = None,
        channels: int | None = None,
        image_size: int | None = None,
        class_names: list[str] | None = None,
        normalize: str | None = None,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        scheduler: str | None = None,
        scheduler_options: dict[str, Any] | None = None,
        baselines: list[str] | None = None,
        backbone: str | None = None,
        backbone_options: dict[str, Any] | None = None,
        baseline: str | None = "unset",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if normalize not in ("data", "backbone", None):
            raise ValueError(f"normalize: expected 'data', 'backbone' or None, got {normalize!r}")
        if scheduler is not None and scheduler not in NAMES:
            raise ValueError(f"scheduler: expected one of {', '.join(NAMES)} or None, got {scheduler!r}")
        if baseline not in ("svc", None, "unset"):
            raise ValueError(f"baseline: expected 'svc' or None, got {baseline!r}")
        owner, former = type(self).__name__, {"svc": ["svc_pixels"], None: [], "unset": None}[baseline]
        model_name = renamed(owner, "backbone", backbone, "model_name", model_name) or DEFAULT
        model_options = renamed(owner, "backbone_options", backbone_options, "model_options", model_options)
        baselines = renamed(owner, "baseline", former, "baselines", baselines)
        keep(self.hparams, "model_name", model_name, "backbone")
        keep(self.hparams, "model_options", model_options, "backbone_options")
        keep(self.hparams, "baselines", baselines, "baseline", unset="unset")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing: expected 0 <= epsilon < 1, got {label_smoothing}")
        if mixup < 0 or cutmix < 0:
            raise ValueError(f"mixup, cutmix: expected at least 0, got {mixup} and {cutmix}")
        self.model_name, self.model_options, self.pretrained = model_name, model_options, pretrained
        self.num_classes, self.channels, self.image_size = num_classes, channels, image_size
        self.class_names = class_names
        self.normalize = normalize or ("backbone" if pretrained else "data")
        self.label_smoothing, self.mixup, self.cutmix = label_smoothing, mixup, cutmix
        self.baseline_names = checked_names(baselines, BASELINES)
        self.scheduler, self.scheduler_options = scheduler, scheduler_options
        self.mixer: Mixup | None = None
        self.begin()

    def adapt_to(self, data: ImageDataModule) -> None:
        """Take from the data what is not known yet, and check the rest against it."""
        if data.whole is None:  # only files to predict: the checkpoint says everything
            self.setup("predict")
            return
        if self.class_names is None:
            self.class_names = list(data.classes)
            self.hparams["class_names"] = self.class_names
        size = data.image_size if self.image_size is None else self.image_size  # a model may take images of other sizes
        self.know(num_classes=len(data.classes), channels=data.shape[0], image_size=size)
        if len(self.class_names) != self.num_classes:
            raise ValueError(f"class_names: expected {self.num_classes} names, got {len(self.class_names)}")
        if self.normalize == "data" and self.trainer.training:
            assert data.mean is not None and data.std is not None
            self.mean.copy_(data.mean)
            self.std.copy_(data.std)

    def build(self, known: Mapping[str, Any]) -> None:
        """Make the model, the normalisation, mixup and the metrics."""
        channels: int = known["channels"]
        self.model = create_backbone(
            self.model_name,
            num_classes=known["num_classes"],
            in_chans=channels,
            image_size=known["image_size"],
            pretrained=self.pretrained,
            options=self.model_options,
        )
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        if self.normalize == "backbone":
            mean, std = pretrained_moments(self.model)
            self.mean.copy_(mean if len(mean) == channels else mean.mean().expand(channels))
            self.std.copy_(std if len(std) == channels else std.mean().expand(channels))
        if self.mixup or self.cutmix:
            self.mixer = Mixup(
                mixup_alpha=self.mixup,
                cutmix_alpha=self.cutmix,
                label_smoothing=self.label_smoothing,
                num_classes=known["num_classes"],
            )
        self.use_metrics(self._metrics(), main="accuracy", mode="max")

    def _metrics(self) -> MetricCollection:
        """accuracy, auroc and auprc, and the accuracy within each class."""
        assert self.num_classes is not None
        names = self.class_names or [str(k) for k in range(self.num_classes)]
        metrics = classification_metrics(self.num_classes)
        if self.num_classes == 2:
            within: dict[str, Any] = {
                f"accuracy_{names[0]}": BinarySpecificity(),
                f"accuracy_{names[1]}": BinaryRecall(),
            }
        else:
            each = MulticlassAccuracy(self.num_classes, average=None)
            within = {"within": ClasswiseWrapper(each, labels=list(names), prefix="accuracy_")}
        metrics.add_metrics(within)
        return metrics

    def normalised(self, image: torch.Tensor) -> torch.Tensor:
        """Images as the model takes them, (B, C, H, W)."""
        return (image - self.mean[:, None, None]) / self.std[:, None, None]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, K) of images (B, C, H, W) in [0, 1]."""
        return self.model(self.normalised(image))

    def shared_step(self, batch: ImageBatch, stage: str) -> StepOutput:
        """Loss and probabilities of a batch."""
        image, label = self.normalised(batch.image), batch.label
        if stage == "train":
            target: torch.Tensor = label
            if self.mixer is not None:
                image, target = mix(self.mixer, image, label)
            smoothing = 0.0 if self.mixer is not None else self.label_smoothing
            return StepOutput(F.cross_entropy(self.model(image), target, label_smoothing=smoothing), size=len(label))
        logits = self.model(image)
        return StepOutput(F.cross_entropy(logits, label), self._probabilities(logits), label)

    def _probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """As the metrics take them: of class 1 for two classes, of every class for more."""
        probabilities = logits.float().softmax(dim=1)
        return probabilities[:, 1] if self.num_classes == 2 else probabilities

    def configure_optimizers(self) -> Any:
        """AdamW with the schedule that is named."""
        chosen = super().configure_optimizers()
        if self.scheduler is not None:
            total, per_epoch = total_steps(self.trainer)
            chosen["lr_scheduler"]["scheduler"] = NamedSchedule(
                self.scheduler,
                chosen["optimizer"],
                total,
                per_epoch,
                self.warmup_steps(total, per_epoch),
                self.scheduler_options or {},
            )
        return chosen

    def predict_step(self, batch: ImageBatch, batch_idx: int = 0) -> Mapping[str, Any]:
        """Identifier, label (if known), predicted class and the probability of each class."""
        probabilities = self(batch.image).float().softmax(dim=1)
        names = self.class_names or [str(k) for k in range(probabilities.shape[1])]
        table: dict[str, Any] = {"id": self.names_of(batch.index)}
        if (batch.label >= 0).all():
            table["label"] = [names[int(k)] for k in batch.label]
        chosen = (probabilities[:, 1] >= 0.5).long() if len(names) == 2 else probabilities.argmax(dim=1)
        table["prediction"] = [names[int(k)] for k in chosen]
        return table | {f"probability_{name}": probabilities[:, k] for k, name in enumerate(names)}

    def explains(self, data: ImageDataModule, items: int | Sequence[str]) -> ImageExplains:
        """Images ready to be explained, see `core.explain`.

        Args:
            data: After `setup`.
            items: How many of the test part, or the names of some.

        Raises:
            ValueError: There are no such images, or the backbone has no patches.
        """
        batch = chosen_images(data, items)
        image = batch.image.to(self.device)
        names, classes = data.names_of(batch.index), self.class_names or [str(k) for k in range(self.num_classes or 0)]
        return ImageExplains(self.model, names, image, self.normalised(image), classes, batch.label)

    def baselines(self, stage: str) -> Mapping[str, Mapping[str, float]]:
        """scikit-learn's support vector machine on the pixels of the same split."""
        data = self.data_module
        if stage != "test" or not isinstance(data, ImageDataModule):
            return {}
        return by_name([BASELINES[name](data) for name in self.baseline_names], stage)


def mix(mixer: Mixup, image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix the images of a batch and their labels; an odd last image stays as it is, with its label smoothed.

    Shapes:
        image: (B, C, H, W)
        label: (B,)
        answer: (B, C, H, W) and (B, K)
    """
    even = len(image) - len(image) % 2
    smoothing, classes = mixer.label_smoothing, mixer.num_classes
    rest = F.one_hot(label[even:], classes).to(image.dtype) * (1 - smoothing) + smoothing / classes
    if even == 0:
        return image, rest
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        mixed, target = mixer(image[:even].clone(), label[:even])
    return torch.cat([mixed, image[even:]]), torch.cat([target.to(image.dtype), rest])


def attention_maps(model: VisionTransformer, images: torch.Tensor) -> torch.Tensor:
    """What the class token attends to in each block and head, as maps over the patches.

    Attention is not an explanation: it says where the token reads, not what the answer depends on.

    Args:
        model: Our `VisionTransformer` with a class token.
        images: As the model takes them (normalised).

    Shapes:
        images: (B, C, H, W)
        answer: (blocks, B, heads, H/p, W/p); each map sums to 1 less what the token attends to itself
    """
    grid = images.shape[-2] // model.patch_size, images.shape[-1] // model.patch_size
    answers = model.attention(images, need=("weights",))
    weights = torch.stack([answer.weights[:, :, 0, model.num_prefix_tokens :] for answer in answers])
    return weights.unflatten(-1, grid)
