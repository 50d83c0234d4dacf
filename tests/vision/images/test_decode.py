import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from vision.images import fit_size, read_image

from ..fakes import png16

RNG = np.random.default_rng(0)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def test_grey_8_bit(tmp_path):
    pixels = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
    path = save(tmp_path / "a.png", pixels)
    expected = torch.from_numpy(pixels.astype(np.float32) / 255)
    assert torch.equal(read_image(path, channels=1), expected[None])
    assert torch.equal(read_image(path, channels=3), expected.expand(3, -1, -1))


def test_colour_to_grey_is_luma(tmp_path):
    path = save(tmp_path / "a.png", np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8))
    assert torch.allclose(read_image(path, channels=1)[0, 0], torch.tensor([0.299, 0.587, 0.114]))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_every_bit(tmp_path, channels):
    samples = RNG.integers(0, 65536, (4, 6, channels)).astype(np.uint16)
    samples[0, 0] = 65535
    path = tmp_path / "a.png"
    path.write_bytes(png16(samples))
    values = samples.astype(np.float32) / 65535
    if channels in (2, 4):
        values = values[..., -1:] * values[..., :-1] + (1 - values[..., -1:]) * np.float32(0.25)
    expected = np.broadcast_to(values, (4, 6, 3)).transpose(2, 0, 1)
    got = read_image(path, channels=3, background=0.25).numpy()
    assert np.abs(got - expected).max() < 1e-7


def test_16_bit_tiff(tmp_path):
    pixels = np.array([[0, 1, 257, 65535]], dtype=np.uint16)
    path = save(tmp_path / "a.tif", pixels)
    assert torch.equal(read_image(path, channels=1)[0], torch.from_numpy(pixels.astype(np.float32) / 65535))


def test_integers_and_floats_of_unknown_range_are_refused(tmp_path):
    ok = save(tmp_path / "ok.tif", np.array([[0, 65535]], dtype=np.int32))
    assert read_image(ok, channels=1).flatten().tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"big\.tif: expected integers in 0 \.\. 65535, got 0 \.\. 70000"):
        read_image(save(tmp_path / "big.tif", np.array([[0, 70000]], dtype=np.int32)))
    with pytest.raises(ValueError, match=r"far\.tif: expected floats in \[0, 1\]"):
        read_image(save(tmp_path / "far.tif", np.array([[0, 3.5]], dtype=np.float32)))
    assert read_image(save(tmp_path / "f.tif", np.array([[0, 0.5]], dtype=np.float32)), channels=1).max() == 0.5


def test_alpha_is_composited(tmp_path):
    path = save(tmp_path / "a.png", np.array([[[255, 0, 0, 0], [255, 0, 0, 255], [0, 0, 0, 51]]], dtype=np.uint8))
    expected = torch.tensor([[1.0, 1, 1], [1, 0, 0], [0.8, 0.8, 0.8]])
    assert torch.allclose(read_image(path)[:, 0].T, expected, atol=1e-6)
    assert torch.allclose(read_image(path, background=0.0)[:, 0, 0], torch.zeros(3))


def test_palette_with_and_without_transparency(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode=None).convert("P")
    image.putpalette([255, 0, 0, 0, 0, 255] + [0] * 762)
    image.save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png")[:, 0].T.tolist() == [[1, 0, 0], [0, 0, 1]]
    image.save(tmp_path / "t.png", transparency=0)
    assert read_image(tmp_path / "t.png")[:, 0].T.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_one_bit_and_cmyk(tmp_path):
    Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1").save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png", channels=1).flatten().tolist() == [0, 1]
    Image.new("CMYK", (2, 2), (0, 0, 0, 0)).save(tmp_path / "c.tif")
    assert torch.equal(read_image(tmp_path / "c.tif"), torch.ones(3, 2, 2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_as_pillow_has_it(tmp_path, orientation):
    image = Image.fromarray(RNG.integers(0, 256, (3, 5, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored)).astype(np.float32) / 255
    assert np.array_equal(read_image(tmp_path / "a.png").permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("cut", [0, 10, 60])
def test_what_does_not_decode_is_named(tmp_path, cut):
    good = save(tmp_path / "good.png", RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8)).read_bytes()
    (tmp_path / "bad.png").write_bytes(good[:cut])
    with pytest.raises(ValueError, match=r"bad\.png: expected an image that decodes"):
        read_image(tmp_path / "bad.png")


def test_truncated_jpeg_is_named(tmp_path):
    good = save(tmp_path / "good.jpg", RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(good[: len(good) // 2])
    with pytest.raises(ValueError, match=r"cut\.jpg: expected an image that decodes"):
        read_image(tmp_path / "cut.jpg")


def test_animation_and_missing_file(tmp_path):
    frames = [Image.new("L", (4, 4), k) for k in (0, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"a\.gif: expected one picture, got 2"):
        read_image(tmp_path / "a.gif")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match="channels"):
        read_image(tmp_path / "a.gif", channels=2)


def test_fit_size():
    image = torch.rand(3, 8, 12)
    assert torch.equal(fit_size(image, 8, "crop"), image[:, :, 2:10])
    padded = fit_size(image, 12, "pad")
    assert torch.equal(padded[:, 2:10], image) and padded[:, :2].abs().sum() == 0 == padded[:, 10:].abs().sum()
    assert torch.equal(fit_size(image[:, :, :8], 8, "squash"), image[:, :, :8])
    assert fit_size(image, 5, "squash").shape == (3, 5, 5)
    assert torch.allclose(fit_size(torch.full((1, 31, 17), 0.3), 8), torch.full((1, 8, 8), 0.3))
    with pytest.raises(ValueError, match="resize"):
        fit_size(image, 4, "stretch")
