"""Images from Python: shapes and values, classes, parts, and a model trained, tested, read back and asked."""

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from core.training import load_run
from vision import ImageArrayData, ImageBatch, ImageClassificationTask

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # of lightning 2.6 with torch 2.14
    pytest.mark.filterwarnings("ignore:The '.*' does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step`"),
]
TINY = {"embed_dim": 8, "depth": 1, "num_heads": 2}


def images(count: int = 24) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8), dtype=np.uint8)


def labels(count: int = 24) -> np.ndarray:
    return np.arange(count) % 3


def trainer(folder, epochs: int = 1) -> L.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return L.Trainer(
        default_root_dir=folder, max_epochs=epochs, accelerator="cpu", devices=1, enable_checkpointing=False, **quiet
    )


def task(**options) -> ImageClassificationTask:
    return ImageClassificationTask("vit_suite_micro_patch2_8", TINY, baselines=[], **options)


def test_layouts_and_values_become_the_same_images():
    grey = images()
    colour = np.stack([grey, grey // 2, grey // 3], axis=-1)
    data = ImageArrayData(colour, labels())
    torch_data = ImageArrayData(torch.from_numpy(colour.transpose(0, 3, 1, 2).copy()), torch.from_numpy(labels()))
    fractions = ImageArrayData((colour / 255).astype(np.float32), labels().tolist())
    for one in (data, torch_data, fractions):
        one.setup()
    assert data.shape == torch_data.shape == (3, 8, 8) and data.fingerprint() == torch_data.fingerprint()
    assert torch.equal(data.whole.images[5], torch_data.whole.images[5])
    assert torch.allclose(data.whole.images[5], fractions.whole.images[5], atol=2**-23)
    assert data.whole.images[5][0, 2, 3] == np.float32(grey[5, 2, 3]) / np.float32(255)


def test_texts_are_classes_in_sorted_order():
    words = np.array(["pear", "apple", "fig"])[labels()]
    data = ImageArrayData(images(), words)
    data.setup()
    assert data.classes == ("apple", "fig", "pear") and data.whole.labels[:3].tolist() == [2, 0, 1]


def test_parts_may_be_numbers_or_masks():
    mask = np.zeros(24, dtype=bool)
    mask[20:] = True
    data = ImageArrayData(images(), labels(), split={"train": range(12), "test": mask})
    data.setup()
    assert [len(part) for part in data.split] == [12, 0, 4] and data.val_set is None
    assert data.describe_split() == "given: train 12, val 0, test 4"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": images().astype(np.int32)}, "white: expected the value that becomes 1"),
        ({"images": images()[0]}, "images: expected .n, H, W. or"),
        ({"images": [np.zeros((2, 2)), np.full((2, 2), np.nan)], "labels": [0, 1]}, "infinity in image 1"),
        ({"images": images() / 100}, r"images: expected values in 0 \.\. 1"),
        ({"labels": [0, 1]}, r"labels: expected \(24,\)"),
        ({"labels": np.full(24, 10**9)}, "labels: expected at most 24 classes"),
        ({"labels": labels() - 1}, r"labels: expected 0 \.\. 1, got -1"),
        ({"labels": ["a"] * 24, "classes": ["b", "c"]}, "labels: expected b, c, got 'a'"),
        ({"names": ["x"] * 24}, "names: expected 24 different names"),
        ({"split": {"training": [0]}}, "split: expected the parts train, val, test, got 'training'"),
        ({"split": {"train": [0, 1], "test": [1]}}, "split: expected every item in one part, got 1"),
        ({"split": {"train": [24]}}, r"train: expected whole numbers 0 \.\. 23"),
        ({"split": {"train": [True, False]}}, "train: expected a mask of 24 items"),
    ],
)
def test_bad_arrays_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ImageArrayData(**{"images": images(), "labels": labels(), **arguments})


def test_train_test_read_back_and_predict(tmp_path):
    data = ImageArrayData(images(), labels(), names=[f"n{k}" for k in range(24)], batch_size=6)
    model = task()
    run = trainer(tmp_path)
    run.fit(model, datamodule=data)
    assert set(run.test(model, datamodule=data, verbose=False)[0]) >= {"test/accuracy", "test/loss"}
    run.save_checkpoint(tmp_path / "x.ckpt")
    (before,) = run.predict(model, datamodule=data)
    loaded = load_run(tmp_path / "x.ckpt", data=False)
    assert "images" not in loaded.checkpoint["datamodule_hyper_parameters"]
    new = ImageArrayData(images(), names=[f"n{k}" for k in range(24)], batch_size=24)
    (after,) = trainer(tmp_path).predict(loaded.task, datamodule=new)
    assert "label" not in after and len(after["id"]) == 24
    place = [after["id"].index(name) for name in before["id"]]
    assert torch.allclose(after["probability_0"][place], before["probability_0"], atol=1e-5)


def test_without_labels_nothing_is_trained(tmp_path):
    with pytest.raises(ValueError, match="labels: expected a class of each image"):
        trainer(tmp_path).fit(task(), datamodule=ImageArrayData(images()))


def test_a_hugging_face_data_set_is_read_by_its_columns():
    class Feature:
        names = ("no", "yes", "maybe")

    class Rows(dict):
        features = {"label": Feature()}  # noqa: RUF012

    data = ImageArrayData.from_dataset(Rows(image=list(images()), label=labels().tolist()))
    data.setup()
    assert data.classes == ("no", "yes", "maybe") and len(data.whole.labels) == 24
    with pytest.raises(ValueError, match="images: expected one shape"):
        ImageArrayData.from_dataset(Rows(image=[np.zeros((2, 2)), np.zeros((3, 2))], label=[0, 1]))


def test_own_loaders_train_on_the_batch_type_and_are_told_otherwise(tmp_path):
    items = [ImageBatch(torch.rand(1, 8, 8), torch.tensor(k % 3), torch.tensor(k)) for k in range(12)]
    known = {"num_classes": 3, "channels": 1, "image_size": 8}
    model = task(**known)
    run = trainer(tmp_path)
    run.fit(model, DataLoader(items, batch_size=4))
    assert run.predict(model, DataLoader(items, batch_size=12))[0]["id"] == [str(k) for k in range(12)]
    plain = DataLoader(TensorDataset(torch.rand(8, 1, 8, 8), torch.arange(8) % 3), batch_size=4)
    with pytest.raises(
        TypeError, match=r"batch: expected ImageBatch\(image, label, index\) for ImageClassificationTask, got"
    ):
        trainer(tmp_path).fit(task(**known), plain)


@pytest.mark.parametrize("kind", [object, "S"])
def test_texts_of_pandas_and_bytes_are_texts(kind):
    data = ImageArrayData(np.zeros((4, 2, 2), np.uint8), np.array(["b", "a", "b", "a"]).astype(kind))
    assert data.class_names == ("a", "b") and data.targets.tolist() == [1, 0, 1, 0]


def test_classes_are_told_apart_and_white_is_a_number():
    images = np.zeros((2, 2, 2), np.uint8)
    with pytest.raises(ValueError, match="classes: expected different names, got a, a"):
        ImageArrayData(images, [0, 1], classes=["a", "a"])
    with pytest.raises(ValueError, match=r"images: expected values in 0 \.\. inf \(white\)"):
        ImageArrayData(images, white=float("inf"))
