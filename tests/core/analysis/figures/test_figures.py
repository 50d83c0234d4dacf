"""Pictures of heads: what stands on them, and refusals."""

import sys

import numpy as np
import pytest
import torch

from core.analysis import Head, PruningCurve, Redundancy
from core.analysis import figures as plots
from core.extras import MissingExtraError


def texts(figure):
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


def redundancy():
    """Heads 0 and 2 alike, 1 apart."""
    divergence = torch.tensor([[0.0, 0.6, 0.01], [0.6, 0.0, 0.6], [0.01, 0.6, 0.0]])
    return Redundancy(tuple(Head("a", n) for n in range(3)), divergence, 1.9)


def test_head_grid_has_one_scale_and_names():
    weights = {"first": torch.rand(2, 4, 4), "second": torch.rand(3, 4, 4) / 2}
    figure = plots.head_grid(weights, title="Title")
    images = [image for axis in figure.axes for image in axis.get_images()]
    assert len(images) == 5
    assert {image.get_clim() for image in images} == {(0, float(weights["first"].max()))}
    np.testing.assert_allclose(images[2].get_array(), weights["second"][0], rtol=1e-6)
    assert {"attention weight", "head 2", "key", "first\nquery", "Title"} <= set(texts(figure))


def test_heat_map_writes_numbers_and_labels():
    figure = plots.heat_map(torch.tensor([[0.25, 0.75], [1.0, 0.0]]), queries=["a", "b"], keys=["c", "d"])
    assert {".25", ".75", "1.00", "a", "d", "key", "query", "attention weight"} <= set(texts(figure))
    assert ".25" not in texts(plots.heat_map(torch.tensor([[0.25, 0.75]]), numbers=False))


def test_token_view_shades_by_weight_and_breaks_lines():
    tokens = ["word"] * 30
    figure = plots.token_view(tokens, torch.linspace(0, 1, 30))
    drawn = [text for text in figure.axes[0].texts]
    assert [text.get_text() for text in drawn] == tokens
    assert len({text.get_position()[1] for text in drawn}) == 3  # 14 words of 5 characters fit a line of 72
    colours = [sum(text.get_bbox_patch().get_facecolor()[:3]) for text in drawn]  # darker as it rises
    assert colours == sorted(colours, reverse=True) and colours[0] > colours[-1]


def test_head_similarity_puts_like_heads_together():
    figure = plots.head_similarity(redundancy())
    names = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert abs(names.index("a:0") - names.index("a:2")) == 1
    assert "JS divergence (nats)" in texts(figure) and "3 heads, effectively 1.9" in texts(figure)


def test_rollout_on_an_image():
    shares = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    for image in (torch.rand(4, 6), torch.rand(1, 4, 6), torch.rand(3, 4, 6)):
        figure = plots.rollout_image(image, shares)
        shown = figure.axes[1].get_images()[-1]
        np.testing.assert_allclose(shown.get_array(), shares, rtol=1e-6)
        assert shown.get_extent() == [0, 6, 4, 0]


def test_pruning_draws_order_and_random():
    curve = PruningCurve((0, 2), torch.tensor([0.9, 0.5]), torch.tensor([[0.9, 0.3], [0.9, 0.1]]), (0, 1), 4)
    figure = plots.pruning({"by ablation": curve}, metric="accuracy")
    lines = figure.axes[0].get_lines()
    np.testing.assert_allclose(lines[0].get_ydata(), [0.9, 0.2], rtol=1e-6)
    np.testing.assert_allclose(lines[1].get_xdata(), [0, 50])
    assert {"accuracy", "by ablation", "heads switched off (%)"} <= set(texts(figure))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.head_grid({}), "at least one layer"),
        (lambda: plots.head_grid({"a": torch.ones(1, 2, 3, 3)}), r"\(heads, Lq, Lk\)"),
        (lambda: plots.heat_map(torch.ones(2)), r"expected \(Lq, Lk\)"),
        (lambda: plots.heat_map(torch.ones(2, 2), keys=["a"]), "keys: expected 2 names, got 1"),
        (lambda: plots.token_view(["a"], torch.ones(2)), "one for each token"),
        (lambda: plots.token_view(["a"], -torch.ones(1)), "from 0"),
        (lambda: plots.rollout_image(torch.ones(2, 4, 4), torch.ones(2, 2)), "1 or 3 channels"),
        (lambda: plots.rollout_image(torch.ones(4, 4), torch.ones(3, 2)), "divide the image's"),
        (lambda: plots.head_similarity(Redundancy((Head("a", 0),), torch.zeros(1, 1), 1.0)), "at least 2 heads"),
        (lambda: plots.pruning({}, metric="m"), "at least one"),
    ],
)
def test_wrong_shapes_are_said(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_a_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"attention-suite\[viz\]"):
        plots.heat_map(torch.ones(2, 2))
