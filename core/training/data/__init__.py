"""Data modules: where the data come from, who trains and who judges, and which samples make which batch."""

from .arrays import as_array, column_names, item_names
from .loaded import DrawnDataModule, LoadedDataModule
from .module import DataModule, hash_arrays, hash_files
from .sampling import BatchKeys, Key, Loader, mix
from .split import PARTS, Split, check_scheme

__all__ = [
    "PARTS",
    "BatchKeys",
    "DataModule",
    "DrawnDataModule",
    "Key",
    "LoadedDataModule",
    "Loader",
    "Split",
    "as_array",
    "check_scheme",
    "column_names",
    "hash_arrays",
    "hash_files",
    "item_names",
    "mix",
]
