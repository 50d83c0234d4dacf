"""Keywords from heads: exact values worked out by hand, padding, a planted head, errors."""

import math

import pytest
import torch

import core
from core import masks
from core.analysis.heads.keywords import HeadFocus, head_focus, keyword_scores, rank_sentences, token_scores

KEEP = torch.tensor([[True, True, True, True], [True, True, False, False]])


def test_entropy_is_a_share_of_the_longest_possible_per_item():
    """Uniform rows have share 1 in a text of 4 and in a text of 2; padded rows do not count."""
    uniform = torch.tensor([[[math.log(4)] * 4], [[math.log(2)] * 2 + [99.0, torch.nan]]])
    sharp = torch.zeros(2, 1, 4)
    heads = head_focus([torch.cat([uniform, sharp], dim=1), uniform / 2], KEEP)
    assert [(head.layer, head.head) for head in heads] == [(0, 1), (1, 0), (0, 0)]
    assert [head.entropy for head in heads] == pytest.approx([0.0, 0.5, 1.0], abs=1e-7)


def test_entropy_weighs_every_real_query_alike():
    entropy = torch.tensor([[[math.log(4)] * 4], [[0.0, 0.0, 0.0, 0.0]]])
    assert head_focus([entropy], KEEP)[0].entropy == pytest.approx(4 / 6)


def test_a_text_of_one_token_has_no_say():
    keep = torch.tensor([[True, True], [True, False]])
    entropy = torch.tensor([[[math.log(2), 0.0]], [[0.0, 0.0]]])
    assert head_focus([entropy], keep)[0].entropy == pytest.approx(0.5)


def test_ties_go_by_layer_then_head():
    same = torch.ones(2, 2, 4)
    assert [head[:2] for head in head_focus([same, same], KEEP)] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_token_scores_are_column_means_of_real_rows():
    weights = torch.tensor([[[[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [torch.nan] * 3]]])
    keep = torch.tensor([[True, True, False]])
    torch.testing.assert_close(token_scores([weights], [HeadFocus(0, 0, 0.0)], keep), torch.tensor([[0.75, 0.25, 0.0]]))


def test_token_scores_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    layers = [torch.rand(2, 3, 4, 4, generator=generator) for _ in range(2)]
    layers = [torch.where(KEEP[:, None, None], w, 0.0) for w in layers]
    heads = [HeadFocus(0, 2, 0.1), HeadFocus(1, 0, 0.2)]
    scores = token_scores(layers, heads, KEEP)
    for b in range(2):
        real = [i for i in range(4) if KEEP[b, i]]
        for j in range(4):
            terms = [layers[head.layer][b, head.head, i, j].item() for head in heads for i in real]
            assert scores[b, j].item() == pytest.approx(sum(terms) / len(terms) if j in real else 0.0)


def test_scores_of_a_model_sum_to_one_and_ignore_padding():
    torch.manual_seed(0)
    encoder = core.Encoder(8, 2, 2).eval()
    x = torch.randn(2, 4, 8)
    with torch.no_grad():
        padded = encoder(x, mask=masks.Padding(KEEP, KEEP), need=("entropy", "weights")).layers
        alone = encoder(x[1:, :2], need=("weights",)).layers
    heads = head_focus([layer.entropy for layer in padded], KEEP)
    assert len(heads) == 4 and all(0 <= head.entropy <= 1 + 1e-6 for head in heads)
    scores = token_scores([layer.weights for layer in padded], heads, KEEP)
    torch.testing.assert_close(scores.sum(1), torch.ones(2))
    short = token_scores([layer.weights for layer in alone], heads, torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(scores[1:, :2], short)
    assert scores[1, 2:].tolist() == [0.0, 0.0]


def test_a_planted_head_finds_its_word():
    """One head sees only the token "attention", the other sees all alike: entropy chooses the first."""
    words = ["the", "attention", "of", "attention", "heads"]
    focused, uniform = torch.zeros(5, 5), torch.full((5, 5), 0.2)
    focused[:, [1, 3]] = 0.5
    weights = torch.stack([uniform, focused])[None]
    keep = torch.ones(1, 5, dtype=torch.bool)
    heads = head_focus([-torch.special.xlogy(weights, weights).sum(-1)], keep)
    assert heads[0] == HeadFocus(0, 1, pytest.approx(math.log(2) / math.log(5)))
    scores = keyword_scores(token_scores([weights], heads[:1], keep)[0], [w if len(w) > 3 else None for w in words])
    assert scores == pytest.approx({"attention": 1.0, "heads": 0.0})
    assert list(scores) == ["attention", "heads"]


def test_words_are_summed_and_sorted():
    scores = keyword_scores([0.1, 0.2, 0.3, 0.4], ["b", "a", "b", None])
    assert scores == pytest.approx({"b": 0.4, "a": 0.2}) and list(scores) == ["b", "a"]


def test_sentences_by_mass_of_different_words_per_token():
    scores = {"a": 0.6, "b": 0.3}
    sentences = [["b", None, None], ["a", "a", None, None], ["a", "b"], []]
    assert rank_sentences(sentences, scores) == [2, 1, 0, 3]  # masses 0.1, 0.15, 0.45, 0
    assert rank_sentences([["c"], ["d"]], scores) == [0, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: head_focus([torch.ones(2, 1, 3)], KEEP), r"entropies\[0\]: expected \(2, H, 4\), got \(2, 1, 3\)"),
        (lambda: head_focus([torch.ones(2, 1, 4)], KEEP.long()), r"keep: expected \(B, L\) bool, got \(2, 4\)"),
        (lambda: head_focus([torch.ones(1, 1, 1)], KEEP[:1, :1]), r"at least 2 real tokens, got lengths \[1\]"),
        (lambda: token_scores([torch.ones(2, 1, 4, 4)], [], KEEP), "heads: expected at least one"),
        (
            lambda: token_scores([torch.ones(2, 1, 4, 4)], [HeadFocus(0, 1, 0.0)], KEEP),
            "expected heads of 1 layers, got layer 0, head 1",
        ),
        (
            lambda: token_scores([torch.ones(2, 1, 3, 4)], [HeadFocus(0, 0, 0.0)], KEEP),
            r"weights\[0\]: expected \(2, H, 4, 4\), got \(2, 1, 3, 4\)",
        ),
        (lambda: keyword_scores([1.0], ["a", "b"]), "one for each of 2 words, got 1"),
    ],
)
def test_errors_name_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
