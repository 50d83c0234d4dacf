"""Attention on graphs: inputs, pairs, structure, layers and the model made of them."""

from .attention import GraphAttention, GraphAttentionOutput
from .inputs import check_edge_index
from .receptive import ReceptiveField, hop_distances, receptive_field
from .structure import AddHops, hop_pairs, in_degree
from .transformer import GraphTransformer

__all__ = [
    "AddHops",
    "GraphAttention",
    "GraphAttentionOutput",
    "GraphTransformer",
    "ReceptiveField",
    "check_edge_index",
    "hop_distances",
    "hop_pairs",
    "in_degree",
    "receptive_field",
]
