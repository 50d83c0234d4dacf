import math

import pytest
import torch
from torch import nn

from core.training.optim import parameter_groups, warmup_cosine, warmup_cosine_factor


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.words = nn.Embedding(3, 4)
        self.linear = nn.Linear(4, 2)
        self.norm = nn.LayerNorm(4)
        self.frozen = nn.Linear(4, 4)
        self.frozen.requires_grad_(False)

    def no_weight_decay(self) -> set[str]:
        return {"token"}


def test_only_matrices_decay() -> None:
    net = nn.Sequential(Net())  # the hook's names are relative to the module that has it
    decayed, kept = parameter_groups(net, 0.3)
    named = {id(p): name for name, p in net.named_parameters()}
    assert [named[id(p)] for p in decayed["params"]] == ["0.linear.weight"] and decayed["weight_decay"] == 0.3
    assert {named[id(p)] for p in kept["params"]} == {
        "0.token", "0.words.weight", "0.linear.bias", "0.norm.weight", "0.norm.bias",
    }  # fmt: skip
    assert kept["weight_decay"] == 0.0


def test_an_empty_group_is_left_out() -> None:
    assert [g["weight_decay"] for g in parameter_groups(nn.LayerNorm(3), 0.1)] == [0.0]


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 0.25),
        (1, 0.5),
        (2, 0.75),
        (3, 1.0),
        (5, 0.1 + 0.9 * (2 + math.sqrt(2)) / 4),
        (7, 0.55),
        (11, 0.1),
        (99, 0.1),
    ],
)
def test_schedule_by_hand(step: int, factor: float) -> None:
    assert warmup_cosine_factor(step, total=11, warmup=3, floor=0.1) == pytest.approx(factor, abs=1e-12)


def test_schedule_without_warmup_starts_at_the_peak() -> None:
    assert warmup_cosine_factor(0, 10, 0, 0.0) == 1.0
    assert warmup_cosine_factor(0, 0, 0, 0.0) == 1.0


def test_the_optimiser_follows_the_schedule() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = warmup_cosine(optimizer, 4, 1, 0.5)
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([2 * warmup_cosine_factor(s, 4, 1, 0.5) for s in range(5)])
