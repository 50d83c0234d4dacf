"""Attention on graphs (on PyTorch Geometric).

Needs the extra `graphs`. Importing it makes the tasks and data modules known to the command line.
"""

import warnings

from core.extras import MissingExtraError

try:
    with warnings.catch_warnings():
        # PyTorch Geometric 2.8 compiles a class by torch.jit.script when it is imported, which torch 2.14 deprecates.
        warnings.filterwarnings("ignore", "(?s).*torch.jit.script.*deprecated", FutureWarning)
        import torch_geometric as _torch_geometric  # noqa: F401
    from .attention import GraphAttention, GraphAttentionOutput
    from .classification import NodeClassificationTask
    from .data.economy import SyntheticEconomy
    from .data.input_output import InputOutputData
    from .data.planetoid import PlanetoidData
    from .data.saved import SavedGraphData
    from .data.supplygraph import SupplyGraphData
    from .economy import Economy
    from .forecast import DemandForecastTask
    from .model import GraphTransformer
    from .receptive import ReceptiveField, receptive_field
    from .sampling import NeighbourSampler
    from .structure import AddHops, hop_pairs
    from .supply_chain import SupplyChainTask
except ModuleNotFoundError as error:
    raise MissingExtraError("graphs", error, "graphs") from error

__all__ = [
    "AddHops",
    "DemandForecastTask",
    "Economy",
    "GraphAttention",
    "GraphAttentionOutput",
    "GraphTransformer",
    "InputOutputData",
    "NeighbourSampler",
    "NodeClassificationTask",
    "PlanetoidData",
    "ReceptiveField",
    "SavedGraphData",
    "SupplyChainTask",
    "SupplyGraphData",
    "SyntheticEconomy",
    "hop_pairs",
    "receptive_field",
]
