"""Data modules of events in time."""

from .base import EventDataModule, LoadedEvents
from .physionet import PhysioNet2012

__all__ = ["EventDataModule", "LoadedEvents", "PhysioNet2012"]
