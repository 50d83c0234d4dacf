import importlib

import pytest

import graphs
from core.training.registry import public_path

FORMER = {"breadth", "exact", "input_output", "propagation", "relations", "shocks"}


def test_modules_are_reached_by_their_former_names():
    assert set(graphs.FORMER_MODULES) == FORMER
    for name, path in graphs.FORMER_MODULES.items():
        assert getattr(graphs, name) is importlib.import_module(path)
    assert graphs.exact.propagate and graphs.propagation.Propagation
    with pytest.raises(AttributeError, match="module 'graphs' has no attribute 'nothing'"):
        getattr(graphs, "nothing")  # noqa: B009


def test_class_paths_are_those_that_checkpoints_store():
    names = ["DemandForecastTask", "NodeClassificationTask", "SupplyChainTask", "GraphArrayData", "InputOutputData"]
    names += ["PlanetoidData", "SavedGraphData", "SupplyGraphData", "SyntheticEconomy", "SyntheticEconomyData"]
    for name in names:
        assert public_path(getattr(graphs, name)) == f"graphs.{name}"
