"""Settings for every test: the same random numbers each time, and one thread: small problems gain nothing by more."""

import hypothesis
import pytest
import torch
from torch.utils.data import DataLoader

hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("suite")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _whole_loaders():
    """Lightning 2.6 patches DataLoader while it asks for loaders, and leaves it so where that raises."""
    yield
    for cls in (DataLoader, *DataLoader.__subclasses__()):
        for name in ("__init__", "__setattr__", "__delattr__"):
            if f"__old{name}" in vars(cls):
                setattr(cls, name, vars(cls)[f"__old{name}"])
                delattr(cls, f"__old{name}")
