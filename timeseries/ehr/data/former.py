"""The names that the data modules had before they ended in "Data"; configurations and checkpoints hold them."""

from typing import ClassVar

from .meds import MedsData
from .nafld import NafldData
from .physionet import PhysioNet2012Data
from .synthetic import SyntheticEventsData
from .table import EventTableData


class EventTable(EventTableData):
    """Former name of `EventTableData`."""

    former: ClassVar[bool] = True


class Meds(MedsData):
    """Former name of `MedsData`."""

    former: ClassVar[bool] = True


class Nafld(NafldData):
    """Former name of `NafldData`."""

    former: ClassVar[bool] = True


class PhysioNet2012(PhysioNet2012Data):
    """Former name of `PhysioNet2012Data`."""

    former: ClassVar[bool] = True


class SyntheticEvents(SyntheticEventsData):
    """Former name of `SyntheticEventsData`."""

    former: ClassVar[bool] = True
