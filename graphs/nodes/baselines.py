"""Simpler methods for the same nodes: features without the graph, the graph without features."""

from collections.abc import Callable

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch_geometric.nn import LabelPropagation

from core.training import BaselineResult, classification_metrics

from .data.base import NodeData

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
STEPS = (5, 20, 50)


def logistic_regression(data: NodeData) -> BaselineResult:
    """Probabilities (n, K) and labels (n,) of the test part by scikit-learn's logistic regression on the features.

    C is the one of STRENGTHS with the highest accuracy on the validation part (the first of equal ones; 1 without one).
    """
    train, val, test = (data.parts[name] for name in ("train", "val", "test"))
    strengths = STRENGTHS if len(val.target) else (1.0,)
    x, y = (train.data[name][train.target].numpy() for name in ("x", "y"))
    models = [LogisticRegression(C=strength, max_iter=2000).fit(x, y) for strength in strengths]
    if len(models) == 1:
        best, accuracy = 0, float("nan")
    else:
        x_val, y_val = (val.data[name][val.target].numpy() for name in ("x", "y"))
        scores = [float(model.score(x_val, y_val)) for model in models]
        accuracy = max(scores)
        best = scores.index(accuracy)
    found = models[best].predict_proba(test.data.x[test.target].numpy())
    answer = torch.zeros(len(test.target), len(data.classes))
    answer[:, torch.from_numpy(models[best].classes_)] = torch.from_numpy(found).float()
    return _result("logistic", answer, test.data.y[test.target], f"C = {strengths[best]:g}", accuracy)


def label_propagation(data: NodeData) -> BaselineResult:
    """The same by PyG's label propagation over the test part's graph, alpha .9, from the training labels it shows.

    The number of steps is the one of STEPS with the highest accuracy on the validation part. A node that no label
    reaches gets equal probabilities.
    """
    val, test = data.parts["val"], data.parts["test"]
    label = val.data.y[val.target]
    best, accuracy = STEPS[0], float("nan")
    if len(label):
        scores = [float((_propagate(data, "val", n).argmax(dim=1) == label).float().mean()) for n in STEPS]
        accuracy = max(scores)
        best = STEPS[scores.index(accuracy)]
    answer = _propagate(data, "test", best)
    return _result("label_propagation", answer, test.data.y[test.target], f"{best} steps", accuracy)


METHODS: dict[str, Callable[[NodeData], BaselineResult]] = {
    "logistic": logistic_regression,
    "label_propagation": label_propagation,
}


def _result(name: str, probabilities: Tensor, label: Tensor, chosen: str, validation: float) -> BaselineResult:
    classes = probabilities.shape[1]
    metrics = classification_metrics(classes)
    metrics.update(probabilities[:, 1] if classes == 2 else probabilities, label)
    return BaselineResult(
        name,
        {key: float(value) for key, value in metrics.compute().items()},
        chosen=chosen,
        validation=validation,
        prediction=probabilities.argmax(dim=1).numpy(),
        score=probabilities.numpy(),
        target=label.numpy(),
    )


def _propagate(data: NodeData, name: str, steps: int) -> Tensor:
    part, classes = data.parts[name], len(data.classes)
    known = torch.isin(part.nodes, data.parts["train"].index)
    if not bool(known.any()):
        return torch.full((len(part.target), classes), 1.0 / classes)
    # PyG counts the classes by the largest label: a further node without edges has that of the last class
    y = torch.cat([part.data.y.clamp_min(0), torch.tensor([classes - 1])])
    mask = torch.cat([known, torch.tensor([True])])
    spread: Tensor = LabelPropagation(num_layers=steps, alpha=0.9)(y, part.data.edge_index, mask)[part.target]
    total = spread.sum(dim=1, keepdim=True)
    return torch.where(total > 0, spread / total.clamp_min(1e-12), 1.0 / classes)
