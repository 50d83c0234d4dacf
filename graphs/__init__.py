"""Attention on graphs (on PyTorch Geometric).

Needs the extra `graphs`. Importing it makes the tasks and data modules known to the command line.
"""

import warnings

from attention_suite import check_core

check_core(__name__)

from core.extras import MissingExtraError, former_modules  # noqa: E402

try:
    with warnings.catch_warnings():
        # PyTorch Geometric 2.8 compiles a class by torch.jit.script when it is imported, which torch 2.14 deprecates.
        warnings.filterwarnings("ignore", "(?s).*torch.jit.script.*deprecated", FutureWarning)
        import torch_geometric as _torch_geometric  # noqa: F401
    from .demand.data import DayBatch, SupplyGraphData
    from .demand.task import DemandForecastTask
    from .layers.attention import GraphAttention, GraphAttentionOutput
    from .layers.receptive import ReceptiveField, receptive_field
    from .layers.structure import AddHops, hop_pairs
    from .layers.transformer import GraphTransformer
    from .nodes.data.arrays import GraphArrayData
    from .nodes.data.base import LabelledGraph, NodeBatch, NodeData
    from .nodes.data.planetoid import PlanetoidData
    from .nodes.data.saved import SavedGraphData
    from .nodes.sampling import NeighbourSampler
    from .nodes.task import NodeClassificationTask
    from .supply.data.flows import FlowData, ShockBatch, ShockItem
    from .supply.data.input_output import InputOutputData
    from .supply.data.synthetic import SyntheticEconomy, SyntheticEconomyData
    from .supply.economy import Economy
    from .supply.task import SupplyChainTask
except ModuleNotFoundError as error:
    raise MissingExtraError("graphs", error, "graphs") from error

FORMER_MODULES = {
    "breadth": "graphs.supply.breadth",
    "exact": "graphs.supply.exact",
    "input_output": "graphs.supply.input_output",
    "propagation": "graphs.supply.model",
    "relations": "graphs.supply.relations",
    "shocks": "graphs.supply.shocks",
}
"""Former name -> module that is reached by it, as `graphs.exact`."""

__getattr__ = former_modules(__name__, FORMER_MODULES)

__all__ = [
    "AddHops",
    "DayBatch",
    "DemandForecastTask",
    "Economy",
    "FlowData",
    "GraphArrayData",
    "GraphAttention",
    "GraphAttentionOutput",
    "GraphTransformer",
    "InputOutputData",
    "LabelledGraph",
    "NeighbourSampler",
    "NodeBatch",
    "NodeClassificationTask",
    "NodeData",
    "PlanetoidData",
    "ReceptiveField",
    "SavedGraphData",
    "ShockBatch",
    "ShockItem",
    "SupplyChainTask",
    "SupplyGraphData",
    "SyntheticEconomy",
    "SyntheticEconomyData",
    "hop_pairs",
    "receptive_field",
]
