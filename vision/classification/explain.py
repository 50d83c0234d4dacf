"""What an image classifier's predictions rest on: `core.explain`'s contract, the patches of an image as its units."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from core.analysis.faithfulness import Patches
from core.analysis.figures import new_figure
from core.explain import Explains, Prediction, Question
from core.layers import evaluating

from ..images.base import ImageDataModule
from ..images.datasets import ImageBatch, stack

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ImageExplains(Explains):
    """Images of a classifier, ready to be explained.

    A patch that is left out shows the mean colour of the training images (0 after normalisation).

    Args:
        model: A vision transformer of ours or of timm; it takes normalised images.
        names: Of the images.
        images: In [0, 1].
        normalised: The same as the model takes them.
        classes: Names of the classes.
        labels: Of the images; -1 where they are not known.

    Shapes:
        images, normalised: (B, C, H, W)
        labels: (B,)

    Raises:
        ValueError: The model has no patches.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[str],
        images: Tensor,
        normalised: Tensor,
        classes: Sequence[str],
        labels: Tensor,
    ) -> None:
        self.model, self.images, self.normalised = model, images, normalised
        self.names, self.classes, self.labels = tuple(names), tuple(classes), labels
        self.side = patch_side(model)

    @property
    def items(self) -> tuple[str, ...]:
        """The images' names."""
        return self.names

    @property
    def unit(self) -> str:
        """The patch."""
        return f"patch of {self.side} x {self.side} pixels"

    def unit_names(self, item: int) -> tuple[str, ...]:
        """Row and column of every patch, from 1, from the upper left."""
        rows, columns = (side // self.side for side in self.images.shape[-2:])
        return tuple(f"row {row + 1}, column {column + 1}" for row in range(rows) for column in range(columns))

    @torch.no_grad()
    def prediction(self) -> Prediction:
        """The probability of each class; one model gives no uncertainty beside it."""
        with evaluating(self.model):
            probabilities = self.model(self.normalised).float().softmax(dim=1).cpu()
        known = bool((self.labels >= 0).all())
        truth = tuple(self.classes[int(label)] for label in self.labels) if known else None
        return Prediction(self.classes, probabilities, truth=truth)

    def question(self) -> Question:
        """Normalised images in patches, behind the model's class token if it has one."""
        known = bool((self.labels >= 0).all())
        prefix = int(getattr(self.model, "num_prefix_tokens", 0))
        units = Patches("zero", prefix=prefix, size=self.side)
        return Question(self.model, self.normalised, units, labels=self.labels if known else None)

    def draw(self, item: int, values: Tensor, title: str) -> "Figure":
        """The image, and beside it the patches: red for the prediction, blue against it."""
        image = self.images[item].detach().cpu()
        grid = values.detach().cpu().reshape(image.shape[-2] // self.side, image.shape[-1] // self.side)
        most = max(float(grid.abs().max()), 1e-12)
        extent = (0, image.shape[-1], image.shape[-2], 0)
        figure = new_figure(8.2, 3.9, part="vision.classification.explain")
        left, right = figure.subplots(1, 2)
        shown: Any = image.movedim(0, -1).squeeze(-1).clamp(0, 1).numpy()
        left.imshow(shown, cmap="gray", vmin=0, vmax=1, extent=extent)
        layer = right.imshow(grid.numpy(), cmap="RdBu_r", vmin=-most, vmax=most, extent=extent, interpolation="nearest")
        for axis, name in ((left, self.names[item]), (right, self.unit)):
            axis.set(xlabel="pixel", ylabel="pixel", aspect="equal")
            axis.set_title(name, fontsize=10)
        figure.colorbar(layer, ax=right, label="attribution (red: for the prediction)")
        figure.suptitle(title, fontsize=11)
        return figure


def patch_side(model: nn.Module) -> int:
    """Side of the patches of a vision transformer, in pixels.

    Raises:
        ValueError: It has none, or patches that are no squares.
    """
    size = getattr(model, "patch_size", None) or getattr(getattr(model, "patch_embed", None), "patch_size", None)
    sides = {size} if isinstance(size, int) else set(size or ())
    if len(sides) != 1:
        got = "none" if not sides else f"patches of {size}"
        kind = type(model).__name__
        raise ValueError(f"backbone: expected a vision transformer with square patches, got {got} in {kind}")
    return int(sides.pop())


def chosen_images(data: ImageDataModule, items: int | Sequence[str]) -> ImageBatch:
    """The first images of the test part, or those that are named, in whichever part they are.

    Args:
        data: After `setup`.
        items: How many, or the names.

    Raises:
        ValueError: There are not so many, or a name is unknown.
    """
    if isinstance(items, int):
        held = 0 if data.test_set is None else len(data.test_set)
        if not 1 <= items <= held:
            raise ValueError(f"items: expected 1 to {held}, the images of the test part, got {items}")
        assert data.test_set is not None
        return stack([data.test_set[place] for place in range(items)])
    if not items:
        raise ValueError("items: expected at least one name, got none")
    found: dict[str, ImageBatch] = {}
    for part in (data.test_set, data.val_set, data.plain_train_set):
        if part is None:
            continue
        for place, name in enumerate(data.names_of(torch.as_tensor(part.items, dtype=torch.long))):
            if name in items and name not in found:
                found[name] = part[place]
    unknown = [name for name in items if name not in found]
    if unknown:
        raise ValueError(f"items: expected names of images of the data, got {', '.join(map(repr, unknown))}")
    return stack([found[name] for name in items])
