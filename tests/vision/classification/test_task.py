import csv
import json

import lightning as L
import numpy as np
import pytest
import torch
from sklearn.svm import SVC
from timm.data import Mixup
from torch.nn import functional as F

from core.training.cli import main
from vision import DigitsData, ImageClassificationTask, ImageFolderData
from vision.classification.baselines import ranking_scores, support_vector_machine
from vision.classification.data import MedMnistData
from vision.classification.task import mix
from vision.images import ImageBatch

from ..fakes import write_folder, write_medmnist

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore::DeprecationWarning:jsonargparse"),  # lightning's command line
    pytest.mark.filterwarnings("ignore:.*skip_none.*:DeprecationWarning"),
]

TINY = {"embed_dim": 16, "depth": 2, "num_heads": 2}


def task(**options):
    given = {"num_classes": 3, "channels": 1, "image_size": 8, "model_name": "vit_suite_micro_patch2_8"}
    return ImageClassificationTask(**{**given, "model_options": TINY, **options})


def trainer(tmp_path, **options):
    return L.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def batch(n=6, classes=3):
    return ImageBatch(torch.rand(n, 1, 8, 8), torch.arange(n) % classes, torch.arange(n))


def test_loss_is_smoothed_cross_entropy():
    model, b = task(label_smoothing=0.2).eval(), batch()
    log_p = model(b.image).log_softmax(1)
    target = F.one_hot(b.label, 3) * 0.8 + 0.2 / 3
    assert torch.allclose(model.shared_step(b, "train").loss, -(target * log_p).sum(1).mean(), atol=1e-6)
    evaluated = model.shared_step(b, "val")
    assert torch.allclose(evaluated.loss, -log_p.gather(1, b.label[:, None]).mean(), atol=1e-6)
    assert torch.allclose(evaluated.prediction, log_p.exp(), atol=1e-6)


def test_two_classes_answer_the_probability_of_class_1():
    model, b = task(num_classes=2).eval(), batch(classes=2)
    out = model.shared_step(b, "test")
    assert out.prediction.shape == (6,)
    assert torch.allclose(out.prediction, model(b.image).softmax(1)[:, 1])


def test_normalised_by_hand():
    model = task()
    model.mean.fill_(0.25)
    model.std.fill_(0.5)
    assert torch.equal(model.normalised(torch.full((1, 1, 2, 2), 0.75)), torch.ones(1, 1, 2, 2))


@pytest.mark.parametrize("n", [1, 4, 5])
def test_mixing_keeps_labels_and_images_together(n):
    mixer = Mixup(mixup_alpha=0.4, cutmix_alpha=0.0, label_smoothing=0.1, num_classes=4)
    label = torch.arange(n) % 4
    image = F.one_hot(label, 4).float()[:, :, None, None].expand(n, 4, 2, 2).contiguous()  # an image is its label
    np.random.seed(0)
    mixed, target = mix(mixer, image, label)
    assert torch.allclose(target, mixed[:, :, 0, 0] * 0.9 + 0.1 / 4, atol=1e-6)
    if n % 2:
        assert torch.equal(mixed[-1], image[-1])


def test_takes_what_it_needs_from_the_data(tmp_path):
    data = MedMnistData(str(write_medmnist(tmp_path / "breastmnist.npz")), batch_size=8)
    model = ImageClassificationTask(model_options=TINY)
    trainer(tmp_path, max_epochs=1).fit(model, data)
    assert (model.num_classes, model.channels, model.image_size) == (2, 1, 28)
    assert model.class_names == ["malignant", "normal or benign"]
    assert torch.equal(model.mean, data.mean) and torch.equal(model.std, data.std)
    assert dict(model.hparams)["num_classes"] == 2 and dict(model.hparams)["image_size"] == 28
    again = ImageClassificationTask(**{k: v for k, v in model.hparams.items() if not k.startswith("_")})
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(torch.zeros(1, 1, 28, 28)), model.eval()(torch.zeros(1, 1, 28, 28)))


