"""What capture cannot do is said, by name."""

import warnings

import pytest
import torch
from torch import nn

from core.analysis import CaptureError
from core.analysis.capture import capture
from core.layers import MultiheadAttention

from ..models import images, vit


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"quantities": "entropy"}, TypeError, "expected a tuple such as"),
        ({"quantities": ("entropie",)}, ValueError, "quantities: expected names from .*'entropie'"),
        ({"quantities": ()}, ValueError, "quantities: .*got none"),
        ({"heads": []}, ValueError, "heads: .*got none"),
        ({"quantities": ("inputs",), "rows": [0]}, ValueError, "rows: expected None with the quantity 'inputs'"),
        ({"rows": [17]}, CaptureError, r"rows: expected indices of the 17 of blocks.0.attention, got 17"),
        ({"heads": [-5]}, CaptureError, "heads: expected indices of the 4 of blocks.0.attention"),
        ({"layers": "block.0"}, CaptureError, "'blocks.0.attention', 'blocks.1.attention'.*matches none"),
        (
            {"layers": ["blocks.0", "blocks.*.mlp"]},
            CaptureError,
            "expected modules that attended, .*got 'blocks.[*].mlp'",
        ),
        (
            {"statistics": {"s": lambda p: p.q}},
            ValueError,
            r"statistics\['s'\]: expected .* at 'blocks.0.attention', got",
        ),
    ],
)
def test_what_cannot_be_done_is_said(options, error, message):
    model = vit()
    with pytest.raises(error, match=message), capture(model, **options):
        model(images())


def test_a_model_without_attention_is_refused_with_its_modules():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(
        CaptureError, match=r"(?s)model: expected attention.*torch.nn.modules.linear.Linear.*supported: whatever calls"
    ):
        with capture(model):
            model(torch.randn(1, 2))
    with (
        pytest.raises(
            CaptureError, match="expected attention that can be captured to run inside the context, got none"
        ),
        capture(vit()),
    ):
        pass
    with pytest.raises(TypeError, match="Module, got a function"), capture(lambda x: x):
        pass


def test_a_missing_layer_is_named():
    model = vit()
    with capture(model) as seen:
        model(images())
    with pytest.raises(
        KeyError, match=r"layer: expected one of 'blocks\.0\.attention', 'blocks\.1\.attention', got 'blocks\.0'"
    ):
        seen["blocks.0"]


def test_compiled_models_are_refused():
    model = vit()
    with (
        pytest.raises(CaptureError, match="got the model itself compiled"),
        capture(torch.compile(model)),
    ):
        pass
    model.compile()
    with pytest.raises(CaptureError, match="got the model itself compiled"), capture(model):
        pass


def test_a_compiled_caller_is_refused():
    layer = MultiheadAttention(8, 2)
    run = torch.compile(lambda x: layer(x), backend="eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.TorchDynamoException), capture(layer):
        run(torch.randn(1, 3, 8))


def test_torchscript_is_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates torch.jit
        model = torch.jit.script(nn.Linear(2, 2))
    with pytest.raises(CaptureError, match="TorchScript"), capture(model):
        pass
