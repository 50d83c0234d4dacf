"""Evaluation mode for a while, and each module's own mode back."""

import pytest
from torch import nn

from core.layers import evaluating


def test_every_module_gets_its_own_mode_back():
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(1)))
    model.train()
    model[1][1].eval()
    before = [module.training for module in model.modules()]
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == before == [True, True, True, True, False]


def test_the_modes_come_back_after_an_error():
    model = nn.Dropout()
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert model.training
