"""The vision transformer's options against attention hijacking: they reach every layer and are held by the audit."""

import pytest
import timm
import torch

from core import robust, scores
from vision import ImageClassificationTask, VisionTransformer

SMALL = {"img_size": 8, "patch_size": 2, "in_chans": 1, "num_classes": 3, "embed_dim": 16, "depth": 2, "num_heads": 2}


@pytest.mark.parametrize("pool", ["token", "map"])
@pytest.mark.parametrize(
    ("options", "width"),
    [
        ({"query_norm_limit": 1.5, "key_norm_limit": 2.0, "scale": 0.5}, 2 * 0.5 * 1.5 * 2.0),
        ({"score": "cosine", "scale": 1.2}, 2 * 1.2),
    ],
)
def test_options_bound_every_layer(pool, options, width):
    torch.manual_seed(0)
    model = VisionTransformer(**SMALL, global_pool=pool, **options)
    report = robust.audit(model, torch.rand(2, 1, 8, 8), levels=("key",), factors=(1.0, 1e4))
    assert {f.layer for f in report.findings} >= {"blocks.0.attention", "blocks.1.attention"}
    assert len({f.layer for f in report.findings}) == 2 + (pool == "map")
    assert report.passed and report.bound == pytest.approx(float(robust.capture_bound(17, width)), abs=1e-6)


def test_options_come_through_the_registry_and_the_task():
    options = {"key_norm_limit": 2.0, "query_norm_limit": 3.0}
    model = timm.create_model("vit_suite_micro_patch2_8", num_classes=3, in_chans=1, **options)
    task = ImageClassificationTask(
        "vit_suite_micro_patch2_8", {"score": "cosine", "scale": 2.0}, num_classes=3, channels=1, image_size=8
    )
    assert {(b.attention.query_norm_limit, b.attention.key_norm_limit) for b in model.blocks} == {(3.0, 2.0)}
    assert {(b.attention.score, b.attention.scale) for b in task.model.blocks} == {(scores.Cosine(), 2.0)}


def test_an_unknown_score_is_refused():
    with pytest.raises(ValueError, match="score: expected one of dot, cosine, got 'dots'"):
        VisionTransformer(**SMALL, score="dots")


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
def test_torchscript_does_not_drop_a_limit():
    model = VisionTransformer(**SMALL).eval()
    with robust.defend(model, key_norm_limit=1.0), pytest.raises(ValueError, match="without limits of norms"):
        torch.jit.script(model)
