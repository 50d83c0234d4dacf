import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer as TimmTransformer
from torch.nn import functional as F

from vision import VisionTransformer, attention_maps, create_backbone
from vision.vit.backbones import fitting_patch

SMALL = {"img_size": 16, "patch_size": 4, "num_classes": 5, "embed_dim": 24, "depth": 3, "num_heads": 2}
NAMES = [
    "vit_suite_tiny_patch16_224",
    "vit_suite_small_patch16_224",
    "vit_suite_base_patch16_224",
    "vit_suite_small_patch8_224",
    "vit_suite_micro_patch2_8",
    "vit_suite_micro_patch4_32",
]


def small(**options):
    return VisionTransformer(**{**SMALL, **options}).eval()


def timm_twin(**options):
    """timm's model and ours with its weights."""
    theirs = TimmTransformer(**{**SMALL, **options}).eval()
    ours = small(**options)
    state = {}
    for name, value in theirs.state_dict().items():
        if name == "pos_embed":
            state["positions.table"] = value[0]
            continue
        for old, new in (
            ("norm1", "attention_norm"),
            ("norm2", "mlp_norm"),
            ("mlp.fc1", "mlp.expand"),
            ("mlp.fc2", "mlp.contract"),
            ("attn.proj", "attention.out_proj"),
            ("fc_norm", "norm"),
        ):
            name = name.replace(old, new)
        if "attn.qkv" in name:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                state[name.replace("attn.qkv", f"attention.{letter}_proj")] = part
        else:
            state[name] = value
    ours.load_state_dict(state)
    return theirs, ours


def test_equals_timms_in_outputs_and_gradients():
    theirs, ours = timm_twin()
    theirs, ours = theirs.double(), ours.double()
    x = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    y = torch.tensor([0, 4, 2])
    for model in (theirs, ours):
        F.cross_entropy(model(x), y).backward()
    assert torch.allclose(ours(x), theirs(x), atol=1e-12)
    assert torch.allclose(ours.positions.table.grad, theirs.pos_embed.grad[0], atol=1e-12)
    assert torch.allclose(ours.patch_embed.proj.weight.grad, theirs.patch_embed.proj.weight.grad, atol=1e-12)
    mine = torch.cat([getattr(ours.blocks[1].attention, f"{p}_proj").weight.grad for p in "qkv"])
    assert torch.allclose(mine, theirs.blocks[1].attn.qkv.weight.grad, atol=1e-12)


def test_positions_are_the_table_itself_at_its_own_size():
    model = small()
    x = torch.randn(2, 3, 16, 16)
    tokens = model.patch_embed(x)
    table = model.positions.table
    expected = torch.cat([(model.cls_token + table[:1]).expand(2, -1, -1), tokens + table[1:]], dim=1)
    assert torch.equal(model._embed(x), expected)


def test_other_sizes_interpolate_the_table():
    model = small()
    x = torch.randn(1, 3, 24, 32)
    grid = model.positions.table[1:].reshape(1, 4, 4, 24).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, size=(6, 8), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    assert torch.allclose(model._embed(x)[:, 1:], model.patch_embed(x) + resized, atol=1e-6)
    assert model(x).shape == (1, 5)


def test_set_input_size_makes_the_interpolated_table_its_own():
    model = small()
    x = torch.randn(2, 3, 24, 24)
    before = model(x)
    model.set_input_size(24)
    assert model.positions.table.shape == (37, 24)
    assert torch.allclose(model(x), before, atol=1e-5)
    with pytest.raises(ValueError, match="img_size"):
        model.set_input_size(25)


@pytest.mark.parametrize(
    "options",
    [
        {"stem": "overlap"},
        {"stem": "convolution"},
        {"global_pool": "avg", "class_token": False},
        {"global_pool": "avg"},
        {"global_pool": "map", "class_token": False},
        {"gated_mlp": True, "qk_norm": True, "init_values": 0.1},
    ],
)
def test_every_path_to_the_logits_agrees(options):
    model = small(**options)
    x = torch.randn(2, 3, 16, 16)
    logits = model(x)
    features = model.forward_features(x)
    assert features.shape == (2, 16 + model.num_prefix_tokens, 24)
    assert torch.equal(model.forward_head(features), logits)
    assert torch.equal(model.head(model.forward_head(features, pre_logits=True)), logits)
    final, maps = model.forward_intermediates(x)
    assert torch.allclose(final, features, atol=1e-6)
    assert [m.shape for m in maps] == [(2, 24, 4, 4)] * 3
    last = model.forward_intermediates(x, indices=[-1], output_fmt="NLC", norm=True, intermediates_only=True)[0]
    assert torch.allclose(last, features[:, model.num_prefix_tokens :], atol=1e-6)
    early, prefixed = model.forward_intermediates(x, indices=[0], stop_early=True, return_prefix_tokens=True)
    assert torch.equal(prefixed[0][0], maps[0]) and prefixed[0][1].shape[1] == model.num_prefix_tokens
    assert not torch.equal(early, final)


def test_pooling_by_hand():
    x = torch.randn(2, 17, 24)
    token, mean = small(), small(global_pool="avg")
    assert torch.equal(token.pool(x), x[:, 0])
    assert torch.allclose(mean.pool(x), x[:, 1:].sum(1) / 16, atol=1e-6)
    nothing = small(global_pool="", num_classes=0)
    assert torch.equal(nothing(torch.zeros(1, 3, 16, 16)), nothing.forward_features(torch.zeros(1, 3, 16, 16)))


