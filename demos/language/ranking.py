"""How good rankings of words are, for demos/core_keywords.py: scores per document and their intervals."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import torch

from core.analysis.heads import rank_sentences

from .keyphrases import Document

TOP = 10  # words, and phrases, that count for precision and recall
SENTENCES = 2  # of a summary

Ranking = dict[str, float]  # the score of every candidate word of a document


class Scores(NamedTuple):
    """Per document: average precision; precision, recall and F1 of the top words; F1 of the top phrases; coverage."""

    average_precision: list[float]
    precision: list[float]
    recall: list[float]
    f1: list[float]
    phrase_f1: list[float]
    covered: list[float]


def evaluate(documents: Sequence[Document], rankings: Sequence[Ranking]) -> Scores:
    """Score rankings; `covered` is the share of the keywords in the summary of SENTENCES sentences."""
    from sklearn.metrics import average_precision_score

    rows = []
    for document, ranking in zip(documents, rankings, strict=True):
        right = [word in document.keywords for word in ranking]
        top = sorted(ranking, key=lambda word: -ranking[word])[:TOP]
        hits = sum(word in document.keywords for word in top)
        mass = {phrase: sum(ranking[word] for word in phrase) for phrase in sorted(document.candidates())}
        best = sorted(mass, key=lambda phrase: -mass[phrase])[:TOP]
        found = sum(phrase in document.phrases for phrase in best)
        held = {word for begin, end in summary(document, ranking) for word in document.stems[begin:end]}
        rows.append(
            (
                float(average_precision_score(right, list(ranking.values()))),
                hits / len(top),
                hits / len(document.keywords),
                2 * hits / (len(top) + len(document.keywords)),
                2 * found / (len(best) + len(document.phrases)),
                len(document.keywords & held) / len(document.keywords),
            )
        )
    return Scores(*(list(column) for column in zip(*rows, strict=True)))


def summary(document: Document, ranking: Ranking) -> list[tuple[int, int]]:
    """The sentences with most keyword mass a word, in the order of the text."""
    sentences = document.sentences()
    order = rank_sentences([document.stems[begin:end] for begin, end in sentences], ranking)
    return [sentences[i] for i in sorted(order[:SENTENCES])]


def average(runs: Sequence[Scores]) -> Scores:
    """The mean over runs, document by document."""
    return Scores(
        *([statistics.mean(values) for values in zip(*column, strict=True)] for column in zip(*runs, strict=True))
    )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95% percentile bootstrap interval of the mean over documents, 2,000 draws, seed 0."""
    draws = torch.tensor(values, dtype=torch.float64)
    picks = torch.randint(len(values), (2000, len(values)), generator=torch.Generator().manual_seed(0))
    low, high = draws[picks].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
