r"""Classify the nodes of a graph.

.. math:: L = -\frac{1}{n} \sum_{i \in \text{target}} \ln \operatorname{softmax}(f_i(G))_{y_i}
    + \frac{\lambda}{2} \lVert \theta \rVert^2

The second term, in training only, is what Adam's weight_decay means in the recipes of graph networks; AdamW's own
weight decay (`weight_decay`) is 0 by default here.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from core.training import StepOutput, Task, classification_metrics

from ..layers.transformer import GraphTransformer
from .baselines import label_propagation, logistic_regression
from .data.base import NodeBatch, NodeData


class NodeClassificationTask(Task):
    """Which of K classes a node is of.

    What is None is taken from the data when training begins, and kept in the checkpoint.

    Args:
        conv: "attention", or PyG's "gat", "gatv2" or "transformer" for comparison.
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
        layer_options: Further options of `GraphAttention`, such as {structure: [degree], hops: 2, root_weight: false}.
        in_channels: Features of a node.
        edge_dim: Features of an edge.
        num_classes: K.
        class_names: In the order of their labels.
        l2: lambda.
        label_smoothing: Of the cross-entropy, in training.
        baselines: Simpler methods to test on the same split: "logistic" (features without the graph) and
            "label_propagation" (the graph without features).
        weight_decay: Of AdamW.
        options: Of the optimisation, see `core.training.Task`.

    Raises:
        ValueError: An argument is out of range or does not fit the data.
    """

    def __init__(
        self,
        conv: str = "attention",
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
        layer_options: dict[str, Any] | None = None,
        in_channels: int | None = None,
        edge_dim: int | None = None,
        num_classes: int | None = None,
        class_names: list[str] | None = None,
        l2: float = 5e-4,
        label_smoothing: float = 0.0,
        baselines: list[str] | None = None,
        weight_decay: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(weight_decay=weight_decay, **options)
        if not 0 <= label_smoothing < 1 or l2 < 0:
            raise ValueError(
                f"label_smoothing, l2: expected 0 <= epsilon < 1 and at least 0, got {label_smoothing} and {l2}"
            )
        unknown = set(baselines or ()) - {"logistic", "label_propagation"}
        if unknown:
            raise ValueError(f"baselines: expected 'logistic', 'label_propagation' or none, got {sorted(unknown)}")
        self.model_options: dict[str, Any] = {
            "conv": conv,
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
            **(layer_options or {}),
        }
        self.edge_features, self.in_channels, self.edge_dim = edge_features, in_channels, edge_dim
        self.num_classes, self.class_names = num_classes, class_names
        self.l2, self.label_smoothing, self.baseline_names = l2, label_smoothing, list(baselines or ())
        if in_channels is not None and num_classes is not None and (edge_dim is not None or not edge_features):
            self._build()

    def adapt_to(self, data: NodeData) -> None:
        """Take from the data what is not known yet, and check the rest against it."""
        known: dict[str, Any] = {"in_channels": data.num_features, "num_classes": len(data.classes)}
        if self.edge_features:
            if data.edge_dim is None:
                raise ValueError("edge_features: expected data whose edges have features, got none")
            known["edge_dim"] = data.edge_dim
        for name, value in known.items():
            given = getattr(self, name)
            if given is not None and given != value:
                raise ValueError(f"{name}: the model has {given}, the data have {value}")
            setattr(self, name, value)
            self.hparams[name] = value
        if self.class_names is None:
            self.class_names = list(data.classes)
            self.hparams["class_names"] = self.class_names
        if self.class_names != list(data.classes):
            raise ValueError(f"class_names: the model has {self.class_names}, the data have {list(data.classes)}")
        if not hasattr(self, "model"):
            self._build()

    def _build(self) -> None:
        assert self.in_channels is not None and self.num_classes is not None
        edge_dim = self.edge_dim if self.edge_features else None
        self.model = GraphTransformer(self.in_channels, self.num_classes, edge_dim=edge_dim, **self.model_options)
        self.use_metrics(classification_metrics(self.num_classes), main="accuracy", mode="max")

    def setup(self, stage: str) -> None:
        """Refuse to go on without a model (the data have had their chance in `adapt_to`)."""
        if not hasattr(self, "model"):
            raise ValueError(
                "in_channels, num_classes: expected numbers, or one of our graph data modules that knows them, got "
                f"{self.in_channels}, {self.num_classes}"
            )

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
        table: dict[str, Any] = {"id": self.trainer.datamodule.names_of(batch.index)}
        label = batch.data.y[batch.target]
        if (label >= 0).all():
            table["label"] = [names[int(k)] for k in label]
        table["prediction"] = [names[int(k)] for k in probabilities.argmax(dim=1)]
        return table | {f"probability_{name}": probabilities[:, k] for k, name in enumerate(names)}

    def baselines(self, stage: str) -> Mapping[str, Mapping[str, float]]:
        """The simpler methods that were asked for, on the same split."""
        data = getattr(self.trainer, "datamodule", None)
        if stage != "test" or not isinstance(data, NodeData) or self.num_classes is None:
            return {}
        methods = {"logistic": logistic_regression, "label_propagation": label_propagation}
        answers = {}
        for name in self.baseline_names:
            metrics = classification_metrics(self.num_classes)
            probabilities, label = methods[name](data)
            metrics.update(probabilities[:, 1] if self.num_classes == 2 else probabilities, label)
            answers[name] = {f"test/{key}": float(value) for key, value in metrics.compute().items()}
        return answers
