"""Do focused heads look at keywords? Low-entropy heads as keyword detectors, against TF-IDF and TextRank.

A small encoder learns from scratch to fill in masked words, on the training texts only. Of its heads the most focused
quarter is taken, by entropy alone and without a keyphrase in sight; a word's score is the attention that its
occurrences receive from them. "chosen head" is the one that does best on the choice texts: it has seen keyphrases.

    python demos/core_keywords.py --semeval semeval2017_keyphrases.zip
    python demos/core_keywords.py [--fast]       twelve embedded texts: shows that it runs, says nothing about quality

Words are compared as stems (lower case, S-stemmer); stop words, numbers and marks are no candidates. A word is right if
it occurs in a keyphrase. Phrases are the longest runs of candidate words, scored by the sum of their words, and right
if all their stems are those of a keyphrase.

SemEval-2017 task 10 (ScienceIE), Augenstein et al. 2017: 493 paragraphs of open-access journal articles; the zip is
that of https://github.com/LIAAD/KeywordExtractor-Datasets. The texts are under the terms of their publishers.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from language.keyphrases import Document, embedded, read_keyphrases, textrank
from language.ranking import SENTENCES, TOP, Ranking, Scores, average, evaluate, interval, summary
from language.words import MASK, PAD, TextEncoder, Vocabulary, fingerprint, pad, versions
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from core.analysis.figures import new_figure
from core.analysis.heads import HeadFocus, head_focus, keyword_scores, token_scores

DIM, DEPTH, HEADS = 64, 2, 4
FOCUSED = DEPTH * HEADS // 4  # heads taken
HIDDEN, RATE, MINIMUM, BATCH = 0.25, 4e-3, 3, 16  # share of hidden words, of AdamW, occurrences of a known word, texts
WINDOW = 40  # words of a text that a training step sees


class Filler(nn.Module):
    """Fills in masked words: encoder, then the logits of every word, with the embedding as the output matrix."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.text = TextEncoder(words, DIM, DEPTH, HEADS, reach=16, dropout=0.1)
        nn.init.normal_(self.text.embedding.weight, std=DIM**-0.5)
        self.offset = nn.Parameter(torch.zeros(words))

    def loss(self, ids: Tensor, generator: torch.Generator) -> Tensor:
        """Mean cross-entropy at the hidden words, in nats; a quarter of the words is hidden."""
        hidden = (ids != PAD) & (torch.rand(ids.shape, generator=generator) < HIDDEN)
        out = self.text(torch.where(hidden, MASK, ids))[hidden]
        return cross_entropy(out @ self.text.embedding.weight.T + self.offset, ids[hidden])


