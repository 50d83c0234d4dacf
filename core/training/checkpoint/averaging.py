"""An exponential moving average of the weights."""

from collections.abc import Callable

from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_avg_fn


class WeightAverage(WeightAveraging):
    r"""Averages weights while they are trained; the average is what is validated and saved.

    .. math:: \bar w_t = d\, \bar w_{t-1} + (1 - d)\, w_t

    Whole numbers and truth values among the buffers, such as a length or a count of batches, are copied: an average of
    them would be rounded down. In checkpoints it is Lightning's `EMAWeightAveraging`, whose runs it takes over.

    Args:
        decay: d.
    """

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__(avg_fn=_average(decay))

    @property
    def state_key(self) -> str:
        """The name of its state in checkpoints."""
        return "EMAWeightAveraging"


def _average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    average = get_ema_avg_fn(decay)  # type: ignore[no-untyped-call]

    def of(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        if not (averaged.is_floating_point() or averaged.is_complex()):
            return current
        answer: Tensor = average(averaged, current, steps)
        return answer

    return of
