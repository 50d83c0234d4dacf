"""The event model: tokens, values, encoder, summary branch, pretraining."""

from .model import EventModel, EventOutput
from .pretrain import Forecast, idle_parameters, take_encoder, two_hills
from .summary_branch import summary_columns
from .tokens import EncodedEvents, TokenBatch, Tokenizer
from .values import NormalScores

__all__ = [
    "EncodedEvents",
    "EventModel",
    "EventOutput",
    "Forecast",
    "NormalScores",
    "TokenBatch",
    "Tokenizer",
    "idle_parameters",
    "summary_columns",
    "take_encoder",
    "two_hills",
]