@pytest.mark.parametrize(
    ("options", "message"), [({"num_classes": 4}, "num_classes: expected 4, as the model has, got 2 in the data")]
)
def test_refuses_other_data(tmp_path, options, message):
    data = MedMnistData(str(write_medmnist(tmp_path / "x.npz")))
    model = ImageClassificationTask(model_options=TINY, **options)
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path, max_epochs=1).fit(model, data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalize": "x"}, "normalize"),
        ({"baseline": "x"}, "baseline"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"mixup": -1.0}, "mixup"),
        ({"model_name": "nothing_like_it"}, "model_name"),
        ({"image_size": 7}, "img_size|images"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        task(**options)


def test_without_data_that_know_it_says_what_is_missing():
    with pytest.raises(ValueError, match="num_classes, channels, image_size"):
        ImageClassificationTask().setup("fit")


def test_augmentation_is_for_training_only(tmp_path):
    data = DigitsData(batch_size=256, rotation=20, val_fraction=0.1)
    model = task(num_classes=10)
    seen = {"train": [], "val": []}
    step = model.shared_step

    def spy(b, stage):
        plain = torch.stack([data.whole.images[int(k)] for k in b.index])
        seen[stage].append(torch.equal(plain, b.image))
        return step(b, stage)

    model.shared_step = spy
    trainer(tmp_path, max_epochs=1, limit_train_batches=2, num_sanity_val_steps=0).fit(model, data)
    assert seen["train"] == [False, False] and all(seen["val"]) and seen["val"]


def test_decay_spares_norms_biases_tokens_and_positions():
    from core.training.optim import parameter_groups

    model = task()
    groups = parameter_groups(model, 0.3)
    names = {id(p): n for n, p in model.named_parameters()}
    decayed = {names[id(p)] for g in groups if g["weight_decay"] for p in g["params"]}
    assert "model.blocks.0.mlp.expand.weight" in decayed and "model.patch_embed.proj.weight" in decayed
    assert not decayed & {"model.cls_token", "model.positions.table", "model.head.bias", "model.norm.weight"}


def test_baseline_is_the_machine_on_the_same_split():
    data = DigitsData(fold=0, val_fraction=0.0)
    data.setup()
    result = support_vector_machine(data)
    x = data.whole.images.array.reshape(-1, 64) / 16.0
    y = data.whole.labels
    plain = SVC().fit(x[data.split.train], y[data.split.train])
    assert np.array_equal(result.prediction, plain.predict(x[data.split.test]))
    metrics = result.metrics()
    assert metrics["test/accuracy"] == plain.score(x[data.split.test], y[data.split.test]) > 0.98
    with pytest.raises(ValueError, match="at most 100"):
        support_vector_machine(data, most=100)
    with pytest.raises(ValueError, match="val part"):
        support_vector_machine(data, part="val")


def test_ranking_scores_by_hand():
    target = np.array([0, 0, 1, 1])
    assert ranking_scores(target, np.array([0.1, 0.4, 0.35, 0.8]))[0] == 0.75  # scikit-learn's textbook example
    scores = np.eye(3)[[0, 1, 2]] + 0.0
    assert ranking_scores(np.array([0, 1, 2]), scores) == (1.0, 1.0)


def config(tmp_path, data, model=None, **more):
    entries = {
        "seed_everything": 0,
        "model": {
            "class_path": "ImageClassificationTask",
            "init_args": {"model_options": {**TINY, "patch_size": None}, **(model or {})},
        },
        "data": data,
        "trainer": {"max_epochs": 3, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False},
        **more,
    }
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(entries))
    return ["--config", str(path), "--trainer.default_root_dir", str(tmp_path / "runs")]


def test_from_folder_to_table(tmp_path, capsys):
    root = write_folder(tmp_path / "pets", each=20, size=(12, 12))
    new = write_folder(tmp_path / "new", each=3, size=(30, 20), seed=9)
    (new / "cat" / "000.png").rename(new / "loose.png")
    options = config(
        tmp_path,
        {"class_path": "ImageFolderData", "init_args": {"batch_size": 8}},
        model={"lr": 0.01, "warmup_fraction": 0.0},
        ema=0.5,
    )
    main(["fit", *options, "--data.root", str(root)])
    run = tmp_path / "runs" / "run" / "version_0"
    assert {"best.ckpt", "last.ckpt", "metrics.json", "config.yaml"} <= {p.name for p in run.iterdir()}
    main(["test", *options, "--data.root", str(root), "--ckpt_path", str(run / "last.ckpt")])
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"test/accuracy", "test/auroc", "test/auprc", "test/loss", "test/accuracy_cat"} <= set(metrics)
    assert metrics["test/accuracy"] == 1.0  # the classes differ in brightness
    baselines = json.loads((run / "baselines.json").read_text())
    assert set(baselines) == {"svc_pixels"} and baselines["svc_pixels"]["test/accuracy"] == 1.0
    out = tmp_path / "table.csv"
    predict = ["predict", *options, "--ckpt_path", str(run / "best.ckpt"), "--out", str(out)]
    main([*predict, "--data.predict_root", str(new)])
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [
        "cat/001.png", "cat/002.png", "dog/000.png", "dog/001.png", "dog/002.png", "loose.png",
    ]  # fmt: skip
    assert [row["prediction"] for row in rows] == ["cat", "cat", "dog", "dog", "dog", "cat"]
    for row in rows:
        assert abs(float(row["probability_cat"]) + float(row["probability_dog"]) - 1) < 1e-5
    main([*predict, "--data.root", str(root)])  # without new files: the test part, with its labels
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and all(row["label"] == row["prediction"] == row["id"][:3] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.root", "/no/such/folder"], "/no/such/folder"),
        ([], "root: expected a folder"),
        (["--model.model_name", "resnet999"], "resnet999"),
        (["--data.rotation", "-3"], "rotation"),
    ],
)
def test_one_clear_message(tmp_path, capsys, arguments, message):
    options = config(tmp_path, {"class_path": "ImageFolderData", "init_args": {"image_size": 8}})
    if "--model.model_name" in arguments:
        arguments = [*arguments, "--data.root", str(write_folder(tmp_path / "pets"))]
    with pytest.raises(SystemExit) as caught:
        main(["fit", *options, *arguments])
    assert caught.value.code != 0
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not list((tmp_path / "runs").rglob("metrics.json"))


def test_options_are_primitives():
    """Checkpoints hold the options and load without running code."""
    for made in (task(), DigitsData(), ImageFolderData()):
        for value in made.hparams.values():
            assert isinstance(value, (int, float, str, bool, list, tuple, dict, type(None)))
