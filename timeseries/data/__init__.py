"""Data modules of events in time."""

from .base import EventDataModule, LoadedEvents
from .nafld import Nafld
from .physionet import PhysioNet2012
from .synthetic import SyntheticEvents

__all__ = ["EventDataModule", "LoadedEvents", "Nafld", "PhysioNet2012", "SyntheticEvents"]
