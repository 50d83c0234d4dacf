r"""Attention along the edges of a graph, with an optional second branch among all nodes.

One layer of this file passes messages over one edge (or over `hops` of them): D layers see D hops and no further. The
global branch sees the whole graph and breaks that guarantee.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import TransformerConv

from .global_attention import GlobalAttention, GlobalWeights
from .inputs import Features, GraphInput, checked, of_data, of_hetero, split_hetero
from .messages import EdgeMessages
from .pairs import DUPLICATES, list_pairs, merged
from .structure import HopPairs, StructuralBias, hop_pairs, in_degree

TOP = 8  # keys of the global branch in a read-out


class GraphAttentionOutput(NamedTuple):
    """What a layer answers with `return_attention`.

    Shapes:
        out: as without it.
        edge_index: (2, P), the pairs that were attended over: the edges, after merging, then pairs further apart.
        edge_weights: (P, H), over the pairs that end in a node they sum to 1 (before dropout and gate).
        global_weights: whom each node attends to most in the global branch, or None.
    """

    out: Any
    edge_index: Tensor
    edge_weights: Tensor
    global_weights: GlobalWeights | None = None


class GraphAttention(EdgeMessages):
    r"""Each node attends to the nodes from which an edge leads to it.

    .. math::
        a_{hij} &= \left(\frac{q_{hi} \cdot (k_{hj} + z_{h,ji})}{\sqrt{C}} + b_{hij}\right) / T, \quad
        w_{hij} = \operatorname{softmax}_{j \to i}\, a_{hij} \\
        m_{hi} &= g_{hi} \sum_{j \to i} w_{hij} (v_{hj} + z_{h,ji}) + c_h\, y_{hi} \\
        x'_i &= m_i + W_s x_i, \qquad \text{with beta: } \beta_i W_s x_i + (1 - \beta_i)\, m_i

    with z = W_e e the edge's features, b the structural bias (`graphs.layers.structure`), g the gate and y the global
    branch (`graphs.layers.global_attention`); heads are concatenated or averaged. Without b, g, y and T it is
    TransformerConv of PyTorch Geometric, whose parameters have the same names.

    What is defined: a node without incoming edges attends to nothing, its m is 0 without the global branch. Self loops
    are edges like others, none is added. Graphs of a batch do not see each other, and NaN in one stays in it; an edge
    between two of them is an error. Empty graphs and graphs without edges work. Two edges of one pair (of one relation)
    are refused, or merged, as `duplicates` says. A pair joined by several relations is one pair: it is attended to
    once, biases and edge features add up, and its weight stands at each of its edges.

    Args:
        in_channels: Features of a node; (source, target) where they differ.
        out_channels: C, features of a head.
        heads: H.
        edge_dim: Features of an edge; None for none.
        concat: Answer H * C features, else the mean over heads, C.
        beta: Learn how much of the node itself to keep.
        bias: Have biases in the projections of nodes.
        root_weight: Have W_s.
        dropout: Probability of dropping an attention weight, in training.
        temperature: T.
        structure: Parts of the structural bias: "log_weight" (s_h ln of `edge_weight`), "degree" (of the source),
            "shortest_path" (by distance).
        hops: Attend to nodes at up to so many edges' distance; 1 for edges alone.
        max_distance: Of the global branch's "shortest_path": distances beyond it count alike.
        relations: Number of edge types; each has a bias of its own for each head. 0 for none.
        relation_heads: The relation that each head is confined to; None lets every head see all.
        gate: g: None for 1, "head" or "feature" for a sigmoid of W_g x_i by head or by feature, "mass" for the sum of
            exp(a_hij) over the edges, which undoes the softmax's division (with zero queries and "log_weight", the
            message is then the sum of edge weight * value).
        shared_projection: Let one projection serve as W_q, W_k and W_v: a third of the parameters, and logits that are
            likenesses of the nodes. For graphs with few labels.
        global_attention: Have the branch y; c starts at 0.1.
        global_heads: Heads of that branch, a divisor of H; each serves H / global_heads heads. None for H.
        global_dropout: Probability of dropping its weights; None for `dropout`. With 0 the fast kernels serve.
        duplicates: "refuse", or "sum" or "mean": what becomes of features and weights of edges with one pair.
        backend: Passed to `attend` for the edges; "gathered" costs time and memory by edge and keeps NaN apart.
        global_backend: Passed to `attend` for the global branch.

    Shapes:
        x: (N, in_channels), dense or sparse (COO, CSR), or ((Ns, F), (Nt, F')).
        edge_index: (2, E), row 0 the source, which is the key; row 1 the target, which is the query.
        edge_attr: (E, edge_dim); batch: (N,).
        answer: (Nt, H * C) or (Nt, C).

    Raises:
        ValueError: Options that exclude each other or are out of range.

    References:
        Shi et al.: Masked label prediction, IJCAI 2021, section 3.1 (TransformerConv, beta). Qiu et al.: Gated
        attention for large language models, 2025 (the gate). Kim, Oh: How to find your friendly neighborhood: Graph
        attention design with self-supervision, ICLR 2021 (SD: one projection). Wu et al.: SGFormer, NeurIPS 2023.
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        heads: int = 1,
        *,
        edge_dim: int | None = None,
        concat: bool = True,
        beta: bool = False,
        bias: bool = True,
        root_weight: bool = True,
        dropout: float = 0.0,
        temperature: float = 1.0,
        structure: Sequence[str] = (),
        hops: int = 1,
        max_distance: int = 3,
        relations: int = 0,
        relation_heads: Sequence[int] | None = None,
        gate: str | None = None,
        shared_projection: bool = False,
        global_attention: bool = False,
        global_heads: int | None = None,
        global_dropout: float | None = None,
        duplicates: str = "refuse",
        backend: str = "gathered",
        global_backend: str = "auto",
    ) -> None:
        super().__init__(
            (in_channels, in_channels) if isinstance(in_channels, int) else tuple(in_channels),
            out_channels,
            heads,
            edge_dim=edge_dim,
            bias=bias,
            dropout=dropout,
            temperature=temperature,
            structure=structure,
            hops=hops,
            relations=relations,
            relation_heads=relation_heads,
            gate=gate,
            shared_projection=shared_projection,
            backend=backend,
        )
        self.concat, self.root_weight, self.beta = concat, root_weight, beta and root_weight
        self.max_distance, self.duplicates = max_distance, duplicates
        self.global_heads = heads if global_heads is None else global_heads
        self._check_options(global_attention)
        target, width = self.channels[1], heads * out_channels
        answer = width if concat else out_channels
        self.lin_skip = nn.Linear(target, answer, bias=bias) if root_weight else None
        self.lin_beta = nn.Linear(3 * answer, 1, bias=False) if self.beta else None
        self.global_branch = self.global_scale = None
        if global_attention:
            shared = tuple(part for part in self.structure if part != "log_weight")
            self.global_branch = GlobalAttention(
                target,
                out_channels,
                self.global_heads,
                bias=bias,
                dropout=dropout if global_dropout is None else global_dropout,
                temperature=temperature,
                structure=shared,
                max_distance=max_distance,
                backend=global_backend,
            )
            self.global_scale = nn.Parameter(torch.empty(heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot's uniform weights, biases 0 (PyG draws them as torch does); structural biases where they are plain."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, StructuralBias):
                module.reset_parameters()
        if self.global_scale is not None:
            nn.init.constant_(self.global_scale, 0.1)

    def forward(
        self,
        x: Features | Data | HeteroData,
        edge_index: Tensor | None = None,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        return_attention: bool = False,
        *,
        edge_weight: Tensor | None = None,
        edge_type: Tensor | None = None,
        degree: Tensor | None = None,
        hop_index: Tensor | None = None,
        hop_distance: Tensor | None = None,
    ) -> Any:
        """Attend over the edges and, with the global branch, within each graph.

        Args:
            x: Features of the nodes, of (sources, targets), or a PyG object in place of all that follows. Of a `Data`
                or `Batch` the layer takes what it has parameters for; of a `HeteroData` whose node types have features
                of one width, all relations in one graph, with `relations` their numbers as edge types.
            edge_index: The edges.
            edge_attr: Their features, with `edge_dim`.
            batch: The graph of each node; None is one graph.
            return_attention: Answer a `GraphAttentionOutput` with the weights of all edges.
            edge_weight: For "log_weight": at least 0; 0 is no edge.
            edge_type: With `relations`, the relation of each edge.
            degree: For "degree", if not that of these edges: of the whole graph that a sample was drawn from.
            hop_index: Near pairs, counted beforehand by `AddHops`; else they are counted in every call that needs them.
            hop_distance: Their distances.

        Returns:
            The features; of a `HeteroData` by node type.
        """
        hetero = x if isinstance(x, HeteroData) else None
        if isinstance(x, (Data, HeteroData)):
            given = of_data(x) if isinstance(x, Data) else of_hetero(x)
            graph = self._of_object(given)
        else:
            source, target = x if isinstance(x, tuple) else (x, x)
            if edge_index is None:
                raise ValueError("edge_index: expected (2, E), got None")
            graph = GraphInput(
                source, target, edge_index, edge_attr, batch, edge_weight, edge_type, degree, hop_index, hop_distance
            )
        graph = checked(graph, self.channels, self.edge_dim, self.relations, "log_weight" in self.structure)
        answer = self._run(graph, return_attention)
        if hetero is not None:
            answer = answer._replace(out=split_hetero(hetero, answer.out))
        return answer if return_attention else answer.out

    @classmethod
    def from_transformer_conv(cls, conv: TransformerConv, **options: Any) -> Self:
        """A layer with the weights (copied) and options of PyG's TransformerConv.

        Args:
            conv: PyG's layer, initialised.
            options: Further options of this layer, such as structure.

        Raises:
            ValueError: With these options there is no place for one of the weights.
        """
        layer = cls(
            conv.in_channels,
            conv.out_channels,
            conv.heads,
            edge_dim=conv.edge_dim,
            concat=conv.concat,
            beta=conv.beta,
            bias=conv.lin_key.bias is not None,
            root_weight=conv.root_weight,
            dropout=conv.dropout,
            **options,
        ).to(conv.lin_key.weight)
        names = dict(layer.named_parameters())
        with torch.no_grad():
            for name, parameter in conv.named_parameters():
                if name in names:
                    names[name].copy_(parameter)
                elif conv.root_weight or not name.startswith("lin_skip"):  # which PyG keeps where it is not used
                    raise ValueError(f"options: expected ones that leave {name} in its place, got {options}")
        return layer.train(conv.training)

    def extra_repr(self) -> str:
        """Sizes and what differs from the defaults."""
        parts = [f"{self.channels[0]}, {self.out_channels}, heads={self.heads}"]
        for name, plain in (("structure", ()), ("hops", 1), ("relations", 0), ("gate", None), ("dropout", 0.0)):
            if getattr(self, name) != plain:
                parts.append(f"{name}={getattr(self, name)}")
        return ", ".join(parts)

    def _of_object(self, given: dict[str, Any]) -> GraphInput:
        """Take of a PyG object what this layer has parameters for."""
        used = {
            "edge_attr": self.edge_dim is not None,
            "edge_weight": "log_weight" in self.structure,
            "edge_type": bool(self.relations),
            "degree": "degree" in self.structure,
            "hop_index": self._reach() > 0,
            "hop_distance": self._reach() > 0,
        }
        x = given.pop("x")
        return GraphInput(x, x, **{name: value for name, value in given.items() if used.get(name, True)})

    def _run(self, graph: GraphInput, return_attention: bool) -> GraphAttentionOutput:
        if graph.is_bipartite and (self.global_branch is not None or self.hops > 1):
            raise ValueError("x: expected one tensor with a global branch or several hops, got sources and targets")
        graph = merged(graph, self.duplicates)
        degree, hops = self._shape_of(graph)
        pairs = list_pairs(graph, self.hops, hops, self.relation_heads)
        message, weights = self.messages(graph, pairs, degree, return_attention)
        found = None
        if self.global_branch is not None:
            near = None if hops is None else (hops.index, hops.distance)
            across = self.global_branch(graph.target, graph.batch, degree, near)
            across = across.repeat_interleave(self.heads // self.global_heads, dim=1)
            message = message + self.global_scale[:, None] * across
            if return_attention:
                rows = torch.arange(graph.target.shape[0], device=graph.target.device)
                found = self.global_branch.weights(graph.target, rows, graph.batch, degree, near, top=TOP)
        message = message.flatten(1) if self.concat else message.mean(dim=1)
        return GraphAttentionOutput(self._with_root(message, graph.target), pairs.index, weights, found)

    def _shape_of(self, graph: GraphInput) -> tuple[Tensor | None, HopPairs | None]:
        """Degrees and near pairs, where this layer wants them."""
        nodes = graph.source.shape[0]
        degree = graph.degree
        if "degree" in self.structure and degree is None:
            if graph.is_bipartite:
                raise ValueError("degree: expected that of each source where targets are other nodes, got None")
            degree = in_degree(graph.edge_index, nodes)
        reach = self._reach()
        if not reach:
            return degree, None
        if graph.hop_index is None or graph.hop_distance is None:
            return degree, hop_pairs(graph.edge_index, nodes, reach)
        return degree, HopPairs(graph.hop_index, graph.hop_distance)

    def _reach(self) -> int:
        """The longest shortest path that this layer asks for; 0 for none."""
        reach = self.hops if self.hops > 1 else 0
        wants_distance = self.global_branch is not None and "shortest_path" in self.structure
        return max(reach, self.max_distance) if wants_distance else reach

    def _with_root(self, message: Tensor, target: Tensor) -> Tensor:
        if self.lin_skip is None:
            return message
        root = self.lin_skip(target)
        if self.lin_beta is None:
            return message + root
        beta = self.lin_beta(torch.cat([message, root, message - root], dim=-1)).sigmoid()
        return beta * root + (1 - beta) * message

    def _check_options(self, global_attention: bool) -> None:
        if self.max_distance < 1:
            raise ValueError(f"max_distance: expected at least 1, got {self.max_distance}")
        if self.duplicates not in DUPLICATES:
            raise ValueError(f"duplicates: expected one of {', '.join(DUPLICATES)}, got {self.duplicates!r}")
        if self.global_heads < 1 or self.heads % self.global_heads:
            raise ValueError(f"global_heads: expected a divisor of heads = {self.heads}, got {self.global_heads}")
        if self.channels[0] != self.channels[1] and (global_attention or self.hops > 1):
            raise ValueError(
                "global_attention, hops: expected False and 1 where sources and targets differ in width, got "
                f"{global_attention} and {self.hops}"
            )
