"""Keywords from attention: which heads are focused, which tokens they look at, which sentences hold those tokens.

A reading of a trained model, not a property of it: compare with TF-IDF before you rely on it. The functions take what
`need=("entropy", "weights")` answers, one tensor per block; entropy alone, which costs no L x L memory, is enough to
choose heads.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class HeadFocus(NamedTuple):
    """A head and its mean entropy as a share of the greatest possible: 0 for one key, 1 for uniform weights."""

    layer: int
    head: int
    entropy: float


def head_focus(entropies: Sequence[Tensor], keep: Tensor) -> tuple[HeadFocus, ...]:
    """All heads, the most focused first; ties by layer, then head.

        e_h = mean over items b and real queries i of H_bhi / ln n_b,  n_b = the real tokens of item b, at least 2

    Args:
        entropies: of each layer, in nats, from attention that lets every real token see every real token.
        keep: which tokens are real.

    Shapes:
        entropies: (B, H, L) each; keep: (B, L) bool.

    Raises:
        ValueError: shapes that do not fit, or no item with two real tokens.
    """
    _check_keep(keep)
    lengths = keep.sum(1)
    rows = keep & (lengths >= 2)[:, None]
    if not rows.any():
        raise ValueError(f"keep: expected an item with at least 2 real tokens, got lengths {lengths.tolist()}")
    out = []
    for layer, entropy in enumerate(entropies):
        if entropy.dim() != 3 or (entropy.shape[0], entropy.shape[2]) != tuple(keep.shape):
            B, L = keep.shape
            raise ValueError(f"entropies[{layer}]: expected ({B}, H, {L}), got {tuple(entropy.shape)}")
        share = entropy.double() / lengths.clamp(min=2).double().log()[:, None, None]
        means = share.transpose(0, 1)[:, rows].mean(1)
        out += [HeadFocus(layer, head, value) for head, value in enumerate(means.tolist())]
    return tuple(sorted(out, key=lambda head: (head.entropy, head.layer, head.head)))


def token_scores(weights: Sequence[Tensor], heads: Sequence[HeadFocus], keep: Tensor) -> Tensor:
    """How much of the attention of some heads each token receives, on average over queries.

        s_bj = mean over the heads h and the real queries i of A_bhij

    The scores of an item sum to 1 where every query sees a key; padded tokens have 0.

    Args:
        weights: of each layer.
        heads: which to average; only layer and head are read.
        keep: which tokens are real.

    Shapes:
        weights: (B, H, L, L) each; keep: (B, L) bool; out: (B, L).

    Raises:
        ValueError: no heads, a head that does not exist, or shapes that do not fit.
    """
    _check_keep(keep)
    if not heads:
        raise ValueError("heads: expected at least one, got none")
    B, L = keep.shape
    total = torch.zeros(B, L, dtype=torch.promote_types(weights[0].dtype, torch.float32), device=keep.device)
    for layer, head, _ in heads:
        if not (0 <= layer < len(weights) and 0 <= head < weights[layer].shape[1]):
            raise ValueError(f"heads: expected heads of {len(weights)} layers, got layer {layer}, head {head}")
        if weights[layer].shape[0] != B or tuple(weights[layer].shape[2:]) != (L, L):
            raise ValueError(f"weights[{layer}]: expected ({B}, H, {L}, {L}), got {tuple(weights[layer].shape)}")
        total = total + torch.where(keep[:, :, None], weights[layer][:, head], 0.0).sum(1)
    scores = total / (len(heads) * keep.sum(1, keepdim=True).clamp(min=1))
    return torch.where(keep, scores, 0.0)


def keyword_scores(scores: Tensor | Sequence[float], words: Sequence[str | None]) -> dict[str, float]:
    """Sum the scores of a text's tokens by word: s_w = sum over j with word_j = w of s_j, the best first.

    Args:
        scores: of the tokens of one text.
        words: what counts as the same word, such as stems; None for tokens that cannot be keywords (marks, stop words).

    Shapes:
        scores: (L,).

    Raises:
        ValueError: not as many scores as words.
    """
    values = scores.tolist() if isinstance(scores, Tensor) else list(scores)
    if len(values) != len(words):
        raise ValueError(f"scores: expected one for each of {len(words)} words, got {len(values)}")
    out: dict[str, float] = {}
    for word, value in zip(words, values, strict=True):
        if word is not None:
            out[word] = out.get(word, 0.0) + value
    return dict(sorted(out.items(), key=lambda item: -item[1]))


def rank_sentences(sentences: Sequence[Sequence[str | None]], scores: Mapping[str, float]) -> list[int]:
    """Sentences by keyword mass per word, the best first; ties in the order of the text.

        m_s = (sum of s_w over the different words w of sentence s) / (tokens of s)

    The first few, put back into the order of the text, are an extractive summary.

    Args:
        sentences: the words of each, None for tokens that cannot be keywords; they count as tokens.
        scores: of the words; words without one count 0.
    """
    masses = []
    for sentence in sentences:
        known = {word for word in sentence if word is not None}
        masses.append(sum(scores.get(word, 0.0) for word in sorted(known)) / max(len(sentence), 1))
    return sorted(range(len(sentences)), key=lambda index: -masses[index])


def _check_keep(keep: Tensor) -> None:
    if keep.dim() != 2 or keep.dtype != torch.bool:
        raise ValueError(f"keep: expected (B, L) bool, got {tuple(keep.shape)} {keep.dtype}")
