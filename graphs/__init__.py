"""Attention on graphs (on PyTorch Geometric).

Needs the extra `graphs`. Importing it makes the tasks and data modules known to the command line.
"""

import warnings

from attention_suite import check_core

check_core(__name__)

from core.extras import MissingExtraError  # noqa: E402

try:
    with warnings.catch_warnings():
        # PyTorch Geometric 2.8 compiles a class by torch.jit.script when it is imported, which torch 2.14 deprecates.
        warnings.filterwarnings("ignore", "(?s).*torch.jit.script.*deprecated", FutureWarning)
        import torch_geometric as _torch_geometric  # noqa: F401
    from .demand.data import SupplyGraphData
    from .demand.task import DemandForecastTask
    from .layers.attention import GraphAttention, GraphAttentionOutput
    from .layers.receptive import ReceptiveField, receptive_field
    from .layers.structure import AddHops, hop_pairs
    from .layers.transformer import GraphTransformer
    from .nodes.data.planetoid import PlanetoidData
    from .nodes.data.saved import SavedGraphData
    from .nodes.sampling import NeighbourSampler
    from .nodes.task import NodeClassificationTask
    from .supply.data.input_output import InputOutputData
    from .supply.data.synthetic import SyntheticEconomy
    from .supply.economy import Economy
    from .supply.task import SupplyChainTask
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
