r"""Classify the nodes of a graph.

.. math:: L = -\frac{1}{n} \sum_{i \in \text{target}} \ln \operatorname{softmax}(f_i(G))_{y_i}
    + \frac{\lambda}{2} \lVert \theta \rVert^2

The second term, in training only, is what Adam's weight_decay means in the recipes of graph networks; AdamW's own
weight decay (`weight_decay`) is 0 by default here.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional as F

from core.training import StepOutput, Task, by_name, checked_names, classification_metrics, keep, renamed

from ..layers.transformer import CONVOLUTIONS, GraphTransformer
from .baselines import METHODS
from .data.base import NodeBatch, NodeData


class NodeClassificationTask(Task):
    """Which of K classes a node is of.

    What is None is taken from the data when training begins, and kept in the checkpoint.

    Args:
        model_name: The layers: "attention", or PyG's "gat", "gatv2" or "transformer" for comparison; None for
            "attention".
        hidden: Features of a head.
        heads: Heads of every layer but the last.
        out_heads: Heads of the last layer, which are averaged.
        layers: Number of layers; without a global branch each sees `hops` hops.
        dropout: On the features that enter a layer.
        attention_dropout: On the attention weights.
        self_loops: Let every node attend to itself.
        norm: LayerNorm between layers.
        residual: Add a layer's input to its output where widths agree.
        edge_features: Read the features of edges.
        global_attention: Have the branch among all nodes of a graph.
        model_options: Further options of `GraphAttention`, such as {structure: [degree], hops: 2, root_weight: false}.
        in_channels: Features of a node.
        edge_dim: Features of an edge.
        num_classes: K.
        class_names: In the order of their labels.
        l2: lambda.
        label_smoothing: Of the cross-entropy, in training.
        baselines: Simpler methods to test on the same split: "logistic" (features without the graph) and
            "label_propagation" (the graph without features); None for none.
        weight_decay: Of AdamW.
        conv: Former name of `model_name`.
        layer_options: Former name of `model_options`.
        options: Of the optimisation, see `core.training.Task`.

    Raises:
        ValueError: An argument is out of range or does not fit the data.
    """

    data_type = NodeData
    batch_type = NodeBatch
    batches_from = "graphs.GraphArrayData"
    known_by_data: ClassVar[tuple[str, ...]] = ("in_channels", "num_classes")
    former_options: ClassVar[dict[str, str]] = {"conv": "model_name", "layer_options": "model_options"}
    """Former name -> name of options."""

    def __init__(
        self,
        model_name: str | None = None,
        hidden: int = 8,
        heads: int = 8,
        out_heads: int = 1,
        layers: int = 2,
        dropout: float = 0.6,
        attention_dropout: float = 0.6,
        self_loops: bool = True,
        norm: bool = False,
        residual: bool = False,
        edge_features: bool = False,
        global_attention: bool = False,
        model_options: dict[str, Any] | None = None,
        in_channels: int | None = None,
        edge_dim: int | None = None,
        num_classes: int | None = None,
        class_names: list[str] | None = None,
        l2: float = 5e-4,
        label_smoothing: float = 0.0,
        baselines: list[str] | None = None,
        weight_decay: float = 0.0,
        conv: str | None = None,
        layer_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(weight_decay=weight_decay, **options)
        if not 0 <= label_smoothing < 1 or l2 < 0:
            raise ValueError(
                f"label_smoothing, l2: expected 0 <= epsilon < 1 and at least 0, got {label_smoothing} and {l2}"
            )
        owner = type(self).__name__
        model_name = renamed(owner, "conv", conv, "model_name", model_name) or "attention"
        model_options = renamed(owner, "layer_options", layer_options, "model_options", model_options)
        if model_name not in CONVOLUTIONS:
            raise ValueError(f"model_name: expected one of {', '.join(CONVOLUTIONS)}, got {model_name!r}")
        keep(self.hparams, "model_name", model_name, "conv")
        keep(self.hparams, "model_options", model_options, "layer_options")
        self.layers: dict[str, Any] = {
            "conv": model_name,
            "hidden": hidden,
            "heads": heads,
            "out_heads": out_heads,
            "layers": layers,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "self_loops": self_loops,
            "norm": norm,
            "residual": residual,
            "global_attention": global_attention,
            **(model_options or {}),
        }
        self.edge_features, self.in_channels, self.edge_dim = edge_features, in_channels, edge_dim
        self.num_classes, self.class_names = num_classes, class_names
        self.l2, self.label_smoothing = l2, label_smoothing
        self.baseline_names = checked_names(baselines or [], list(METHODS))
        if edge_features:
            self.known_by_data = ("in_channels", "num_classes", "edge_dim")  # type: ignore[misc]
        self.begin()

    def adapt_to(self, data: NodeData) -> None:
        """Take from the data what is not known yet, and check the rest against it."""
        known: dict[str, Any] = {"in_channels": data.num_features}
        if data.classes:
            known |= {"num_classes": len(data.classes), "class_names": list(data.classes)}
        if self.edge_features:
            if data.edge_dim is None:
                raise ValueError("edge_features: expected data whose edges have features, got none")
            known["edge_dim"] = data.edge_dim
        self.know(**known)

    def build(self, known: Mapping[str, Any]) -> None:
        """Make the model and its metrics."""
        in_channels, classes, edge_dim = known["in_channels"], known["num_classes"], known.get("edge_dim")
        self.model = GraphTransformer(in_channels, classes, edge_dim=edge_dim, **self.layers)
        self.use_metrics(classification_metrics(classes), main="accuracy", mode="max")

    def forward(self, data: Any) -> Tensor:
        """Logits of every node of a PyG `Data` or `Batch`, (N, K)."""
        return self.model(data)

    def shared_step(self, batch: NodeBatch, stage: str) -> StepOutput:
        """Loss and probabilities of the nodes that count."""
        logits, label = self.model(batch.data)[batch.target], batch.data.y[batch.target]
        if stage == "train":
            loss = F.cross_entropy(logits, label, label_smoothing=self.label_smoothing)
            if self.l2:
                loss = loss + self.l2 / 2 * sum(p.square().sum() for p in self.model.parameters())
            return StepOutput(loss, size=len(label))
        return StepOutput(F.cross_entropy(logits, label), self._probabilities(logits), label)

    def _probabilities(self, logits: Tensor) -> Tensor:
        """As the metrics take them: of class 1 for two classes, of every class for more."""
        probabilities = logits.float().softmax(dim=1)
        return probabilities[:, 1] if self.num_classes == 2 else probabilities

    def predict_step(self, batch: NodeBatch, batch_idx: int = 0) -> Mapping[str, Any]:
        """Identifier, label, predicted class and the probability of each class."""
        probabilities = self.model(batch.data)[batch.target].float().softmax(dim=1)
        names = self.class_names or [str(k) for k in range(probabilities.shape[1])]
        table: dict[str, Any] = {"id": self.names_of(batch.index)}
        label = batch.data.y[batch.target]
        if len(label) and (label >= 0).all():
            table["label"] = [names[int(k)] for k in label]
        table["prediction"] = [names[int(k)] for k in probabilities.argmax(dim=1)]
        return table | {f"probability_{name}": probabilities[:, k] for k, name in enumerate(names)}

    def baselines(self, stage: str) -> Mapping[str, Mapping[str, float]]:
        """The simpler methods that were asked for, on the same split."""
        data = self.data_module
        if stage != "test" or not isinstance(data, NodeData):
            return {}
        return by_name((METHODS[name](data) for name in self.baseline_names), stage)
