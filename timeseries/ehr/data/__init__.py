"""Data modules of events in time."""

from .base import EventDataModule, LoadedEvents
from .meds import Meds
from .nafld import Nafld
from .physionet import PhysioNet2012
from .synthetic import SyntheticEvents
from .table import EventTable

__all__ = ["EventDataModule", "EventTable", "LoadedEvents", "Meds", "Nafld", "PhysioNet2012", "SyntheticEvents"]
