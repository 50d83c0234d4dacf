"""Node classification (N5): task, data, baselines."""

from .baselines import label_propagation, logistic_regression
from .sampling import NeighbourSampler
from .task import NodeClassificationTask

__all__ = [
    "NeighbourSampler",
    "NodeClassificationTask",
    "label_propagation",
    "logistic_regression",
]
