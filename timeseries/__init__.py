"""Attention for irregular events in time.

    lightning fit --config configs/timeseries/physionet2012.yaml --data.root DIR --data.train a --data.test b

Needs the extra `timeseries`. Importing it registers the data modules with the command line.
"""

from core.extras import MissingExtraError

try:
    from .batches import EventBatch, EventDataset, LengthKeys, pad
    from .cohort import Cohort, Labels, build_samples
    from .data import EventDataModule, EventTable, LoadedEvents, Meds, Nafld, PhysioNet2012, SyntheticEvents
    from .events import EventRecords, ReadReport
    from .label_reader import read_labels
    from .meds_reader import read_meds
    from .physionet import read_physionet
    from .samples import EventItem, EventSamples
    from .splits import Split, subject_split
    from .summary import SummaryFeatures
    from .table_reader import TableRules, read_table
    from .vocabulary import Vocabulary
except ModuleNotFoundError as error:
    raise MissingExtraError("timeseries", error, "timeseries") from error

__all__ = [
    "Cohort",
    "EventBatch",
    "EventDataModule",
    "EventDataset",
    "EventItem",
    "EventRecords",
    "EventSamples",
    "EventTable",
    "Labels",
    "LengthKeys",
    "LoadedEvents",
    "Meds",
    "Nafld",
    "PhysioNet2012",
    "ReadReport",
    "Split",
    "SummaryFeatures",
    "SyntheticEvents",
    "TableRules",
    "Vocabulary",
    "build_samples",
    "pad",
    "read_labels",
    "read_meds",
    "read_physionet",
    "read_table",
    "subject_split",
]
