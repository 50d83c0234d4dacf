import pytest
import torch
from torch.nn import functional as F

from vision.vit.stems import STEMS, ConvolutionStem, OverlapStem, PatchStem


def test_patch_stem_is_unfold_and_one_matrix():
    stem = PatchStem(4, 3, 10).double()
    x = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    patches = F.unfold(x, 4, stride=4).transpose(1, 2)
    expected = patches @ stem.proj.weight.reshape(10, -1).T + stem.proj.bias
    assert torch.allclose(stem(x), expected, atol=1e-12)


def test_patch_stem_by_hand():
    stem = PatchStem(2, 1, 1)
    with torch.no_grad():
        stem.proj.weight.copy_(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
        stem.proj.bias.fill_(0.5)
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    # first patch: 0 1 / 4 5 -> 0 + 2 + 12 + 20 + .5; every step right adds 2 * 10, every step down 8 * 10
    assert stem(x).flatten().tolist() == [34.5, 54.5, 114.5, 134.5]


def test_overlap_stem_is_unfold_of_larger_windows():
    stem = OverlapStem(2, 3, 6).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    windows = F.unfold(x, 4, stride=2, padding=1).transpose(1, 2)
    expected = windows @ stem.proj.weight.reshape(6, -1).T + stem.proj.bias
    assert stem(x).shape == (2, 16, 6)
    assert torch.allclose(stem(x), expected, atol=1e-12)


def test_convolution_stem_halves_log2_times():
    stem = ConvolutionStem(8, 3, 64)
    convolutions = [m for m in stem.proj if isinstance(m, torch.nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.stride) for c in convolutions] == [
        (3, 16, (2, 2)),
        (16, 32, (2, 2)),
        (32, 64, (2, 2)),
    ]


@pytest.mark.parametrize("name", STEMS)
@pytest.mark.parametrize("patch", [2, 4, 8])
def test_grid_is_the_image_over_the_patch(name, patch):
    stem = STEMS[name](patch, 1, 16)
    assert stem(torch.zeros(1, 1, 3 * patch, 5 * patch)).shape == (1, 15, 16)
    assert f"{stem.first_conv()}.weight" in stem.state_dict()


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 3, 2, 8), (1, 3, 9, 8), (1, 3, 8, 10), (3, 8, 8)])
def test_refuses_images(shape):
    with pytest.raises(ValueError, match="images: expected"):
        PatchStem(4, 3, 8)(torch.zeros(shape))


def test_refuses_patches():
    with pytest.raises(ValueError, match="power of 2"):
        ConvolutionStem(6, 3, 8)
    with pytest.raises(ValueError, match="even"):
        OverlapStem(3, 3, 8)
