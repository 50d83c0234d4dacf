"""The base of all data modules: where the data come from, what they are, and how batches are drawn."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import numpy as np
import torch
from torch.utils.data import Dataset

from ..adapting import AdaptsToData
from .sampling import BatchKeys, Loader


class DataModule(L.LightningDataModule):
    """Data sets of one problem, batched reproducibly and resumably.

    A subclass states `licence` and `source`, sets `train_set`, `val_set`, `test_set` and `predict_set` (map-style data
    sets; None where there is none) in `setup`, which ends with `introduce()`, and answers `fingerprint`; where the data
    are read as a whole and then split, it builds on `LoadedDataModule`. Its constructor takes YAML primitives only and
    hands `**options` on. Random transforms may draw from any global CPU generator: training samples are read with
    the generators seeded by (seed, epoch, index).

    Args:
        batch_size: samples per process and step.
        num_workers: processes that read the data; 0 reads in the main process. The batches do not depend on it.
        seed: of splits, order and random transforms.
        drop_last: leave out the incomplete last batch of a training epoch (never the only one).
    """

    licence: ClassVar[str] = ""
    source: ClassVar[str] = ""
    former: ClassVar[bool] = False
    """Whether the class is only the former name of another one."""
    from_python: ClassVar[bool] = False
    """Whether it takes arrays, which no configuration can hold: it is not for the command line."""
    not_stored: ClassVar[tuple[str, ...]] = ()
    """Constructor arguments that a checkpoint does not keep: the arrays themselves."""

    def __init__(self, batch_size: int = 64, num_workers: int = 0, seed: int = 0, drop_last: bool = True) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False, ignore=list(self.not_stored))
        self.batch_size, self.num_workers, self.seed, self.drop_last = batch_size, num_workers, seed, drop_last
        self.train_set: Dataset[Any] | None = None
        self.val_set: Dataset[Any] | None = None
        self.test_set: Dataset[Any] | None = None
        self.predict_set: Dataset[Any] | None = None
        self.collate: Callable[[list[Any]], Any] | None = None

    def fingerprint(self) -> str:
        """A hash of the data's content (see `hash_arrays` and `hash_files`)."""
        raise NotImplementedError(f"{type(self).__name__}.fingerprint: expected a method, got none")

    def introduce(self) -> None:
        """Let the task take from the data what it must know: `setup` ends with this."""
        task: object = None if self.trainer is None else self.trainer.lightning_module
        if isinstance(task, AdaptsToData):
            task.meet(self)

    def option_of_model(self, name: str) -> Any:
        """An option of the model that is run on these data; None without a run, or where it has no such option."""
        module = None if self.trainer is None else self.trainer.lightning_module
        return None if module is None else module.hparams.get(name)

    def names_of(self, index: torch.Tensor) -> list[str]:
        """Identifiers of items by their numbers, for tables; the numbers themselves where items have no names."""
        return [str(int(item)) for item in index]

    def describe_split(self) -> str:
        """Who trains, who chooses and who judges, in words; "" where that is not known."""
        return ""

    def train_dataloader(self) -> Any:
        """Shuffled batches of the training set."""
        return self._loader("train", self.train_set, train=True)

    def val_dataloader(self) -> Any:
        """Every validation sample once."""
        return self._loader("validation", self.val_set)

    def test_dataloader(self) -> Any:
        """Every test sample once."""
        return self._loader("test", self.test_set)

    def predict_dataloader(self) -> Any:
        """Every sample to predict once; the test set where no other is given."""
        return self._loader("predict", self.predict_set if self.predict_set is not None else self.test_set)

    def train_batches(self) -> int:
        """Steps of one process in one training epoch."""
        return len(self._loader("train", self.train_set, train=True))

    def batch_keys(self, dataset: Dataset[Any], **options: Any) -> BatchKeys:
        """Which samples make which batch; a subclass may put others together, such as those of one length.

        Args:
            dataset: To draw from.
            options: Of `BatchKeys`.
        """
        return BatchKeys(len(dataset), self.batch_size, **options)  # type: ignore[arg-type]

    def _loader(self, name: str, dataset: Dataset[Any] | None, train: bool = False) -> Any:
        if dataset is None:
            if name == "validation" and self.trainer is not None and self.trainer.state.fn == "fit":
                return []  # training without validation data is allowed; asking for what is not there is not
            raise ValueError(f"{type(self).__name__}: expected {name} data, got none")
        world, rank = (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)
        drop_last = train and self.drop_last
        keys = self.batch_keys(dataset, seed=self.seed, shuffle=train, drop_last=drop_last, rank=rank, world=world)
        options: dict[str, Any] = {"seed": self.seed, "random": train, "num_workers": self.num_workers}
        return Loader(dataset, keys, collate=self.collate, **options)


def hash_arrays(*arrays: np.ndarray[Any, Any] | torch.Tensor) -> str:
    """SHA-256 over dtype, shape and bytes of each array, as "sha256:<hex>"."""
    digest = hashlib.sha256()
    for array in arrays:
        values = np.ascontiguousarray(array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else array)
        digest.update(f"{values.dtype.str}{values.shape}".encode())
        digest.update(values.tobytes())
    return f"sha256:{digest.hexdigest()}"


def hash_files(paths: Iterable[str | Path], root: str | Path | None = None) -> str:
    """SHA-256 over name (relative to `root`, or the last part) and content of each file, in sorted order."""
    digest = hashlib.sha256()
    for path in sorted(map(Path, paths)):
        name = path.relative_to(root).as_posix() if root is not None else path.name
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
