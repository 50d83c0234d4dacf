"""The bases of data modules that are read as a whole and then split."""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from .module import DataModule
from .split import Split

Loaded = TypeVar("Loaded")


class LoadedDataModule(DataModule, ABC, Generic[Loaded]):
    """Data that are read once as a whole, then split into parts; then the task looks at them.

        load() -> arrange(loaded) -> introduce()

    A subclass writes `load`, which answers all that there is, and `arrange`, which sets `split`, `train_set`,
    `val_set` and `test_set`; where it draws the parts, it builds on `DrawnDataModule`.

    Args:
        options: Of `core.training.DataModule`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.loaded: Loaded | None = None
        self.split: Split | None = None

    @abstractmethod
    def load(self) -> Loaded:
        """Read or make the whole data set; every data module says how."""

    @abstractmethod
    def arrange(self, loaded: Loaded, stage: str | None) -> None:
        """Split what was loaded, and set the parts."""

    def setup(self, stage: str | None = None) -> None:
        """Read and split, once, and let the task look at the data."""
        if self.loaded is None:
            self.loaded = self.load()
            try:
                self.arrange(self.loaded, stage)
            except BaseException:
                self.loaded = None  # what could not be split is not there
                raise
        self.introduce()

    def ready(self) -> Loaded:
        """What was loaded.

        Raises:
            RuntimeError: Nothing yet.
        """
        if self.loaded is None:
            raise RuntimeError(f"{type(self).__name__}: expected setup() to have been called, got no data yet")
        return self.loaded

    def describe_split(self) -> str:
        """The split in words; where only items to predict are there, how many."""
        if self.loaded is None and self.predict_set is not None:
            return f"nothing is split: {len(self.predict_set)} to predict"  # type: ignore[arg-type]
        self.ready()
        return "" if self.split is None else f"{self.split_words()}: {self.split}"

    def split_words(self) -> str:
        """How the parts were drawn."""
        return "given"


class DrawnDataModule(LoadedDataModule[Loaded], ABC):
    """Loaded data whose parts are drawn, by fractions and a seed.

    Args:
        val_fraction: Part of the data for validation; 0 for none.
        test_fraction: Part for the test; 0 for none.
        split_seed: Of the split.
        options: Of `core.training.DataModule`.
    """

    def __init__(
        self, val_fraction: float = 0.1, test_fraction: float = 0.2, split_seed: int = 0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.val_fraction, self.test_fraction, self.split_seed = val_fraction, test_fraction, split_seed

    def split_words(self) -> str:
        """How the parts were drawn."""
        return f"drawn, seed {self.split_seed}"
