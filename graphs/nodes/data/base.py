"""What all data modules with labelled nodes share: checks, splits, whole graphs or samples of neighbours."""

from abc import ABC
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data

from core.training import PARTS, DrawnDataModule, Split

from ...layers.inputs import check_edge_index
from ...layers.structure import AddHops, in_degree
from ..sampling import NeighbourSampler
from ..splits import Part, by_graph, by_node, by_time, visible

SPLITS = ("given", "node", "time", "graph")


class LabelledGraph(NamedTuple):
    """A whole data set as one graph; several graphs are one with `data.batch`.

    `data.y` holds classes 0 .. len(classes) - 1, -1 where unknown; `data.time`, if any, when a node came into being.
    Without classes there is nothing to learn: all nodes are there to predict.
    """

    data: Data
    classes: tuple[str, ...]
    split: Split | None = None
    names: list[str] | None = None


class NodeBatch(NamedTuple):
    """A graph, and which of its nodes count.

    Shapes:
        data: of N nodes.
        target: (n,), nodes of that graph.
        index: (n,), their numbers in the whole data set.
    """

    data: Data
    target: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index

    def to(self, device: Any, **options: Any) -> "NodeBatch":
        """The same on another device."""
        return NodeBatch(*(part.to(device, **options) for part in self))


class WholeGraph(Dataset[NodeBatch]):
    """One batch: the visible graph with all targets."""

    def __init__(self, part: Part) -> None:
        self.part = part

    def __len__(self) -> int:
        return 1

    def __getitem__(self, item: int) -> NodeBatch:
        return NodeBatch(self.part.data, self.part.target, self.part.index)


class SampledNodes(Dataset[NodeBatch]):
    """A batch of targets with a sample of the neighbours that their answer depends on."""

    def __init__(self, part: Part, sampler: NeighbourSampler) -> None:
        self.part, self.sampler = part, sampler

    def __len__(self) -> int:
        return len(self.part.target)

    def __getitems__(self, items: Sequence[int]) -> list[NodeBatch]:
        chosen = torch.tensor(items)
        data = self.sampler.sample_data(self.part.data, self.part.target[chosen])
        return [NodeBatch(data, torch.arange(len(items)), self.part.index[chosen])]