@pytest.mark.parametrize("drop_path", [0.0, 0.5])
def test_checkpointing_changes_neither_outputs_nor_gradients(drop_path):
    model = small(drop_path_rate=drop_path, proj_drop_rate=0.1).train()
    x = torch.randn(4, 3, 16, 16)
    answers = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        torch.manual_seed(1)
        out = model(x)
        out.square().sum().backward()
        answers.append([out.detach(), *(p.grad.clone() for p in model.parameters())])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*answers, strict=True))


def test_attention_answers():
    model = small()
    x = torch.randn(2, 3, 16, 16)
    answers = model.attention(x, need=("weights", "entropy"))
    assert [a.weights.shape for a in answers] == [(2, 2, 17, 17)] * 3
    assert torch.allclose(answers[0].weights.sum(-1), torch.ones(2, 2, 17), atol=1e-5)
    entropy = -(answers[1].weights * answers[1].weights.log()).sum(-1)
    assert torch.allclose(answers[1].entropy, entropy, atol=1e-5)
    assert torch.allclose(model.norm(answers[-1].out), model.forward_features(x), atol=1e-5)
    maps = attention_maps(model, x)
    assert maps.shape == (3, 2, 2, 4, 4)
    assert torch.equal(maps[2, 0, 1].flatten(), answers[2].weights[0, 1, 0, 1:])


def test_torchscript_twin_is_the_same_function():
    model = small(qk_norm=True, gated_mlp=True, init_values=0.1, stem="overlap", drop_path_rate=0.2)
    block = model.blocks[0]
    with pytest.warns(FutureWarning, match="deprecated"):
        scripted = torch.jit.script(model)
    for size in (16, 24):
        x = torch.randn(2, 3, size, size)
        assert torch.allclose(scripted(x), model(x), atol=1e-5)
    assert model.blocks[0] is block  # the model itself keeps its blocks
    with pytest.raises(ValueError, match="map"):
        small(global_pool="map").__prepare_scriptable__()


@pytest.mark.parametrize("name", NAMES)
def test_registry(name):
    model = timm.create_model(name, num_classes=7, in_chans=1, depth=3)
    size = model.default_cfg["input_size"][-1]
    assert timm.is_model(name) and model.default_cfg["classifier"] == "head"
    assert model.get_classifier().out_features == 7
    assert f"{model.default_cfg['first_conv']}.weight" in model.state_dict()
    names = dict(model.named_parameters())
    assert model.no_weight_decay() <= set(names)
    if "base" in name or "patch8" in name:
        return
    features = timm.create_model(name, features_only=True).eval()
    assert len(features.feature_info.channels()) == 3
    assert [f.shape[1] for f in features(torch.zeros(1, 3, size, size))] == features.feature_info.channels()


def test_reset_classifier_and_groups():
    model = small()
    model.reset_classifier(3)
    assert model(torch.zeros(1, 3, 16, 16)).shape == (1, 3)
    model.reset_classifier(0, "")
    assert model(torch.zeros(1, 3, 16, 16)).shape == (1, 17, 24)
    with pytest.raises(ValueError, match="global_pool"):
        model.reset_classifier(3, "map")
    model = small()
    groups = timm.models.group_parameters(model, model.group_matcher())
    assert sum(len(g) for g in groups.values()) == len(list(model.parameters()))
    theirs = TimmTransformer(**SMALL)
    expected = timm.models.group_parameters(theirs, theirs.group_matcher())
    assert list(groups) == list(expected)
    assert set(groups[0]) == {"cls_token", "positions.table", "patch_embed.proj.weight", "patch_embed.proj.bias"}
    assert all(name.startswith("blocks.1.") for name in groups[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stem": "x"}, "stem: expected one of"),
        ({"global_pool": "x"}, "global_pool: expected one of"),
        ({"class_token": False}, "class_token=True"),
        ({"img_size": 18}, "multiples of the patch size 4"),
        ({"img_size": 2}, "multiples of the patch size 4"),
        ({"img_size": (16, 16, 16)}, "img_size"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_backbones_by_name():
    options = {"num_classes": 4, "in_chans": 1, "image_size": 32}
    x = torch.zeros(1, 1, 32, 32)
    for name in ("test_resnet", "test_vit", "vit_suite_micro_patch4_32", "cnn_suite_micro"):
        assert create_backbone(name, **options).eval()(x).shape == (1, 4)
    ours = create_backbone("vit_suite_micro_patch4_32", **{**options, "image_size": 64}, options={"patch_size": None})
    assert ours.patch_size == 8


@pytest.mark.parametrize(
    ("name", "extra", "message"),
    [
        ("vit_siute_tiny_patch16_224", {}, "near: vit_suite_tiny_patch16_224"),
        ("test_resnet", {"options": {"colour": 1}}, "model_options: expected options of test_resnet, got"),
        ("vit_suite_tiny_patch16_224", {"pretrained": True}, "no trained weights"),
    ],
)
def test_backbone_errors(name, extra, message):
    with pytest.raises(ValueError, match=message):
        create_backbone(name, num_classes=2, in_chans=3, image_size=32, **extra)


def test_trained_weights_without_a_network(monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("network is unreachable")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", no_network)
    with pytest.raises(ConnectionError, match=r"test_resnet.*network is unreachable.*pretrained: false"):
        create_backbone("test_resnet", num_classes=2, in_chans=3, image_size=32, pretrained=True)


def test_fitting_patch():
    sizes = {4: 2, 8: 2, 16: 2, 28: 4, 32: 4, 36: 4, 48: 4, 56: 8, 64: 8, 96: 8, 112: 16, 224: 16}
    assert {size: fitting_patch(size) for size in sizes} == sizes
    with pytest.raises(ValueError, match="image_size"):
        fitting_patch(31)