def train(texts: list[list[int]], words: int, seed: int, steps: int) -> Filler:
    """Masked-word prediction on windows of WINDOW words, AdamW, one cycle of the learning rate."""
    torch.manual_seed(seed)
    generator, draw = torch.Generator().manual_seed(seed), random.Random(seed)
    model = Filler(words)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.2)
    for _ in range(steps):
        rows = []
        for text in draw.choices(texts, k=2 * BATCH):
            begin = draw.randrange(max(len(text) - WINDOW, 0) + 1)
            rows.append(text[begin : begin + WINDOW])
        loss = model.loss(pad(rows), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def batches(documents: Sequence[Document], vocabulary: Vocabulary) -> list[Tensor]:
    """Texts of like length together, as numbers."""
    ordered = sorted(documents, key=lambda document: len(document.words))
    return [
        pad([vocabulary.ids(document.words) for document in ordered[i : i + BATCH]])
        for i in range(0, len(ordered), BATCH)
    ]


@torch.no_grad()
def focus(model: Filler, texts: list[Tensor]) -> tuple[HeadFocus, ...]:
    """Heads by mean entropy over the texts, the most focused first; weighs batches by their words."""
    totals: dict[tuple[int, int], float] = {}
    words = sum(int((ids != PAD).sum()) for ids in texts)
    for ids in texts:
        keep = ids != PAD
        layers = model.text(ids, need=("entropy",)).layers
        for head in head_focus([layer.entropy for layer in layers], keep):
            place = (head.layer, head.head)
            totals[place] = totals.get(place, 0.0) + head.entropy * int(keep.sum()) / words
    return tuple(sorted((HeadFocus(*place, total) for place, total in totals.items()), key=lambda head: head.entropy))


@torch.no_grad()
def attention_scores(
    model: Filler, heads: Sequence[Sequence[HeadFocus]], documents: Sequence[Document], vocabulary: Vocabulary
) -> list[list[Ranking]]:
    """For every selection of heads, the words of every document with the attention that they receive."""
    out: list[list[Ranking]] = [[] for _ in heads]
    for document in documents:
        ids = torch.tensor([vocabulary.ids(document.words)])
        weights = [layer.weights for layer in model.text(ids, need=("weights",)).layers]
        for rankings, selection in zip(out, heads, strict=True):
            rankings.append(keyword_scores(token_scores(weights, selection, ids != PAD)[0], document.stems))
    return out


def term_frequency(document: Document) -> Ranking:
    """How often each word occurs."""
    return keyword_scores([1.0] * len(document.words), document.stems)


def inverse_frequency(training: Sequence[Document]) -> Callable[[str], float]:
    """scikit-learn's smoothed IDF of the training texts; a word that none of them has counts as in 0 texts."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer=lambda document: [stem for stem in document.stems if stem is not None])
    vectorizer.fit(training)
    known = dict(zip(vectorizer.get_feature_names_out(), vectorizer.idf_.tolist(), strict=True))
    unseen = torch.tensor(1.0 + len(training)).log().item() + 1
    return lambda word: known.get(word, unseen)


def weigh(rankings: Sequence[Ranking], idf: Callable[[str], float]) -> list[Ranking]:
    """Every score times the word's IDF."""
    return [{word: score * idf(word) for word, score in ranking.items()} for ranking in rankings]


class HeadPoint(NamedTuple):
    """One head of one trained model: its entropy share and its mean average precision on the test texts."""

    seed: int
    entropy: float
    average_precision: float


def picture(methods: dict[str, list[Scores]], points: list[HeadPoint], path: Path) -> None:
    """Average precision of every method with its interval; of every head against its entropy."""
    figure = new_figure(12, 4.5)
    bars, cloud = figure.subplots(1, 2, width_ratios=(1.4, 1))
    names = list(reversed(methods))
    for place, name in enumerate(names):
        values = average(methods[name]).average_precision
        mean, (low, high) = statistics.mean(values), interval(values)
        colour = "C0" if "head" in name else "0.6"
        bars.barh(place, mean, color=colour, xerr=[[mean - low], [high - mean]], capsize=3)
        bars.text(0.01, place, f"{mean:.3f}", va="center", color="w" if colour == "C0" else "k", size=9)
    bars.set_yticks(range(len(names)), names)
    bars.set(xlabel="average precision of keywords, mean over test texts (95% bootstrap interval)", xlim=(0, 1))
    for seed in sorted({point.seed for point in points}):
        own = [point for point in points if point.seed == seed]
        cloud.scatter([p.entropy for p in own], [p.average_precision for p in own], label=f"seed {seed}")
    for name, style in (("TF-IDF", "--"), ("random order", ":")):
        level = statistics.mean(average(methods[name]).average_precision)
        cloud.axhline(level, color="k", linestyle=style, linewidth=1, label=name)
    cloud.set(
        xlabel="entropy of the head (share of the greatest possible)", ylabel="average precision of the head alone"
    )
    cloud.legend(fontsize=8)
    cloud.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def print_summary(document: Document, ours: Ranking, other: Ranking) -> None:
    """One document: top words of both methods and the summary by attention, its sentences marked."""
    print(f"\ntext {document.name}: sentences of the summary by focused heads x IDF (>), by TF-IDF (*)")
    own, theirs = summary(document, ours), summary(document, other)
    for begin, end in document.sentences():
        marks = (">" if (begin, end) in own else " ") + ("*" if (begin, end) in theirs else " ")
        print(f"{marks} {' '.join(document.words[begin:end])}")
    for name, ranking in (("focused heads x IDF", ours), ("TF-IDF", other)):
        top = sorted(ranking, key=lambda word: -ranking[word])[:TOP]
        print(f"top {TOP}, {name}: " + ", ".join(f"{w}{'' if w in document.keywords else ' (no)'}" for w in top))


def main() -> None:
    """Split, train, rank, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--semeval", type=Path, help="zip with docsutf8/ and keys/")
    parser.add_argument("--fast", action="store_true", help="one seed, few steps: shows that it runs, not how well")
    parser.add_argument("--out", type=Path, default=Path("runs/core_keywords"), help="folder of the picture")
    arguments = parser.parse_args()
    seeds, steps = (1, 30) if arguments.fast else (3, 700)
    torch.set_num_threads(1)  # the matrices are small: more threads only wait for each other
    started = time.perf_counter()
    print(versions("scikit-learn", "networkx") + ", 1 thread")
    if arguments.semeval:
        documents = read_keyphrases(arguments.semeval)
        print("data: SemEval-2017 task 10 (Augenstein et al.), texts under the terms of their publishers")
        print(fingerprint([arguments.semeval]))
    else:
        documents = embedded()
        print("data: twelve texts of demos/language/keyphrases.py (MIT, as the suite): the numbers say that the demo")
        print("runs and nothing about quality: give --semeval")
        print(fingerprint(texts=[" ".join(d.words) for d in documents]))
    random.Random(0).shuffle(documents)
    fifth = len(documents) // 5
    test, choice, training = documents[:fifth], documents[fifth : 2 * fifth], documents[2 * fifth :]
    told = [document for document in test if document.keywords]
    choice = [document for document in choice if document.keywords]
    print(
        f"{len(training)} training, {len(choice)} choice, {len(told)} test texts (those without a keyword left out: "
        f"{len(test) - len(told)}); seeds 0..{seeds - 1}, {steps} steps"
    )
    test = told
    vocabulary = Vocabulary((document.words for document in training), MINIMUM)
    texts, idf = batches(training, vocabulary), inverse_frequency(training)
    gold = [sum(stem in d.keywords for stem in set(filter(None, d.stems))) for d in test]
    sizes = [len(set(filter(None, d.stems))) for d in test]
    print(
        f"{len(vocabulary)} words; a test text has on average {statistics.mean(sizes):.0f} candidate words, of which "
        f"{statistics.mean(gold):.0f} are keywords, and {statistics.mean(len(d.phrases) for d in test):.0f} keyphrases"
    )

    tf = [term_frequency(document) for document in test]
    tfidf = weigh(tf, idf)
    draw = random.Random(0)
    methods = {
        "random order": [evaluate(test, [{w: draw.random() for w in ranking} for ranking in tf]) for _ in range(20)],
        "term frequency": [evaluate(test, tf)],
        "TF-IDF": [evaluate(test, tfidf)],
        "TextRank": [evaluate(test, [textrank(document.stems) for document in test])],
    }
    points: list[HeadPoint] = []
    rankings: list[Ranking] = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        untrained = Filler(len(vocabulary)).eval()
        model = train([vocabulary.ids(d.words) for d in training], len(vocabulary), seed, steps)
        _print_loss(model, texts, batches(choice, vocabulary), seed)
        heads, before = focus(model, texts), focus(untrained, texts)
        alone = [(head,) for head in heads]
        on_choice = [evaluate(choice, ranked) for ranked in attention_scores(model, alone, choice, vocabulary)]
        best = max(range(len(alone)), key=lambda i: statistics.mean(on_choice[i].average_precision))
        selections = [heads[:FOCUSED], heads[-FOCUSED:], heads, alone[best], *alone]
        focused, diffuse, everyone, chosen, *single = attention_scores(model, selections, test, vocabulary)
        plain = attention_scores(untrained, [before[:FOCUSED]], test, vocabulary)[0]
        rankings = rankings or weigh(focused, idf)
        for name, ranked in {
            "focused heads": focused,
            "focused heads x IDF": weigh(focused, idf),
            "diffuse heads": diffuse,
            "all heads": everyone,
            "focused heads, untrained": plain,
            "chosen head (saw keyphrases)": chosen,
        }.items():
            methods.setdefault(name, []).append(evaluate(test, ranked))
        for head, ranked in zip(heads, single, strict=True):
            precision = statistics.mean(evaluate(test, ranked).average_precision)
            points.append(HeadPoint(seed, head.entropy, precision))
            taken = "taken" if head in heads[:FOCUSED] else ""
            name = f"block {head.layer + 1}, head {head.head + 1}"
            print(f"  {name}: entropy {head.entropy:.3f}, AP {precision:.3f} {taken}", flush=True)

    _print_table(methods)
    _print_verdicts(methods, points)
    print_summary(test[0], rankings[0], tfidf[0])
    path = arguments.out / "keywords.png"
    picture(methods, points, path)
    print(f"\nsaved {path}; {time.perf_counter() - started:.0f} s")


@torch.no_grad()
def _print_loss(model: Filler, texts: list[Tensor], held_out: list[Tensor], seed: int) -> None:
    """Masked-word loss on the choice texts beside that of the training texts' word frequencies."""
    counts = torch.ones(len(model.offset))
    for ids in texts:
        counts += torch.bincount(ids[ids != PAD], minlength=len(counts))
    logs = (counts / counts.sum()).log()
    words = torch.cat([ids[ids != PAD] for ids in held_out])
    generator = torch.Generator().manual_seed(0)
    loss = statistics.mean(model.loss(ids, generator).item() for ids in held_out)
    chance = -logs[words].mean().item()
    print(f"\nseed {seed}: masked-word loss on the choice texts {loss:.2f} nats (word frequencies: {chance:.2f})")


def _print_table(methods: dict[str, list[Scores]]) -> None:
    print(
        f"\nmeans over test texts; AP: average precision of keywords, 95% bootstrap interval over texts, sd over seeds;"
        f"\nP, R, F1: of the top {TOP} words; phrases: F1 of the top {TOP} phrases; covered: share of the keywords in a"
        f" summary of {SENTENCES} sentences"
    )
    print(f"| method | AP | interval | sd | P | R | F1 | phrases | covered |\n|{'---|' * 9}")
    for name, runs in methods.items():
        mean = average(runs)
        low, high = interval(mean.average_precision)
        spread = [statistics.mean(run.average_precision) for run in runs]
        sd = f"{statistics.stdev(spread):.3f}" if len(spread) > 1 else ""
        others = " | ".join(f"{statistics.mean(column):.3f}" for column in mean[1:])
        print(f"| {name} | {statistics.mean(spread):.3f} | {low:.3f} to {high:.3f} | {sd} | {others} |")


def _print_verdicts(methods: dict[str, list[Scores]], points: list[HeadPoint]) -> None:
    """Paired differences of average precision, text by text, and whether low entropy goes with keywords."""
    from scipy.stats import spearmanr

    print()
    for ours in ("focused heads", "focused heads x IDF", "chosen head (saw keyphrases)"):
        for other in ("random order", "term frequency", "TF-IDF", "TextRank", "diffuse heads"):
            pairs = zip(
                average(methods[ours]).average_precision, average(methods[other]).average_precision, strict=True
            )
            gaps = [own - theirs for own, theirs in pairs]
            low, high = interval(gaps)
            verdict = "wins" if low > 0 else "loses" if high < 0 else "not different"
            print(f"{ours} against {other}: {verdict}, AP {statistics.mean(gaps):+.3f} ({low:+.3f} to {high:+.3f})")
    for seed in sorted({point.seed for point in points}):
        own = [point for point in points if point.seed == seed]
        correlation = spearmanr([p.entropy for p in own], [p.average_precision for p in own]).statistic
        print(f"seed {seed}: rank correlation of a head's entropy and its AP {correlation:+.2f} ({len(own)} heads)")


if __name__ == "__main__":
    main()
