"""Which subjects a model has learned from, kept in its checkpoint without their names.

Its purpose is to notice that a subject who is tested has trained: a split drawn with another seed, or a newer extract
of the same records. A subject is kept as a digest of 64 bits, BLAKE2b with a salt that follows from the whole set, so
that two checkpoints cannot be joined and no table of digests made beforehand helps. Whoever holds the checkpoint and
guesses an identifier can ask whether it is among them: where identifiers can be guessed, it says who trained.

Identifiers are compared within one population (`EventDataModule.population`): people of the NAFLD study and of your
own table are others though both are called 1, 2, 3. All tables and MEDS folders of your own are taken as one
population, for a newer extract under another name is what must be noticed.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.training import Task, read_json
from core.training.run import RunFolder

KEY = "training_subjects"  # in a checkpoint
SALT = 16  # bytes


class Overlap(NamedTuple):
    """How many subjects of a part the model knows.

    Args:
        subjects: Of the part.
        trained: Those that the weights were fitted on.
        chose: Those of the validation part, which chose the epoch and the calibration.
    """

    subjects: int
    trained: int
    chose: int


@dataclass(frozen=True, eq=False)
class TrainedOn:
    """Digests of the subjects of the training and of the validation part, sorted, so that their order says nothing.

    Args:
        salt: Of the digests.
        train: Of the subjects that trained.
        val: Of those that validated.

    Shapes:
        salt (16,) uint8; train (T,) int64; val (V,) int64
    """

    salt: Tensor
    train: Tensor
    val: Tensor

    @classmethod
    def of(cls, train: Iterable[str], val: Iterable[str], population: str = "") -> "TrainedOn":
        """Digests of these subjects; the same ones give the same digests.

        Args:
            train: Subjects of the training part, in any order, repeated or not.
            val: Of the validation part.
            population: Within which an identifier names one subject.
        """
        parts = [sorted(set(map(str, part))) for part in (train, val)]
        text = "\0\0".join("\0".join([population, *part]) for part in parts)
        salt = hashlib.sha256(text.encode()).digest()[:SALT]
        numbers = [torch.from_numpy(np.sort(_digests(part, population, salt))) for part in parts]
        return cls(torch.tensor(list(salt), dtype=torch.uint8), *numbers)

    def __eq__(self, other: object) -> bool:
        """Whether the same subjects trained, and the same validated."""
        if not isinstance(other, TrainedOn):
            return NotImplemented
        return all(torch.equal(getattr(self, name), getattr(other, name)) for name in ("salt", "train", "val"))

    __hash__ = None  # type: ignore[assignment]

    def overlap(self, subjects: Iterable[str], population: str = "") -> Overlap:
        """How many of these subjects are among those that trained or validated."""
        people = sorted(set(map(str, subjects)))
        numbers = _digests(people, population, bytes(self.salt.tolist()))
        trained, chose = (int(np.isin(numbers, part.numpy()).sum()) for part in (self.train, self.val))
        return Overlap(len(people), trained, chose)

    def state(self) -> dict[str, Tensor]:
        """As tensors, for a checkpoint."""
        return {"salt": self.salt, "train": self.train, "val": self.val}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "TrainedOn":
        """From a checkpoint."""
        return cls(state["salt"], state["train"], state["val"])


class RemembersSubjects(Task):
    """A task whose checkpoint knows who trained it, and which asks the data whether they may judge it.

    `adapt_to` sets `trained_on` in training. Where a validation or a test was allowed to hold subjects that the model
    knows from its training, their number stands beside the metrics as <stage>/known_subjects.
    """

    trained_on: TrainedOn | None = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep who trained."""
        super().on_save_checkpoint(checkpoint)
        if self.trained_on is not None:
            checkpoint[KEY] = self.trained_on.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put back who trained, and let the data compare themselves with the checkpoint."""
        super().on_load_checkpoint(checkpoint)
        if KEY in checkpoint:
            self.trained_on = TrainedOn.from_state(checkpoint[KEY])
        compare = getattr(getattr(self._trainer, "datamodule", None), "compare", None)
        if callable(compare) and self.trainer.state.fn is not None:
            compare(checkpoint, self.trainer.state.fn.value)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics."""
        super().on_validation_epoch_end()
        if self.trainer.state.fn == "validate":
            self._log_known_subjects("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics."""
        super().on_test_epoch_end()
        self._log_known_subjects("test")

    def _log_known_subjects(self, stage: str) -> None:
        overlap: Overlap | None = getattr(self.trainer.datamodule, "overlap", None)
        count = overlap.trained + overlap.chose if overlap is not None else 0
        paths = [one.file("metrics.json") for one in self.trainer.callbacks if isinstance(one, RunFolder)]  # type: ignore[attr-defined]
        before = {name for path in paths if path is not None and path.is_file() for name in read_json(path)}
        name = f"{stage}/known_subjects"
        if count or name in before:  # 0 takes the place of an earlier number, whose metrics are replaced, too
            self.log(name, float(count), rank_zero_only=True)


def _digests(subjects: list[str], population: str, salt: bytes) -> np.ndarray:
    words = [hashlib.blake2b(f"{population}\0{s}".encode(), digest_size=8, key=salt).digest() for s in subjects]
    return np.frombuffer(b"".join(words), dtype="<i8").astype(np.int64)
