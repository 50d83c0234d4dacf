"""Attention for irregular events in time.

    lightning fit --config configs/timeseries/physionet2012.yaml --data.root DIR --data.train a --data.test b

Needs the extra `timeseries`. Importing it registers the data modules with the command line.
"""

from core.extras import MissingExtraError

try:
    from .batches import EventBatch, EventDataset, LengthKeys, pad
    from .cohort import Cohort, Labels, build_samples
    from .data import EventDataModule, LoadedEvents, Nafld, PhysioNet2012, SyntheticEvents
    from .events import EventTable, ReadReport
    from .physionet import read_physionet
    from .samples import EventItem, EventSamples
    from .splits import Split, subject_split
    from .summary import SummaryFeatures
    from .vocabulary import Vocabulary
except ModuleNotFoundError as error:
    raise MissingExtraError("timeseries", error, "timeseries") from error

__all__ = [
    "Cohort",
    "EventBatch",
    "EventDataModule",
    "EventDataset",
    "EventItem",
    "EventSamples",
    "EventTable",
    "Labels",
    "LengthKeys",
    "LoadedEvents",
    "Nafld",
    "PhysioNet2012",
    "ReadReport",
    "Split",
    "SummaryFeatures",
    "SyntheticEvents",
    "Vocabulary",
    "build_samples",
    "pad",
    "read_physionet",
    "subject_split",
]
