"""Attention for irregular events in time.

    attention-suite fit --config configs/timeseries/physionet2012.yaml --data.root DIR --data.train a --data.test b

Needs the extra `timeseries`. Importing it registers the task and the data modules with the
command line.
"""

from attention_suite import check_core

check_core(__name__)

from core.extras import MissingExtraError, former_modules  # noqa: E402

try:
    from .ehr.data import (
        EventArrayData,
        EventDataModule,
        EventTable,
        EventTableData,
        LoadedEvents,
        Meds,
        MedsData,
        Nafld,
        NafldData,
        PhysioNet2012,
        PhysioNet2012Data,
        SyntheticEvents,
        SyntheticEventsData,
    )
    from .ehr.decayed_means import DecayedMeans, fit_decayed_means
    from .ehr.ensemble import EventEnsemble, load_task
    from .ehr.model.model import EventModel
    from .ehr.model.tokens import Tokenizer
    from .ehr.report import report_run
    from .ehr.task import EventClassificationTask
    from .events.batches import EventBatch, EventDataset, LengthKeys, pad
    from .events.cohort import Cohort, Labels, build_samples
    from .events.read_report import ReadReport
    from .events.readers.labels import read_labels
    from .events.readers.meds import read_meds
    from .events.readers.physionet import read_physionet
    from .events.readers.tables import TableRules, read_table
    from .events.records import EventRecords
    from .events.samples import EventItem, EventSamples
    from .events.splits import Split, subject_split
    from .events.summary import SummaryFeatures
    from .events.vocabulary import Vocabulary
    from .probabilities.outcomes import Outcome
    from .probabilities.recalibration import Recalibration
    from .probabilities.report import EvaluationReport, model_card
except ModuleNotFoundError as error:
    raise MissingExtraError("timeseries", error, "timeseries") from error

FORMER_MODULES = {
    "auxiliary": "timeseries.ehr.auxiliary",
    "explain": "timeseries.ehr.explain",
    "nafld": "timeseries.events.readers.nafld",
    "pickled_frames": "timeseries.events.readers.pickled_frames",
    "pictures": "timeseries.ehr.figures",
    "summary_branch": "timeseries.ehr.model.summary_branch",
    "synthetic": "timeseries.events.synthetic",
    "tabular_hazards": "timeseries.ehr.baselines.tabular_hazards",
}
"""Former name -> module that is reached by it, as `timeseries.pictures`."""

__getattr__ = former_modules(__name__, FORMER_MODULES)

__all__ = [
    "Cohort",
    "DecayedMeans",
    "EvaluationReport",
    "EventArrayData",
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
    "EventTableData",
    "Labels",
    "LengthKeys",
    "LoadedEvents",
    "Meds",
    "MedsData",
    "Nafld",
    "NafldData",
    "Outcome",
    "PhysioNet2012",
    "PhysioNet2012Data",
    "ReadReport",
    "Recalibration",
    "Split",
    "SummaryFeatures",
    "SyntheticEvents",
    "SyntheticEventsData",
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
