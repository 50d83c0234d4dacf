"""What a task answers so that its predictions can be explained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from ..analysis.faithfulness import Call, Units, plain_call
from .items import Prediction


@dataclass(frozen=True, eq=False)
class Question:
    """How a model is asked about some items, with and without their units: what `core.analysis.faithfulness` takes.

    Args:
        model: with the attention that is read.
        inputs: of the items: images, one-hot sequences, embedded events, features of nodes.
        units: how an input is split into units, and what stands for one that is left out.
        call: (model, inputs, keep) -> output; it may hold what else the items have (times, lengths, edges).
        embedding: name of the embedding, where inputs are integers.
        target: output -> what is explained, one number for each item. Default: log-odds of the predicted class.
        distribution: output -> probabilities. Default: softmax, or sigmoid for one logit per item.
        layer: the attention that is read. Default: the last one that runs.
        row: the query that is read, or "mean"; see `faithfulness`.
        labels: classes of the items, where they are known.
    """

    model: nn.Module
    inputs: Tensor
    units: Units
    call: Call = plain_call
    embedding: str | None = None
    target: Callable[[Tensor], Tensor] | None = None
    distribution: Callable[[Tensor], Tensor] | None = None
    layer: str | None = None
    row: int | Literal["mean"] | None = None
    labels: Tensor | None = None


class Explains(ABC):
    """Some items of a task, ready to be explained; `task.explains(data, items)` answers one.

    `items` there is a number n, the first n of the test part, or the names of items.

    Attributes:
        limits: what must be said wherever an explanation is shown, such as "not for clinical use".
    """

    limits: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def items(self) -> tuple[str, ...]:
        """The items' names, each once."""

    @property
    @abstractmethod
    def unit(self) -> str:
        """What a unit is, in words: "patch of 4 x 4 pixels", "base", "event", "supplier"."""

    @abstractmethod
    def unit_names(self, item: int) -> tuple[str, ...]:
        """The names of an item's units, in the order of its places that are valid: "row 2, column 3", "12 A"."""

    @abstractmethod
    def prediction(self) -> Prediction:
        """What the task predicts for the items, as its table of predictions says it."""

    @abstractmethod
    def question(self) -> Question:
        """How the model is asked."""

    @abstractmethod
    def draw(self, item: int, values: Tensor, title: str) -> Any:
        """A picture, a matplotlib Figure, of numbers, one for each unit of an item, over what the item looks like.

        Args:
            item: its place among the items.
            values: for its units, in the order of `unit_names`; of any sign.
            title: stands above.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
