"""The audit of models whose attention is torch's or timm's: seen, attacked through the input, and bounded by norms."""

import pytest
import torch
from torch import nn

from core import robust
from core.layers import Encoder, MultiheadAttention

from ..analysis.models import images, timm_vit, tokens, torch_encoder

IMAGE_KEY = 1 + 5  # the class token stands before the patches
PATCH = torch.zeros(8, 8, dtype=torch.bool)
PATCH[2:4, 2:4] = True  # row 1, column 1 of 4 x 4 patches
REGION = robust.Region(PATCH, key=IMAGE_KEY)


def as_core(theirs: nn.MultiheadAttention) -> MultiheadAttention:
    return MultiheadAttention.from_torch(theirs)


@pytest.mark.parametrize("norm_first", [False, True])
def test_torch_encoder_is_audited_through_its_input(norm_first):
    model = torch_encoder(norm_first=norm_first).train()
    report = robust.audit(model, tokens(), factors=(1.0, 1e3), steps=2)
    names = ("layers.0.self_attn", "layers.1.self_attn")
    assert report.unaudited == names and not report.select("key")
    assert {f.layer for f in report.select("input")} == set(names) and {f.head for f in report.findings} == {0, 1, 2, 3}
    assert report.bound is None and not report.passed and all(f.bound is None for f in report.findings)
    assert f"keys not attacked (attention outside core.MultiheadAttention): {', '.join(names)}" in str(report)
    assert report.verdict.startswith(("HIJACKABLE", "NOT BOUNDED"))
    assert all(module.training for module in model.modules())


def test_torch_attention_gets_the_numbers_of_core_s_with_its_weights():
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(16, 4, batch_first=True).eval()

    def call(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return model(x, x, x, need_weights=False)[0]

    options = {"levels": ("input",), "factors": (1.0, 10.0, 1e3), "steps": 3}
    found = robust.audit(theirs, tokens(), forward=call, **options)
    same = robust.audit(as_core(theirs), tokens(), **options)
    for a, b in zip(found.findings, same.findings, strict=True):
        assert (a.level, a.layer, a.head, a.factor) == (b.level, b.layer, b.head, b.factor)
        for name in ("clean", "captured", "peak", "change"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-3, abs=1e-5)
    assert max(f.captured for f in found.select(factor=1e3)) > max(f.clean for f in found.findings)


def test_a_padded_key_is_not_seen_and_torch_s_fast_path_changes_nothing():
    """torch's fast path would answer zeros in padded rows of the clean pass alone: a change that no attack made."""
    model, x = torch_encoder().eval(), tokens()
    blocked = torch.zeros(2, 5, dtype=torch.bool)
    blocked[0, 4] = True

    def call(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return model(x, src_key_padding_mask=blocked)

    options = {"levels": ("input",), "factors": (1e-9,), "steps": 1, "forward": call}
    region = robust.Region(torch.zeros(2, 5, 1, dtype=torch.bool), key=4)
    untouched = robust.audit(model, x, region=region, **options)
    assert all(f.change == pytest.approx(0, abs=1e-5) for f in untouched.findings) and untouched.findings
    blocked[1, 4] = True
    assert not robust.audit(model, x, key=4, **options).findings
    assert robust.audit(model, x, key=3, **options).findings
    assert torch.backends.mha.get_fastpath_enabled()


def test_timm_vit_is_audited_through_a_patch():
    model = timm_vit().train()
    report = robust.audit(model, images(), region=REGION, factors=(1.0, 1e3), steps=2)
    names = ("blocks.0.attn", "blocks.1.attn")
    assert report.unaudited == names and {f.layer for f in report.findings} == set(names)
    assert all(f.level == "input" and f.bound is None for f in report.findings)
    assert all(0 < f.captured <= f.peak <= 1 for f in report.findings)
    assert all(module.training for module in model.modules())
    with pytest.raises(ValueError, match="region: expected one where the input is not"):
        robust.audit(model, images())


def test_timm_s_normalised_keys_have_a_bound():
    """LayerNorm over D = 4 features without an offset answers vectors of norm sqrt(4) at most, queries as found."""
    model = timm_vit(qk_norm=True).eval()
    report = robust.audit(model, images(), region=REGION, levels=("input",), factors=(1e3,), steps=1)
    width = 2 * 4**-0.5 * 2 * 2
    expected = float(robust.capture_bound(17, width))
    assert [f.bound for f in report.findings] == pytest.approx([expected] * 8, abs=1e-5)
    assert report.excess < 0 and not any(f.assumes_queries for f in report.findings)
    assert report.bound == pytest.approx(expected, abs=1e-5) and report.passed == (not report.hijackable)


def test_a_compiled_model_is_refused():
    with pytest.raises(RuntimeError, match=r"model: expected the module that torch.compile was given"):
        robust.audit(torch.compile(Encoder(8, 1, 2)), torch.randn(1, 3, 8))
