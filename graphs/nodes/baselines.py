"""Simpler methods for the same nodes: features without the graph, the graph without features."""

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch_geometric.nn import LabelPropagation

from .data.base import NodeData

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
STEPS = (5, 20, 50)


def logistic_regression(data: NodeData) -> tuple[Tensor, Tensor]:
    """Probabilities (n, K) and labels (n,) of the test part by scikit-learn's logistic regression on the features.

    C is the one of STRENGTHS with the highest accuracy on the validation part (the first of equal ones; 1 without one).
    """
    train, val, test = (data.parts[name] for name in ("train", "val", "test"))
    strengths = STRENGTHS if len(val.target) else (1.0,)
    x, y = (train.data[name][train.target].numpy() for name in ("x", "y"))
    models = [LogisticRegression(C=strength, max_iter=2000).fit(x, y) for strength in strengths]
    if len(models) > 1:
        models.sort(key=lambda model: -model.score(val.data.x[val.target].numpy(), val.data.y[val.target].numpy()))
    best = models[0]
    answer = torch.zeros(len(test.target), len(data.classes))
    answer[:, torch.from_numpy(best.classes_)] = torch.from_numpy(
        best.predict_proba(test.data.x[test.target].numpy())
    ).float()
    return answer, test.data.y[test.target]


def label_propagation(data: NodeData) -> tuple[Tensor, Tensor]:
    """The same by PyG's label propagation over the test part's graph, alpha .9, from the training labels it shows.

    The number of steps is the one of STEPS with the highest accuracy on the validation part. A node that no label
    reaches gets equal probabilities.
    """
    val, test = data.parts["val"], data.parts["test"]
    scores = []
    for steps in STEPS if len(val.target) else STEPS[:1]:
        label = val.data.y[val.target]
        scores.append(
            (_propagate(data, "val", steps).argmax(dim=1) == label).float().mean().item() if len(label) else 0.0
        )
    best = STEPS[scores.index(max(scores))]
    return _propagate(data, "test", best), test.data.y[test.target]


def _propagate(data: NodeData, name: str, steps: int) -> Tensor:
    part, classes = data.parts[name], len(data.classes)
    known = torch.isin(part.nodes, torch.from_numpy(data.split.train))
    if not bool(known.any()):
        return torch.full((len(part.target), classes), 1.0 / classes)
    # PyG counts the classes by the largest label: a further node without edges has that of the last class
    y = torch.cat([part.data.y.clamp_min(0), torch.tensor([classes - 1])])
    mask = torch.cat([known, torch.tensor([True])])
    spread = LabelPropagation(num_layers=steps, alpha=0.9)(y, part.data.edge_index, mask)[part.target]
    total = spread.sum(dim=1, keepdim=True)
    return torch.where(total > 0, spread / total.clamp_min(1e-12), 1.0 / classes)
