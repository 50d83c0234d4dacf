"""Readers of events and labels: tables, MEDS, PhysioNet 2012, NAFLD."""

from .cache import cached
from .labels import read_labels
from .meds import places_of, read_meds, read_meds_labels, read_meds_split, shards
from .nafld import nafld_labels, read_nafld, study_files
from .physionet import HOURS, PhysioNetStays, fingerprint, read_physionet
from .physionet_outcomes import AUXILIARY, TARGET
from .table_files import find_tables
from .tables import TableRules, read_table

__all__ = [
    "AUXILIARY",
    "HOURS",
    "TARGET",
    "PhysioNetStays",
    "TableRules",
    "cached",
    "find_tables",
    "fingerprint",
    "nafld_labels",
    "places_of",
    "read_labels",
    "read_meds",
    "read_meds_labels",
    "read_meds_split",
    "read_nafld",
    "read_physionet",
    "read_table",
    "shards",
    "study_files",
]
