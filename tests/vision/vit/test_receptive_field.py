import pytest
import torch
from torch import nn

from vision.vit.receptive_field import effective_receptive_field, spread


def test_one_convolution_is_its_kernel():
    kernel = torch.tensor([[1.0, -2.0, 1.0], [0.0, 4.0, 0.0], [3.0, 0.0, -1.0]])
    layer = nn.Conv2d(1, 1, 3, padding=1)
    layer.weight.data[0, 0] = kernel
    field = effective_receptive_field(lambda x: [layer(x)], torch.randn(6, 1, 7, 7), batch_size=4)
    expected = torch.zeros(7, 7)
    expected[2:5, 2:5] = kernel.abs() / 12
    assert field.shape == (1, 7, 7)
    assert torch.allclose(field[0], expected, atol=1e-6)


def test_stacked_convolutions_grow_and_convolve():
    layers = [nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(2)]
    for layer in layers:
        layer.weight.data.fill_(1.0)

    def features(x):
        first = layers[0](x)
        return [first, layers[1](first)]

    fields = effective_receptive_field(features, torch.randn(3, 1, 9, 9))
    triangle = torch.tensor([1.0, 2, 3, 2, 1])
    expected = torch.zeros(9, 9)
    expected[2:7, 2:7] = torch.outer(triangle, triangle) / 81
    assert torch.allclose(fields[1], expected, atol=1e-6)
    assert spread(fields[1]) > spread(fields[0])


def test_cancelling_features_are_seen():
    layer = nn.Conv2d(1, 2, 1, bias=False)
    layer.weight.data[:, 0, 0, 0] = torch.tensor([1.0, -1.0])  # their sum is 0 everywhere
    field = effective_receptive_field(lambda x: [layer(x)], torch.randn(2, 1, 5, 5))
    assert field[0, 2, 2] == 1


def test_spread_by_hand():
    field = torch.zeros(5, 5)
    field[0, 2] = field[4, 2] = 0.5
    assert spread(field) == 2
    field = torch.zeros(5, 5)
    field[1, 1] = 1
    assert spread(field) == 0


def test_dead_features_are_refused():
    with pytest.raises(ValueError, match="gradient of 0"):
        effective_receptive_field(lambda x: [x * 0], torch.randn(1, 1, 3, 3))
