"""Former names of data modules, and of modules, lead to what they meant."""

import pytest

import timeseries
from core.training import LoadedDataModule
from timeseries.ehr.data import former

NAMES = ("EventTable", "Meds", "Nafld", "PhysioNet2012", "SyntheticEvents")


@pytest.mark.parametrize("name", NAMES)
def test_a_former_class_is_the_one_of_today(name: str) -> None:
    old, new = getattr(timeseries, name), getattr(timeseries, f"{name}Data")
    assert issubclass(old, new) and issubclass(new, LoadedDataModule)
    assert old.former and not new.former
    assert old.__doc__ == f"Former name of `{name}Data`." and old.__init__ is new.__init__


def test_all_of_them_are_there() -> None:
    assert [name for name in vars(former) if vars(former)[name] in [getattr(timeseries, each) for each in NAMES]] == [
        *NAMES
    ]


@pytest.mark.parametrize("name", timeseries.FORMER_MODULES)
def test_a_former_module_is_an_attribute(name: str) -> None:
    assert getattr(timeseries, name).__name__ == timeseries.FORMER_MODULES[name]


def test_another_name_is_none() -> None:
    with pytest.raises(AttributeError, match="module 'timeseries' has no attribute 'nothing'"):
        timeseries.nothing  # noqa: B018


def test_the_split_in_words() -> None:
    data = timeseries.SyntheticEventsData(count=30, events_per_code=2, fold=1, folds=3, val_fraction=0.0)
    with pytest.raises(RuntimeError, match=r"expected setup\(\) to have been called"):
        data.describe_split()
    data.setup()
    assert data.describe_split() == (
        "by subject, fold 1 of 3, seed 0: train 20 samples of 20 subjects, val 0 samples of 0 subjects, test 10 "
        "samples of 10 subjects"
    )
