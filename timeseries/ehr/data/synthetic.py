"""Events that are made up, with planted half-lives and planted informative codes."""

from collections.abc import Sequence
from typing import Any

from ...events.synthetic import Planted, plant
from .base import EventDataModule
from .loaded import LoadedEvents


class SyntheticEventsData(EventDataModule):
    """The target depends on decaying means of a few codes, and the half-lives are known: see `events.synthetic`.

    `planted` holds the truth after `setup`: half-lives, informative codes, weights, and the logit of every sample in
    the order of `whole`.

    Args:
        count: Samples, one per subject.
        half_lives: In hours, of as many informative codes.
        weights: Of the standardised decaying means in the logit; None for 2 each.
        noise_codes: Codes that count for nothing.
        events_per_code: Mean number of events of a code in a sample.
        window: Hours that the events lie in.
        data_seed: Of the samples.
        options: Of `EventDataModule`.
    """

    licence = "MIT"
    source = "drawn by timeseries.synthetic.plant"

    def __init__(
        self,
        count: int = 4000,
        half_lives: Sequence[float] = (2.0, 8.0, 32.0),
        weights: Sequence[float] | None = None,
        noise_codes: int = 3,
        events_per_code: float = 40.0,
        window: float = 96.0,
        data_seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.count, self.half_lives, self.weights = count, tuple(half_lives), weights
        self.noise_codes, self.events_per_code, self.window = noise_codes, events_per_code, window
        self.data_seed = data_seed
        self.planted: Planted | None = None

    def load(self) -> LoadedEvents:
        """Draw the samples."""
        self.planted = plant(
            self.count,
            half_lives=self.half_lives,
            weights=self.weights,
            noise_codes=self.noise_codes,
            events_per_code=self.events_per_code,
            window=self.window,
            seed=self.data_seed,
        )
        return LoadedEvents(self.planted.samples)

    def population(self) -> str:
        """Other samples are other subjects, though their names are the same."""
        return f"synthetic {self.fingerprint()}"
