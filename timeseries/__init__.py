"""Attention for irregular events in time.

    lightning fit --config configs/timeseries/physionet2012.yaml --data.root DIR --data.train a --data.test b

Needs the extra `timeseries`. Importing it registers the task and the data modules with the
command line.
"""

from core.extras import MissingExtraError

try:
    from .batches import EventBatch, EventDataset, LengthKeys, pad
    from .cohort import Cohort, Labels, build_samples
    from .data import EventDataModule, EventTable, LoadedEvents, Meds, Nafld, PhysioNet2012, SyntheticEvents
    from .decayed_means import DecayedMeans, fit_decayed_means
    from .ehr import EventClassificationTask
    from .ensemble import EventEnsemble, load_task
    from .events import EventRecords, ReadReport
    from .label_reader import read_labels
    from .meds_reader import read_meds
    from .model import EventModel
    from .outcomes import Outcome
    from .physionet import read_physionet
    from .recalibration import Recalibration
    from .report import EvaluationReport, model_card
    from .run_report import report_run
    from .samples import EventItem, EventSamples
    from .splits import Split, subject_split
    from .summary import SummaryFeatures
    from .table_reader import TableRules, read_table
    from .tokens import Tokenizer
    from .vocabulary import Vocabulary
except ModuleNotFoundError as error:
    raise MissingExtraError("timeseries", error, "timeseries") from error

__all__ = [
    "Cohort",
    "DecayedMeans",
    "EvaluationReport",
    "EventBatch",
    "EventClassificationTask",
    "EventDataModule",
    "EventDataset",
    "EventEnsemble",
    "EventItem",
    "EventModel",
    "EventRecords",
    "EventSamples",
    "EventTable",
    "Labels",
    "LengthKeys",
    "LoadedEvents",
    "Meds",
    "Nafld",
    "Outcome",
    "PhysioNet2012",
    "ReadReport",
    "Recalibration",
    "Split",
    "SummaryFeatures",
    "SyntheticEvents",
    "TableRules",
    "Tokenizer",
    "Vocabulary",
    "build_samples",
    "fit_decayed_means",
    "load_task",
    "model_card",
    "pad",
    "read_labels",
    "read_meds",
    "read_physionet",
    "read_table",
    "report_run",
    "subject_split",
]
