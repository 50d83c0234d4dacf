"""The types of options that layers hand on say just what the layers take."""

import inspect
from typing import get_type_hints

import pytest

from core.layers import (
    AttentionOptions,
    BlockOptions,
    Encoder,
    HybridBlock,
    MultiheadAttention,
    TransformerBlock,
)


@pytest.mark.parametrize(
    ("options", "layer", "own"),
    [
        (BlockOptions, TransformerBlock, {"dim", "heads", "drop_path", "norm_layer"}),
        (AttentionOptions, MultiheadAttention, {"dim", "heads", "dropout"}),
    ],
)
def test_options_are_those_of_the_layer_with_its_types(options, layer, own):
    taken = inspect.signature(layer.__init__).parameters.keys() - {"self"} - own
    hints = get_type_hints(layer.__init__)
    assert get_type_hints(options) == {name: hints[name] for name in taken}
    assert not options.__required_keys__


@pytest.mark.parametrize(
    "make",
    [
        lambda: Encoder(8, 1, 2, mpl_ratio=2.0),
        lambda: HybridBlock(8, 2, kv_head=1),
    ],
)
def test_a_misspelt_option_is_refused(make):
    with pytest.raises(TypeError, match=r"unexpected keyword argument '(mpl_ratio|kv_head)'"):
        make()
