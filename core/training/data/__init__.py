"""Data modules: where the data come from, and which samples make which batch."""

from .module import DataModule, hash_arrays, hash_files
from .sampling import BatchKeys, Loader

__all__ = ["BatchKeys", "DataModule", "Loader", "hash_arrays", "hash_files"]
