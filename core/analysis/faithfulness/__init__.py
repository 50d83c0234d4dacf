"""May attention be read as an explanation of an output? Tests, controls and a verdict."""

from .intervention import rewritten, uniform_weights
from .measure import FaithfulnessOptions, SearchOptions, faithfulness
from .planted import PlantedModel, call_planted, planted_items
from .report import FaithfulnessReport
from .subject import Call, plain_call
from .units import Patches, Positions, Units
from .verdict import AGREEMENT, FREE_DIVERGENCE, OUTPUT_CHANGE

__all__ = [
    "AGREEMENT",
    "FREE_DIVERGENCE",
    "OUTPUT_CHANGE",
    "Call",
    "FaithfulnessOptions",
    "FaithfulnessReport",
    "Patches",
    "PlantedModel",
    "Positions",
    "SearchOptions",
    "Units",
    "call_planted",
    "faithfulness",
    "plain_call",
    "planted_items",
    "rewritten",
    "uniform_weights",
]
