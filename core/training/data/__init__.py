"""Data modules: where the data come from, who trains and who judges, and which samples make which batch."""

from .loaded import DrawnDataModule, LoadedDataModule
from .module import DataModule, hash_arrays, hash_files
from .sampling import BatchKeys, Key, Loader, mix
from .split import PARTS, Split

__all__ = [
    "PARTS",
    "BatchKeys",
    "DataModule",
    "DrawnDataModule",
    "Key",
    "LoadedDataModule",
    "Loader",
    "Split",
    "hash_arrays",
    "hash_files",
    "mix",
]
