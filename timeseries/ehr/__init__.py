"""Health records (T1, T4): task, model, data, baselines, explanation and report."""

from .decayed_means import DecayedMeans, fit_decayed_means, matched
from .ensemble import EventEnsemble, load_task
from .explain import attention_faithfulness, most_frequent, timeline
from .figures import decision_figure, half_life_figure, reliability_figure, timeline_figure
from .groups import nafld_groups, physionet_groups
from .recipe import pretrain, read_recipe, train
from .report import report_run
from .task import EventClassificationTask

__all__ = [
    "DecayedMeans",
    "EventClassificationTask",
    "EventEnsemble",
    "attention_faithfulness",
    "decision_figure",
    "fit_decayed_means",
    "half_life_figure",
    "load_task",
    "matched",
    "most_frequent",
    "nafld_groups",
    "physionet_groups",
    "pretrain",
    "read_recipe",
    "reliability_figure",
    "report_run",
    "timeline",
    "timeline_figure",
    "train",
]
