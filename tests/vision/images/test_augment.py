import math
import random

import numpy as np
import pytest
import torch

from vision.images import RandomAffine, policy_by_name
from vision.images.counter import counter_bits, counter_uniform


def splitmix_finaliser(z):
    """The published mixer with Python's integers."""
    m = 2**64 - 1
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & m
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & m
    return z ^ (z >> 31)


def test_counter_equals_the_formula_in_plain_integers():
    golden, m = 0x9E3779B97F4A7C15, 2**64 - 1
    seed, epoch, item = 7, 3, 12345
    state = (splitmix_finaliser((seed + golden) & m) + epoch * golden) & m
    state = (splitmix_finaliser((state + golden) & m) + item * golden) & m
    expected = [splitmix_finaliser((splitmix_finaliser(state) + (k + 1) * golden) & m) for k in range(5)]
    assert counter_bits(seed, epoch, torch.tensor([item]), 5)[0].tolist() == expected
    assert counter_uniform(seed, epoch, torch.tensor([item]), 5)[0].tolist() == [b // 2**40 / 2**24 for b in expected]


def test_first_outputs_of_splitmix64():
    # seed 0 of the reference generator (Vigna, splitmix64.c): finaliser(k * golden), k = 1, 2
    golden = 0x9E3779B97F4A7C15
    assert splitmix_finaliser(golden) == 0xE220A8397B1DCDAF
    assert splitmix_finaliser(2 * golden % 2**64) == 0x6E789E6AA1B965F4


def test_draws_belong_to_the_item_not_to_the_batch():
    index = torch.tensor([5, 9, 2])
    whole = counter_uniform(1, 2, index, 4)
    assert torch.equal(whole[1:2], counter_uniform(1, 2, index[1:2], 4))
    assert not torch.equal(whole, counter_uniform(1, 3, index, 4))
    assert not torch.equal(whole, counter_uniform(2, 2, index, 4))


def test_draws_are_uniform():
    u = counter_uniform(0, 0, torch.arange(20_000), 3)
    assert u.min() >= 0 and u.max() < 1
    assert (u.mean(0) - 0.5).abs().max() < 4 * math.sqrt(1 / 12 / 20_000)
    assert np.abs(np.corrcoef(u.T.numpy()) - np.eye(3)).max() < 4 / math.sqrt(20_000)


def test_nothing_asked_changes_nothing():
    images = torch.rand(3, 1, 8, 8)
    assert RandomAffine()(images, torch.arange(3), seed=0, epoch=0) is images


def test_a_certain_flip_is_exact():
    images, index = torch.rand(3, 2, 6, 8), torch.arange(3)
    flipped = RandomAffine(horizontal_flip=1.0)(images, index, seed=0, epoch=0)
    assert torch.allclose(flipped, images.flip(-1), atol=1e-6)
    both = RandomAffine(horizontal_flip=1.0, vertical_flip=1.0)(images, index, seed=0, epoch=0)
    assert torch.allclose(both, images.flip(-1, -2), atol=1e-6)


def test_matrices_follow_the_formula():
    affine = RandomAffine(rotation=30, scale=0.2, translation=0.1, shear=10)
    index = torch.arange(4)
    u = 2 * counter_uniform(1, 2, index, 7).double() - 1
    matrices = affine.matrices(index, seed=1, epoch=2).double()
    for b in range(4):
        angle, shear = math.radians(30) * u[b, 0], math.tan(math.radians(10) * u[b, 4])
        rotation = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]).double()
        expected = rotation @ torch.tensor([[1.0, shear], [0.0, 1.0]]).double() / (1 + 0.2 * u[b, 1])
        assert torch.allclose(matrices[b, :, :2], expected, atol=1e-6)
        assert torch.allclose(matrices[b, :, 2], 0.2 * u[b, 2:4], atol=1e-6)


def test_rotation_keeps_distances_on_wide_images():
    matrix = RandomAffine(rotation=45).matrices(torch.tensor([3]), seed=0, epoch=0, aspect=0.5)[0, :, :2]
    to_pixels = torch.diag(torch.tensor([2.0, 1.0]))  # half width 2, half height 1
    linear = to_pixels @ matrix @ torch.linalg.inv(to_pixels)
    assert torch.allclose(linear @ linear.T, torch.eye(2), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"scale": 1.0}, "scale"),
        ({"rotation": -1}, "rotation"),
        ({"horizontal_flip": 2}, "flip"),
        ({"fill": "x"}, "fill"),
    ],
)
def test_refuses_bounds(options, name):
    with pytest.raises(ValueError, match=name):
        RandomAffine(**options)


@pytest.mark.parametrize("name", ["rand-m7-n2-mstd0.5", "TrivialAugmentWide", "3a"])
@pytest.mark.parametrize("channels", [1, 3])
def test_policies_by_name(name, channels):
    random.seed(0)  # timm's policies draw from these two
    np.random.seed(0)
    policy = policy_by_name(name, 32)
    image = torch.rand(channels, 32, 32)
    changed = 0
    for _ in range(8):
        answer = policy(image)
        assert answer.shape == image.shape and answer.dtype == torch.float32
        assert answer.min() >= 0 and answer.max() <= 1
        changed += int(not torch.allclose(answer, image, atol=0.01))
    assert changed >= 1  # a policy may draw what leaves grey noise as it is


@pytest.mark.parametrize("name", ["nonsense", "RandomCrop"])
def test_unknown_policy(name):
    with pytest.raises(ValueError, match="policy"):
        policy_by_name(name, 32)
