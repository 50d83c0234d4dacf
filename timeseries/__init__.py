"""Attention for irregular events in time.

    attention-suite fit --config configs/timeseries/physionet2012.yaml --data.root DIR --data.train a --data.test b

Needs the extra `timeseries`. Importing it registers the task and the data modules with the
command line.
"""

from attention_suite import check_core

check_core(__name__)

from core.extras import MissingExtraError  # noqa: E402

try:
    from .ehr.data import EventDataModule, EventTable, LoadedEvents, Meds, Nafld, PhysioNet2012, SyntheticEvents
    from .ehr.decayed_means import DecayedMeans, fit_decayed_means
    from .ehr.ensemble import EventEnsemble, load_task
    from .ehr.model.model import EventModel
    from .ehr.model.tokens import Tokenizer
    from .ehr.report import report_run
    from .ehr.task import EventClassificationTask
    from .events.batches import EventBatch, EventDataset, LengthKeys, pad
    from .events.cohort import Cohort, Labels, build_samples
    from .events.readers.labels import read_labels
    from .events.readers.meds import read_meds
    from .events.readers.physionet import read_physionet
    from .events.readers.tables import TableRules, read_table
    from .events.records import EventRecords, ReadReport
    from .events.samples import EventItem, EventSamples
    from .events.splits import Split, subject_split
    from .events.summary import SummaryFeatures
    from .events.vocabulary import Vocabulary
    from .probabilities.outcomes import Outcome
    from .probabilities.recalibration import Recalibration
    from .probabilities.report import EvaluationReport, model_card
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
