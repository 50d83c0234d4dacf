"""Data modules of events in time."""

from .arrays import EventArrayData
from .base import EventDataModule
from .former import EventTable, Meds, Nafld, PhysioNet2012, SyntheticEvents
from .loaded import LoadedEvents
from .meds import MedsData
from .nafld import NafldData
from .physionet import PhysioNet2012Data
from .synthetic import SyntheticEventsData
from .table import EventTableData

__all__ = [
    "EventArrayData",
    "EventDataModule",
    "EventTable",
    "EventTableData",
    "LoadedEvents",
    "Meds",
    "MedsData",
    "Nafld",
    "NafldData",
    "PhysioNet2012",
    "PhysioNet2012Data",
    "SyntheticEvents",
    "SyntheticEventsData",
]
