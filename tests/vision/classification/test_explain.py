"""A small trained classifier of images is explained by its patches."""

import lightning as L
import pytest
import torch

from core.explain import explain
from core.explain.checks import check_explains
from vision import DigitsData, ImageClassificationTask
from vision.classification import ImageExplains
from vision.classification.explain import patch_side

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # lightning 2.6 on torch 2.14
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*log_every_n_steps.*"),
]

TINY = {"embed_dim": 16, "depth": 2, "num_heads": 2}
QUICK = {
    "random_orders": 1,
    "curve_steps": 4,
    "gradient_steps": 16,
    "rank_permutations": 19,
    "weight_permutations": 4,
    "adversary_steps": 4,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    L.seed_everything(0, verbose=False)
    options = {"embed_dim": 32, "depth": 1, "num_heads": 4}
    task = ImageClassificationTask("vit_suite_micro_patch2_8", options, lr=1e-2, weight_decay=0.0, baselines=[])
    data = DigitsData(batch_size=32)
    trainer = L.Trainer(
        default_root_dir=tmp_path_factory.mktemp("run"),
        max_epochs=4,
        limit_val_batches=0,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, data)
    return task, data


def test_digits_are_explained(trained):
    task, data = trained
    found = task.explains(data, 24)
    check_explains(found)
    answer = explain(found, **QUICK)
    assert answer.items == found.items == tuple(data.names_of(torch.as_tensor(data.test_set.items[:24])))
    assert answer.unit == "patch of 2 x 2 pixels" and answer.valid.shape == (24, 16) and answer.valid.all()
    assert answer.unit_names[0][:5] == tuple([*(f"row 1, column {k}" for k in (1, 2, 3, 4)), "row 2, column 1"])
    with torch.no_grad():
        image = torch.stack([data.test_set[place].image for place in range(24)])
        expected = task.eval()(image).softmax(1)
    torch.testing.assert_close(answer.prediction.values, expected)
    truth = [data.classes[int(data.test_set[place].label)] for place in range(24)]
    assert list(answer.prediction.truth) == truth and answer.prediction.uncertainty is None
    right = sum(answer.prediction.names[int(k)] == name for k, name in zip(expected.argmax(1), truth, strict=True))
    assert right > 9 and answer.report.accuracy.model == pytest.approx(right / 24)  # by chance 2.4
    assert answer.verdict.startswith("Attention m") and answer.faithful == answer.report.faithful
    one = answer.items[0]
    effect = answer.of(one, "leave-one-out")
    best, size = answer.top(one, "leave-one-out", most=1)[0]
    assert abs(size) == float(effect.abs().max()) > 0
    place = found.unit_names(0).index(best)
    without = found.normalised[:1].clone()
    row, column = 2 * (place // 4), 2 * (place % 4)
    without[..., row : row + 2, column : column + 2] = 0.0
    with torch.no_grad():
        odds = [task.model(x).log_softmax(1)[0] for x in (found.normalised[:1], without)]
    chosen = int(odds[0].argmax())
    logit = [float(o[chosen] - torch.cat([o[:chosen], o[chosen + 1 :]]).logsumexp(0)) for o in odds]
    assert logit[0] - logit[1] == pytest.approx(size, abs=1e-3)


def test_the_picture_shows_image_and_patches(trained):
    task, data = trained
    found = task.explains(data, 1)
    values = torch.arange(16.0) - 4
    figure = found.draw(0, values, "leave-one-out")
    left, right, bar = figure.axes
    assert right.images[0].get_array().tolist() == values.reshape(4, 4).tolist()
    assert right.images[0].get_clim() == (-11, 11) and left.images[0].get_array().shape == (8, 8)
    assert left.get_title() == found.items[0] and "attribution" in bar.get_ylabel()


def test_images_are_chosen_by_name(trained):
    task, data = trained
    numbers = [int(data.plain_train_set.items[3]), int(data.test_set.items[0])]
    found = task.explains(data, [str(number) for number in numbers])
    assert found.items == tuple(map(str, numbers))
    torch.testing.assert_close(found.images[0], data.plain_train_set[3].image)
    with pytest.raises(ValueError, match="items: expected names of images of the data, got 'nobody'"):
        task.explains(data, ["nobody"])
    with pytest.raises(ValueError, match="items: expected 1 to 3"):
        task.explains(data, 0)
    with pytest.raises(ValueError, match="items: expected at least one name, got none"):
        task.explains(data, [])


@pytest.mark.parametrize("pool", ["avg", "map"])
def test_models_without_a_class_token(trained, pool):
    _, data = trained
    torch.manual_seed(0)
    options = {**TINY, "global_pool": pool, "class_token": False}
    task = ImageClassificationTask("vit_suite_micro_patch2_8", options, num_classes=10, channels=1, image_size=8)
    found = task.explains(data, 2)
    check_explains(found, pictures=False)
    answer = explain(found, **QUICK)
    torch.testing.assert_close(answer.attributions["attention"].sum(1), torch.ones(2))


def test_timm_s_vision_transformer_is_explained_too(trained):
    _, data = trained
    options = {"patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2}
    task = ImageClassificationTask("vit_tiny_patch16_224", options, num_classes=10, channels=1, image_size=8)
    found = task.explains(data, 2)
    assert patch_side(task.model) == 4 and found.unit == "patch of 4 x 4 pixels"
    check_explains(found, pictures=False)
    assert explain(found, **QUICK).valid.shape == (2, 4)


def test_a_model_without_patches_is_refused():
    image, label = torch.zeros(1, 1, 4, 4), torch.zeros(1, dtype=torch.long)
    with pytest.raises(ValueError, match="expected a vision transformer with square patches, got none in Conv2d"):
        ImageExplains(torch.nn.Conv2d(1, 2, 3), ["a"], image, image, ["c"], label)
