"""Irregular events: records, samples, batches, vocabularies and splits by subject."""

from .batches import EventBatch, EventDataset, LengthKeys, pad, unpad
from .cohort import Cohort, Labels, build_samples
from .records import EventRecords
from .samples import EventItem, EventSamples
from .splits import PARTS, Split, split_by_subject, subject_split
from .summary import SummaryFeatures
from .synthetic import Planted, plant
from .trained_on import KEY, ComparesSubjects, Overlap, RemembersSubjects, TrainedOn
from .units import unit_rules
from .vocabulary import Vocabulary, merge

__all__ = [
    "KEY",
    "PARTS",
    "Cohort",
    "ComparesSubjects",
    "EventBatch",
    "EventDataset",
    "EventItem",
    "EventRecords",
    "EventSamples",
    "Labels",
    "LengthKeys",
    "Overlap",
    "Planted",
    "RemembersSubjects",
    "Split",
    "SummaryFeatures",
    "TrainedOn",
    "Vocabulary",
    "build_samples",
    "merge",
    "pad",
    "plant",
    "split_by_subject",
    "subject_split",
    "unit_rules",
    "unpad",
]