class NodeData(DrawnDataModule[LabelledGraph], ABC):
    """Nodes with classes.

    Without `fanouts` an epoch is one step over the whole graph; with them, targets come in batches with a sample of
    their neighbours (`graphs.NeighbourSampler`), drawn anew for every batch and epoch. Validation and test always see
    all neighbours.

    What each part sees: with splits by node and with given ones the whole graph (only labels are hidden); by time only
    nodes that are not later than the part; by graph only the part's own graphs.

    A subclass writes `load`, which answers a `LabelledGraph` of its own: its features are normalised in place.

    Args:
        split: "given" (by the data's authors), "node", "time" or "graph", see `graphs.nodes.splits`; None takes "given"
            where the data come with one, else "graph" for several graphs, else "node".
        val_fraction: Part for validation.
        test_fraction: Part for the test.
        per_class: With "node": training nodes of each class; None for all that remain.
        normalize_features: Divide the features of each node by their sum (bags of words); a node without any stays 0.
        hops: Count shortest paths up to this length beforehand, for models that ask for them; 0 for none.
        fanouts: Neighbours to draw for the targets, for these neighbours, and so on, a number for each layer of the
            model; -1 for all.
        batch_size: Targets per step, with `fanouts`.
        options: Of `core.training.DrawnDataModule`.

    Raises:
        ValueError: An option is out of range, or the data do not fit together.
    """

    def __init__(
        self,
        split: str | None = "node",
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        per_class: int | None = None,
        normalize_features: bool = True,
        hops: int = 0,
        fanouts: list[int] | None = None,
        batch_size: int = 512,
        **options: Any,
    ) -> None:
        super().__init__(val_fraction=val_fraction, test_fraction=test_fraction, batch_size=batch_size, **options)
        if split is not None and split not in SPLITS:
            raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")
        if hops < 0 or (hops and fanouts):
            raise ValueError(f"hops: expected 0 or more, and 0 with fanouts, got {hops}")
        self.scheme, self.per_class = split, per_class
        self.normalize_features, self.hops, self.fanouts = normalize_features, hops, fanouts
        self.parts: dict[str, Part] = {}
        self.collate = _only

    def arrange(self, loaded: LabelledGraph, stage: str | None) -> None:
        """Check, normalise, and let each part see what it may."""
        check_labelled(loaded)
        data = loaded.data
        if self.normalize_features:
            data.x = data.x / data.x.sum(dim=1, keepdim=True).clamp_min(1e-12)
        if not loaded.classes:
            everything = np.arange(data.num_nodes)
            self.predict_set = WholeGraph(self._shown(visible(data, everything, everything)))
            return
        if self.scheme is None:
            self.scheme = "given" if loaded.split is not None else "graph" if "batch" in data else "node"
        split = self._split(loaded)
        if not len(split.train):
            raise ValueError(f"split: expected training nodes, got {split}")
        self.parts = {name: self._part(data, split, name) for name in PARTS}
        self.split = split
        train, val, test = self.parts.values()
        self.train_set = WholeGraph(train)
        if self.fanouts is not None:
            sampler = NeighbourSampler(train.data.edge_index, int(train.data.num_nodes or 0), self.fanouts)
            self.train_set = SampledNodes(train, sampler)
        self.val_set = WholeGraph(val) if len(val.target) else None
        self.test_set = WholeGraph(test) if len(test.target) else None

    def _split(self, whole: LabelledGraph) -> Split:
        sizes = {"val": self.val_fraction, "test": self.test_fraction}
        labels = whole.data.y.numpy()
        if self.scheme == "given":
            if whole.split is None:
                raise ValueError(
                    "split: expected 'node', 'time' or 'graph', since these data come without, got 'given'"
                )
            found = whole.split
        elif self.scheme == "node":
            found = by_node(labels, **sizes, per_class=self.per_class, seed=self.split_seed)
        elif self.scheme == "time":
            if "time" not in whole.data:
                raise ValueError("split: expected data with a time of each node for 'time', got none")
            found = by_time(whole.data.time.numpy(), **sizes)
        else:
            if "batch" not in whole.data:
                raise ValueError("split: expected several graphs for 'graph', got one")
            found = by_graph(whole.data.batch.numpy(), **sizes, seed=self.split_seed)
        train, val, test = (part[labels[part] >= 0] for part in found)
        return Split(train, val, test, groups=found.groups, unit=found.unit)

    def _part(self, data: Data, split: Split, name: str) -> Part:
        target = split.part(name)
        if self.scheme in ("given", "node"):
            part = visible(data, np.arange(data.num_nodes), target)
        elif self.scheme == "graph":
            part = visible(data, np.flatnonzero(np.isin(data.batch.numpy(), data.batch.numpy()[target])), target)
        else:
            times = data.time.numpy()
            part = visible(data, np.flatnonzero(times <= times[target].max(initial=np.nanmin(times))), target)
        return self._shown(part)

    def _shown(self, part: Part) -> Part:
        """With what the layers read beside it: degrees, hops, graphs numbered from 0."""
        shown = part.data.clone()
        shown.degree = in_degree(shown.edge_index, int(shown.num_nodes))
        if "batch" in shown:
            shown.batch = shown.batch.unique(return_inverse=True)[1]
        return part._replace(data=AddHops(self.hops)(shown) if self.hops else shown)

    @property
    def whole(self) -> LabelledGraph:
        """The data set."""
        return self.ready()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.ready().classes

    @property
    def num_features(self) -> int:
        """Features of a node."""
        return int(self.ready().data.x.shape[1])

    @property
    def edge_dim(self) -> int | None:
        """Features of an edge; None where edges have none."""
        attributes = self.ready().data.edge_attr
        return None if attributes is None else int(attributes.shape[1])

    def names_of(self, index: Tensor) -> list[str]:
        """Identifiers of nodes, by their numbers."""
        names = self.ready().names
        return [str(int(node)) if names is None else names[int(node)] for node in index]

    def split_words(self) -> str:
        """Who drew the parts, and by what."""
        if self.scheme == "given":
            return "the split of the data's authors"
        return f"by {self.scheme}" + (f", seed {self.split_seed}" if self.scheme in ("node", "graph") else "")


def check_labelled(whole: LabelledGraph) -> None:
    """Raise unless features are finite, labels are known classes and edges join nodes that exist.

    Raises:
        ValueError: The first thing that is wrong, with its node or edge.
    """
    data = whole.data
    if data.x is None or data.y is None or data.edge_index is None:
        raise ValueError(f"data: expected x, y and edge_index, got {', '.join(data.keys()) or 'nothing'}")
    nodes = data.x.shape[0]
    if data.x.ndim != 2 or not data.x.is_floating_point():
        raise ValueError(f"x: expected (nodes, features) numbers, got {tuple(data.x.shape)} {data.x.dtype}")
    check_edge_index("edge_index", data.edge_index, nodes, nodes)
    strange = (~data.x.isfinite()).nonzero()
    if len(strange):
        node, feature = strange[0].tolist()
        raise ValueError(f"x: expected finite numbers, got {data.x[node, feature]} at node {node}")
    if data.edge_attr is not None and not bool(data.edge_attr.isfinite().all()):
        edge = int((~data.edge_attr.isfinite()).flatten(1).any(dim=1).nonzero()[0])
        raise ValueError(f"edge_attr: expected finite numbers, got {data.edge_attr[edge].tolist()} at edge {edge}")
    if "batch" in data:
        across = (data.batch[data.edge_index[0]] != data.batch[data.edge_index[1]]).nonzero()
        if len(across):
            source, target = data.edge_index[:, int(across[0])].tolist()
            raise ValueError(f"edge_index: expected edges within graphs, got one from {source} to {target}")
    if tuple(data.y.shape) != (nodes,) or data.y.is_floating_point():
        raise ValueError(f"y: expected a class for each of {nodes} nodes, got {tuple(data.y.shape)} {data.y.dtype}")
    if len(data.y) and (int(data.y.min()) < -1 or int(data.y.max()) >= len(whole.classes)):
        got = f"{int(data.y.min())} .. {int(data.y.max())}"
        raise ValueError(f"y: expected classes 0 .. {len(whole.classes) - 1} (or -1, unknown), got {got}")


def _only(batches: list[Any]) -> Any:
    """A batch is made by the data set as a whole."""
    return batches[0]
