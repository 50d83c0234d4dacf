"""Ranking against torchmetrics where all is defined, by hand where not."""

import math

import pytest
import torch
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryAveragePrecision,
    MulticlassAUROC,
    MulticlassAveragePrecision,
    MultilabelAUROC,
    MultilabelAveragePrecision,
)

from core.training import Ranking, classification_metrics


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cases() -> dict:
    y = (drawn(60) > 0.3).long()
    k = drawn(60, 4, seed=1).argmax(1)
    labels = (drawn(60, 3, seed=2) > 0.5).long()
    labels[drawn(60, 3, seed=3) > 1] = -1
    options = {"num_labels": 3, "average": "macro", "ignore_index": -1}
    return {
        "binary": ((drawn(60, seed=4) + y).sigmoid(), y, BinaryAUROC(), BinaryAveragePrecision()),
        "ties": ((drawn(60, seed=4) + y).sigmoid().round(decimals=1), y, BinaryAUROC(), BinaryAveragePrecision()),
        "classes": (drawn(60, 4, seed=5).softmax(1), k, MulticlassAUROC(4), MulticlassAveragePrecision(4)),
        "labels": (
            drawn(60, 3, seed=6).sigmoid(),
            labels,
            MultilabelAUROC(**options),
            MultilabelAveragePrecision(**options),
        ),
    }


@pytest.mark.parametrize("name", ["binary", "ties", "classes", "labels"])
def test_ranking_is_that_of_torchmetrics_bit_for_bit(name: str) -> None:
    p, y, *peers = cases()[name]
    got = MetricCollection({"auroc": Ranking("auroc"), "auprc": Ranking("auprc")})
    for part, truth in zip(p.split(25), y.split(25), strict=True):
        got.update(part, truth)
        for peer in peers:
            peer.update(part, truth)
    values = got.compute()
    assert [float(values["auroc"]), float(values["auprc"])] == [float(peer.compute()) for peer in peers]


def test_what_no_sample_defines_counts_for_nothing() -> None:
    y = torch.tensor([0, 0, 2, 2])
    perfect = torch.eye(3)[y]
    assert {k: float(v) for k, v in classification_metrics(3)(perfect, y).items()} == {
        "accuracy": 1.0, "auroc": 1.0, "auprc": 1.0,
    }  # fmt: skip
    labels = torch.tensor([[0, 0, -1], [1, 0, -1]])  # the second is never 1, the third not known at all
    p = torch.tensor([[0.2, 0.5, 0.1], [0.9, 0.4, 0.3]])
    assert float(Ranking("auroc")(p, labels)) == 1.0 == float(Ranking("auprc")(p, labels))
    assert float(Ranking("auroc")(p[:, :1], labels[:, :1])) == 1.0  # a single label


@pytest.mark.parametrize("score", ["auroc", "auprc"])
def test_nan_where_nothing_is_defined(score) -> None:
    p = torch.tensor([0.2, 0.9])
    assert math.isnan(Ranking(score)(p, torch.tensor([1, 1])))
    assert math.isnan(Ranking(score)(torch.full((2, 3), 1 / 3), torch.tensor([1, 1])))
    assert math.isnan(Ranking(score)(p[:, None], torch.tensor([[-1], [-1]])))
    assert math.isnan(Ranking(score)(torch.tensor([0.2, math.nan]), torch.tensor([0, 1])))


def test_shapes_and_scores_are_checked() -> None:
    with pytest.raises(ValueError, match=r"target: expected .* got \(3,\) and \(2,\)"):
        Ranking("auroc").update(torch.rand(2), torch.zeros(3))
    with pytest.raises(ValueError, match="target"):
        Ranking("auroc").update(torch.rand(2, 3), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="score: expected"):
        Ranking("f1")  # type: ignore[arg-type]
