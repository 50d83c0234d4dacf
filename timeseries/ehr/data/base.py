"""What all event data modules share: splits by subject, the vocabulary of the training part, batches."""

import sys
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, get_args

import numpy as np
import torch

from core.training import DrawnDataModule, Split, read_checkpoint
from core.training.data import BatchKeys
from core.training.run import RunFolder

from ...events.batches import EventDataset, LengthKeys, pad
from ...events.samples import EventSamples
from ...events.splits import PARTS, split_by_subject, subject_split
from ...events.trained_on import KEY, ComparesSubjects, RemembersSubjects, TrainedOn
from ...events.vocabulary import Unseen, Vocabulary
from ...probabilities.outcomes import Kind, Outcome
from ..outcomes import with_outcome
from .compare import STAGES, check_resumed, differing_rules, known_subjects
from .loaded import LoadedEvents, SplitReport, strata


class EventDataModule(DrawnDataModule[LoadedEvents], ComparesSubjects, ABC):
    """Events up to a prediction time, split by subject.

    Whatever is fitted (vocabulary, scalers, quantiles) is fitted on `samples["train"]`. `samples` holds the parts as
    `EventSamples` in the vocabulary of the training part; `whole` holds all of them; `EventItem.index` counts there.

    With a checkpoint, the data are compared with those that the model was fitted on, see `compare`. `reading` names the
    options that change what a model is given for the same events, `noted` those that follow the names in the files.

    Args:
        fold: Number of the test fold; None for a hold-out split.
        folds: How many folds there are.
        unseen: What becomes of events whose code the training part does not have: "ignore" (left out), "unknown" (one
            code for all of them) or "error"; they are counted and reported.
        min_subjects: Fewest training subjects that must have a code; rarer ones are treated as unseen.
        bucket: Batches to a bucket of similar lengths, see `LengthKeys`; 1 for batches of any lengths.
        all_test: Nothing is split: all samples are the test part, to test or to predict with a trained model. To
            predict, targets may be unknown, as far as the module's files allow it.
        allow_overlap: Validate or test on subjects that trained the model, too; it is said and recorded.
        allow_other_rules: Options by which the data are read otherwise than those of the training on purpose, such as
            [time_unit] for new files in other units.
        options: Of `core.training.DrawnDataModule`; the fractions are shares of the subjects, `test_fraction` in a
            hold-out split.
    """

    reading: ClassVar[tuple[str, ...]] = ("unseen",)
    noted: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        fold: int | None = None,
        folds: int = 5,
        unseen: Unseen = "ignore",
        min_subjects: int = 1,
        bucket: int = 16,
        all_test: bool = False,
        allow_overlap: bool = False,
        allow_other_rules: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if unseen not in get_args(Unseen):
            raise ValueError(f"unseen: expected 'unknown', 'ignore' or 'error', got {unseen!r}")
        self.fold, self.folds = fold, folds
        self.unseen, self.min_subjects, self.bucket = unseen, min_subjects, bucket
        self.all_test = all_test
        self.allow_overlap, self.allow_other_rules = allow_overlap, tuple(allow_other_rules)
        self.collate = pad
        self.raw: EventSamples | None = None
        self.whole: EventSamples | None = None
        self.vocabulary: Vocabulary | None = None
        self.samples: dict[str, EventSamples] = {}
        self.reports: tuple[Any, ...] = ()
        self._told = False
        self._notes: list[str] = []
        self._names: list[str] = []

    def arrange(self, loaded: LoadedEvents, stage: str | None) -> None:
        """Split, and fit the vocabulary on the training part."""
        samples = loaded.samples
        if len(samples) == 0:
            raise ValueError(f"{type(self).__name__}: expected labelled samples, got none")
        unknown = int(samples.unlabelled.sum())
        if unknown and not (self.all_test and stage in ("predict", None)):
            raise ValueError(
                f"{type(self).__name__}: expected a target for every sample, got {unknown} without; with all_test "
                "they can be predicted"
            )
        names = samples.ids()
        if len(set(names)) != len(samples):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(
                f"{type(self).__name__}: expected one sample per subject and prediction time, got {twice} twice"
            )
        if not samples.lengths.any() and not samples.static_names:
            raise ValueError(f"{type(self).__name__}: expected events before {len(samples)} prediction times, got none")
        if self.all_test:
            nobody = np.zeros(0, dtype=np.int64)
            split = split_by_subject(samples.subjects, nobody, nobody, np.arange(len(samples)))
            vocabulary = Vocabulary(samples.codes, samples.static_names)  # until the model lays its own over it
        else:
            split = self.draw(samples) if loaded.split is None else split_by_subject(samples.subjects, *loaded.split)
            vocabulary = self.fit_vocabulary(samples, split)
        self.raw, self.split, self.reports, self._names = samples, split, loaded.reports, names
        self.use_vocabulary(vocabulary)

    def split_words(self) -> str:
        """How the parts were drawn."""
        if self.all_test:
            return "by subject, all of them to test"
        if self.ready().split is not None:
            return "by subject, as the data say"
        drawn = "" if self.fold is None else f"fold {self.fold} of {self.folds}, "
        return f"by subject, {drawn}seed {self.split_seed}"

    def setup(self, stage: str | None = None) -> None:
        """Read, split, fit the vocabulary; tell the task what it must know about the data, the user what was met."""
        super().setup(stage)
        if self.trainer is not None and self.trainer.is_global_zero and not self._told:
            self._told = True
            print(self.report(), file=sys.stderr)

    def introduce(self) -> None:
        """Let the task take from the data what it must know, and compare them with its checkpoint or its training."""
        super().introduce()
        task = None if self.trainer is None else self.trainer.lightning_module
        if self.trainer is None or task is None or self.trainer.state.fn is None:
            return
        stage, self.overlap = self.trainer.state.fn.value, None
        trained = task.trained_on if isinstance(task, RemembersSubjects) else None
        paths = [one.checkpoint for one in self.trainer.callbacks if isinstance(one, RunFolder)]  # type: ignore[attr-defined]
        if stage != "fit" and trained is not None:
            self._count_known(trained, stage)
        elif paths and paths[0] is not None:  # what differs stops a run before it has a folder
            self.compare(read_checkpoint(paths[0]), stage)

    def compare(self, checkpoint: Mapping[str, Any], stage: str) -> None:
        """Compare these data with those that a checkpoint's model was fitted on.

        The options in `reading` must be as they were, unless `allow_other_rules` names them. The subjects of a resumed
        run must be the same; those of a validation or a test must not have trained the model, unless `allow_overlap`
        says so, and in a test they must not have validated it. What differs and may is said on stderr; `overlap` keeps
        the count of subjects. A checkpoint from before its subjects were kept is said to be unchecked.

        Args:
            checkpoint: As `core.training.read_checkpoint` answers it.
            stage: "fit" to resume, "validate", "test" or "predict".

        Raises:
            ValueError: Something differs that may not.
        """
        stored = checkpoint.get("datamodule_hyper_parameters", {})
        options, allowed = dict(self.hparams), self.allow_other_rules
        self._say(*differing_rules(stored, options, self.reading, self.noted, allowed, resume=stage == "fit"))
        if KEY not in checkpoint:
            self._say(
                "note: the checkpoint does not say who trained the model: its subjects were not compared with these"
            )
            return
        trained = TrainedOn.from_state(checkpoint[KEY])
        if stage == "fit":
            check_resumed(trained, self.trained_on())
        else:
            self._count_known(trained, stage)

    def trained_on(self) -> TrainedOn:
        """The subjects of the training and of the validation part, for a checkpoint."""
        raw, split = self.arranged()
        train, val = (raw.subjects[part].tolist() for part in (split.train, split.val))
        return TrainedOn.of(train, val, self.population())

    def population(self) -> str:
        """Within which an identifier names one subject: "" for files of your own, a name for a published data set."""
        return ""

    def _count_known(self, trained: TrainedOn, stage: str) -> None:
        raw, split = self.arranged()
        subjects = raw.subjects[getattr(split, STAGES[stage])].tolist()
        self.overlap, notes = known_subjects(trained, subjects, self.population(), stage, self.allow_overlap)
        self._say(*notes)

    def _say(self, *notes: str) -> None:
        """Each note once, on stderr."""
        for note in notes:
            if note not in self._notes and (self.trainer is None or self.trainer.is_global_zero):
                print(note, file=sys.stderr)
            self._notes.append(note)

    def draw(self, samples: EventSamples) -> Split:
        """Split the subjects, stratified by target."""
        return subject_split(
            samples.subjects,
            strata(samples),
            val=self.val_fraction,
            test=self.test_fraction,
            fold=self.fold,
            folds=self.folds,
            seed=self.split_seed,
        )

    def fit_vocabulary(self, samples: EventSamples, split: Split) -> Vocabulary:
        """The codes of the training part alone."""
        unknown = self.unseen == "unknown"
        return Vocabulary.fit(samples.select(split.train), min_subjects=self.min_subjects, unknown=unknown)

    def use_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Encode all parts in these codes: those of the training part, or those of a trained model."""
        raw, split = self.arranged()
        self.vocabulary = vocabulary
        self.whole, _ = vocabulary.encode(raw, self.unseen)
        unseen: dict[str, dict[str, int]] = {}
        for part in PARTS:
            index = getattr(split, part)
            if len(index) == 0:
                self.samples.pop(part, None)
                continue
            self.samples[part], unseen[part] = vocabulary.encode(raw.select(index), self.unseen)
        sets = {
            part: EventDataset(self.samples[part], getattr(split, part)) if part in self.samples else None
            for part in PARTS
        }
        self.train_set, self.val_set, self.test_set = (sets[part] for part in PARTS)
        reports = tuple(report for report in self.reports if not isinstance(report, SplitReport))
        outside = len(raw) - sum(len(getattr(split, part)) for part in PARTS)
        self.reports = (*reports, SplitReport(f"split by subject: {split}", outside, unseen, self.unseen))

    def use_outcome(self, outcome: Outcome) -> None:
        """Put the targets of all parts into the order of a model's outcome: classes and labels go by their names."""
        self.arranged()
        assert self.whole is not None
        self.whole = with_outcome(self.whole, outcome)
        self.samples = {part: with_outcome(samples, outcome) for part, samples in self.samples.items()}
        for part, dataset in zip(PARTS, (self.train_set, self.val_set, self.test_set), strict=True):
            if isinstance(dataset, EventDataset):
                dataset.samples = self.samples[part]

    @property
    def codes(self) -> tuple[str, ...]:
        """The vocabulary in use."""
        self.arranged()
        assert self.vocabulary is not None
        return self.vocabulary.codes

    @property
    def static_names(self) -> tuple[str, ...]:
        """The static columns in use."""
        self.arranged()
        assert self.vocabulary is not None
        return self.vocabulary.static_names

    @property
    def kind(self) -> Kind:
        """What the target is."""
        return self.arranged()[0].kind

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the classes (binary: of class 1 alone) or labels."""
        self.arranged()
        assert self.whole is not None
        return self.whole.target_names

    def names_of(self, index: torch.Tensor) -> list[str]:
        """Identifiers of items, by their `index`."""
        self.arranged()
        return [self._names[int(item)] for item in index]

    def keys_of(self, index: torch.Tensor) -> dict[str, Any]:
        """Columns that join items with their labels, by their `index`: id, subject and prediction_time."""
        raw, _ = self.arranged()
        rows = index.cpu().numpy()
        stamps = raw.stamps[rows]
        return {"id": self.names_of(index), "subject": raw.subjects[rows].tolist(), "prediction_time": stamps}

    def fingerprint(self) -> str:
        """A hash of all samples."""
        return self.arranged()[0].fingerprint()

    def report(self) -> str:
        """What was met while reading, joining and splitting."""
        self.arranged()
        return "\n".join(str(report) for report in self.reports)

    def batch_keys(self, dataset: Any, **options: Any) -> BatchKeys:
        """In training, batches of samples of similar lengths."""
        if not options["shuffle"] or self.bucket == 1 or not isinstance(dataset, EventDataset):
            return super().batch_keys(dataset, **options)
        return LengthKeys(dataset.samples.lengths, self.batch_size, bucket=self.bucket, **options)

    def arranged(self) -> tuple[EventSamples, Split]:
        """All samples in the codes of their files, and the split.

        Raises:
            RuntimeError: There are none yet.
        """
        if self.raw is None or self.split is None:
            raise RuntimeError(f"{type(self).__name__}: expected setup() to have been called, got no data yet")
        return self.raw, self.split
