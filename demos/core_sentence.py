"""What does "it" mean, which "bank" is it? A small encoder on generated sentences, and what one head's row says.

Three readings, learned together by one two-block encoder:

    it    which of two nouns "it" stands for: "the animal didn't cross the street because it was too tired / wide"
          (animals and places; drones and warehouses; and boxes and bags, where only word order decides)
    bank  river or money, for every "bank" by itself; sentences with two of them may hold both senses

Tested on arrangements of words that training never shows ("held-out templates"), on nouns that it never shows, and on
adjectives that it shows only in plain descriptions ("the tired dog slept") under masked-word prediction, never in an
"it" sentence. Beside it: the majority, a bag of words, word pairs, and a window of words around "bank".

Then one head, chosen on validation sentences: its row at "it", next to leave-one-out, for the minimal pairs.

    python demos/core_sentence.py [--fast] [--out FOLDER]
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch
from _language import MASK, PAD, UNKNOWN, TextEncoder, Vocabulary, fingerprint, mean_sd, pad, versions
from _sentences import TEST_SETS, TOPICS, Sentence, draw_bank, draw_it, draw_plain, minimal_pairs
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

DIM, DEPTH, HEADS = 48, 2, 4
BATCH = (48, 24, 24)  # sentences with "it", with "bank", descriptions
RATE = 2e-3
WORDS_HIDDEN = 0.25  # of the descriptions, for masked-word prediction
NOUNS_DROPPED = 0.3  # share of "it" sentences whose nouns become <unknown>: a noun never seen is then some noun


class Batch(NamedTuple):
    """Sentences as tensors: ids (B, L); at, answer (B,); candidates (B, 2)."""

    ids: Tensor
    at: Tensor
    candidates: Tensor
    answer: Tensor


def encode(sentences: list[Sentence], vocabulary: Vocabulary) -> Batch:
    """One batch; a "bank" sentence has candidates 0, 0."""
    ids = pad([vocabulary.ids(sentence.words) for sentence in sentences])
    at = torch.tensor([sentence.at for sentence in sentences])
    candidates = torch.tensor([sentence.candidates or (0, 0) for sentence in sentences])
    return Batch(ids, at, candidates, torch.tensor([sentence.answer for sentence in sentences]))


class Reader(nn.Module):
    """One encoder, three answers: a pointer from "it" to a noun, the sense of a "bank", a masked word."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.text = TextEncoder(words, DIM, DEPTH, HEADS, reach=8, dropout=0.1)
        self.query, self.key = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        self.sense = nn.Linear(DIM, 2)
        self.word = nn.Linear(DIM, words)

    def point(self, out: Tensor, batch: Batch) -> Tensor:
        """Logits of the two nouns: (B, 2), query at "it" . key at the noun / sqrt(dim)."""
        rows = torch.arange(len(out))
        query = self.query(out[rows, batch.at])
        return (self.key(out[rows[:, None], batch.candidates]) @ query[..., None])[..., 0] / DIM**0.5

    def read(self, out: Tensor, batch: Batch) -> Tensor:
        """Logits of river and money at the asked "bank": (B, 2)."""
        return self.sense(out[torch.arange(len(out)), batch.at])

    def forward(self, batch: Batch, kind: str) -> Tensor:
        """Logits of the two answers: (B, 2); kind is "it" or "bank"."""
        out = self.text(batch.ids)
        return self.point(out, batch) if kind == "it" else self.read(out, batch)

    @torch.no_grad()
    def rows(self, batch: Batch) -> Tensor:
        """Every head's weights from the asked word: (B, depth * heads, L)."""
        layers = self.text(batch.ids, need=("weights",)).layers
        weights = torch.cat([layer.weights for layer in layers], dim=1)
        return weights[torch.arange(len(batch.ids)), :, batch.at]


class Corpus(NamedTuple):
    """The training sentences, as drawn; every batch takes some of each kind."""

    it: list[Sentence]
    bank: list[Sentence]
    plain: list[list[str]]

    @classmethod
    def draw(cls, size: int, seed: int) -> "Corpus":
        """`size` sentences with "it", half as many with "bank", half as many descriptions."""
        generator = torch.Generator().manual_seed(seed)
        half = size // 2
        return cls(draw_it("train", size, generator), draw_bank("train", half, generator), draw_plain(half, generator))

    def texts(self) -> list[list[str]]:
        """All words, sentence by sentence."""
        return [sentence.words for sentence in (*self.it, *self.bank)] + self.plain


def train(corpus: Corpus, vocabulary: Vocabulary, seed: int, steps: int) -> Reader:
    """The sum of the losses of pointer, sense and masked words, AdamW with one cycle of the learning rate."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    model = Reader(len(vocabulary))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.2)
    pool = pad([vocabulary.ids(words) for words in corpus.texts()])
    it, bank = encode(corpus.it, vocabulary), encode(corpus.bank, vocabulary)
    nouns = torch.tensor(vocabulary.ids([noun for t in TOPICS.values() for noun in t.agents.train + t.places.train]))
    for _ in range(steps):
        a, b, c = (torch.randint(len(kind), (n,), generator=generator) for kind, n in zip(corpus, BATCH, strict=True))
        ids = pool[torch.cat([a, b + len(corpus.it), c + len(corpus.it) + len(corpus.bank)])]
        chance = torch.rand(ids.shape, generator=generator)
        kind = torch.repeat_interleave(torch.arange(3), torch.tensor(BATCH))[:, None]
        hidden = (kind == 2) & (ids != PAD) & (chance < WORDS_HIDDEN)
        nameless = (kind == 0) & (chance[:, :1] < NOUNS_DROPPED)
        shown = torch.where(nameless & torch.isin(ids, nouns), UNKNOWN, ids)
        out = model.text(torch.where(hidden, MASK, shown))
        of_it, of_bank, _ = out.split(BATCH)
        loss = cross_entropy(model.point(of_it, Batch(*(x[a] for x in it))), it.answer[a])
        loss = loss + cross_entropy(model.read(of_bank, Batch(*(x[b] for x in bank))), bank.answer[b])
        loss = loss + cross_entropy(model.word(out[hidden]), ids[hidden])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: Reader, sentences: list[Sentence], vocabulary: Vocabulary) -> float:
    """Share of right answers; the sentences are all of one kind."""
    batch = encode(sentences, vocabulary)
    logits = model(batch, "it" if sentences[0].candidates else "bank")
    return (logits.argmax(1) == batch.answer).float().mean().item()


def features(sentence: Sentence, kind: str) -> list[str]:
    """What a baseline sees of a sentence.

    bag: its words; pairs: its words and all unordered pairs of them; window: the words within 3 of the asked word and
    of both nouns, with their offsets.
    """
    if kind == "bag":
        return sentence.words
    if kind == "pairs":
        kinds = sorted(set(sentence.words))
        return [*kinds, *(f"{one}+{other}" for i, one in enumerate(kinds) for other in kinds[i + 1 :])]
    out = []
    for name, place in zip("iab", (sentence.at, *(sentence.candidates or ())), strict=False):
        for i in range(max(0, place - 3), min(len(sentence.words), place + 4)):
            out.append(f"{name}{i - place}:{sentence.words[i]}")
    return out


class Baselines:
    """Majority and logistic regressions on features of words, trained on as many sentences as given."""

    kinds = ("bag", "pairs", "window")

    def __init__(self, sentences: list[Sentence]) -> None:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        answers = [sentence.answer for sentence in sentences]
        self.majority = int(statistics.mean(answers) > 0.5)
        self.models = {}
        for kind in self.kinds:
            count = CountVectorizer(analyzer=lambda sentence, kind=kind: features(sentence, kind), binary=True)
            self.models[kind] = make_pipeline(count, LogisticRegression(C=10, max_iter=2000)).fit(sentences, answers)

    def accuracy(self, sentences: list[Sentence]) -> dict[str, float]:
        """Share of right answers of every baseline."""
        answers = [sentence.answer for sentence in sentences]
        out = {"majority": statistics.mean(answer == self.majority for answer in answers)}
        for kind, model in self.models.items():
            out[kind] = float(model.score(sentences, answers))
        return out


class Head(NamedTuple):
    """One head and how often its weight from "it" is larger on the referent than on the other noun."""

    index: int
    validation: float
    test: float

    def __str__(self) -> str:
        return f"block {self.index // HEADS + 1}, head {self.index % HEADS + 1}"


def hit_rates(model: Reader, sentences: list[Sentence], vocabulary: Vocabulary) -> Tensor:
    """For every head, the share of sentences where its row weighs the referent above the other noun: (heads,)."""
    batch = encode(sentences, vocabulary)
    weights = model.rows(batch)
    nouns = weights.gather(2, batch.candidates[:, None].expand(-1, weights.shape[1], -1))
    margin = nouns[:, :, 1] - nouns[:, :, 0]
    return ((margin > 0) == batch.answer.bool()[:, None]).float().mean(0)


@torch.no_grad()
def leave_one_out(model: Reader, sentence: Sentence, vocabulary: Vocabulary) -> Tensor:
    """How much the logit margin of the model's own answer falls when each word becomes <unknown>: (L,)."""
    batch = encode([sentence], vocabulary)
    length = batch.ids.shape[1]
    logits = model(batch, "it")[0]
    answer = int(logits.argmax())
    variants = batch.ids.repeat(length, 1).fill_diagonal_(UNKNOWN)
    several = Batch(variants, batch.at.repeat(length), batch.candidates.repeat(length, 1), batch.answer.repeat(length))
    changed = model(several, "it")
    return (logits[answer] - logits[1 - answer]) - (changed[:, answer] - changed[:, 1 - answer])


def draw_rows(panels: list[tuple[str, Sentence, Tensor, Tensor, str]], path: Path) -> None:
    """Two strips a sentence: the head's row at "it", and leave-one-out; the answer in the title."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(panels) // 2, 2, figsize=(15, 2.35 * (len(panels) // 2)), layout="constrained")
    peak = max(float(effect.abs().max()) for *_, effect, _ in panels)
    for axis, (_, sentence, row, effect, title) in zip(axes.flat, panels, strict=True):
        length = len(sentence.words)
        attention = axis.imshow(row[None], extent=(-0.5, length - 0.5, 0.5, 1.5), cmap="Blues", vmin=0, vmax=1)
        change = axis.imshow(effect[None], extent=(-0.5, length - 0.5, -0.5, 0.5), cmap="RdBu_r", vmin=-peak, vmax=peak)
        for place in range(length):
            weight, fall = float(row[place]), float(effect[place])
            axis.text(place, 1, f"{weight:.2f}", ha="center", va="center", color="w" if weight > 0.6 else "k", size=8)
            colour = "w" if abs(fall) > 0.6 * peak else "k"
            axis.text(place, 0, f"{round(fall, 1) + 0.0:.1f}", ha="center", va="center", color=colour, size=8)
        for place in (sentence.at, *sentence.candidates):
            axis.axvline(place - 0.5, color="k", linewidth=0.6)
            axis.axvline(place + 0.5, color="k", linewidth=0.6)
        axis.set(ylim=(-0.5, 1.5), yticks=(1, 0), yticklabels=("attention", "leave one out"), aspect="auto")
        axis.set_xticks(range(length), sentence.words, rotation=30, ha="right", rotation_mode="anchor")
        axis.set_title(title, size=10)
    figure.colorbar(attention, ax=axes, label="weight of the row at 'it'", shrink=0.8, pad=0.01)
    figure.colorbar(change, ax=axes, label="fall of the logit margin", shrink=0.8, pad=0.02)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def accuracies(models: list[Reader], baselines: dict[str, Baselines], vocabulary: Vocabulary, count: int) -> None:
    """Print the table of accuracies: kinds of sentences by what is held out."""
    print("| sentences | test | encoder, mean ± sd | majority | bag of words | word pairs | window of words |")
    print(f"|{'---|' * 7}")
    for kind in (*TOPICS, "bank"):
        for part in TEST_SETS:
            generator = torch.Generator().manual_seed(7)
            if kind == "bank" and part == "held-out adjectives":
                continue
            test = draw_bank(part, count, generator) if kind == "bank" else draw_it(part, count, generator, (kind,))
            ours = mean_sd([accuracy(model, test, vocabulary) for model in models])
            others = baselines["bank" if kind == "bank" else "it"].accuracy(test)
            cells = " | ".join(f"{value:.3f}" for value in others.values())
            label = "held-out cues" if (kind, part) == ("bank", "held-out nouns") else part
            print(f"| {kind} | {label} | {ours} | {cells} |", flush=True)


def main() -> None:
    """Train, print both tables, draw the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="one seed, few steps: shows that it runs, not how well")
    parser.add_argument("--out", type=Path, default=Path("runs/core_sentence"), help="folder of the picture")
    arguments = parser.parse_args()
    seeds, steps, count = (1, 40, 40) if arguments.fast else (3, 1000, 600)
    torch.set_num_threads(1)  # the matrices are small: more threads only wait for each other
    started = time.perf_counter()

    corpus = Corpus.draw(1500 if arguments.fast else 8000, seed=5)
    vocabulary = Vocabulary(corpus.texts())
    print(versions("scikit-learn", "scipy") + ", 1 thread")
    print("data: sentences drawn from the templates of demos/_sentences.py (MIT, as the suite); no other text")
    print(f"{len(vocabulary)} words, {fingerprint(texts=[' '.join(words) for words in corpus.texts()])}")
    print(f"seeds 0..{seeds - 1}, {steps} steps of 96 sentences; {count} test sentences a row, the same for all\n")

    models = [train(corpus, vocabulary, seed, steps) for seed in range(seeds)]
    baselines = {"it": Baselines(corpus.it[:3000]), "bank": Baselines(corpus.bank[:3000])}
    accuracies(models, baselines, vocabulary, count)
    report_heads(models, vocabulary, count, arguments.out / "rows.png")
    print(f"{time.perf_counter() - started:.0f} s")


def report_heads(models: list[Reader], vocabulary: Vocabulary, count: int, path: Path) -> None:
    """Choose a head per model on new sentences of the training templates; test it; compare its row with the effect."""
    from scipy.stats import spearmanr

    validation = draw_it("train", count, torch.Generator().manual_seed(11))
    test = draw_it("held-out templates", count, torch.Generator().manual_seed(12))
    heads, agreements = [], []
    print('\nheads: how often the row at "it" weighs the referent above the other noun (chance 0.5)')
    print("| seed | head chosen on validation | validation | held-out templates | mean of all heads there |")
    print(f"|{'---|' * 5}")
    for seed, model in enumerate(models):
        chosen, tested = hit_rates(model, validation, vocabulary), hit_rates(model, test, vocabulary)
        index = int(chosen.argmax())
        heads.append(Head(index, chosen[index].item(), tested[index].item()))
        head = heads[-1]
        print(f"| {seed} | {head} | {head.validation:.3f} | {head.test:.3f} | {tested.mean():.3f} |")
        rows = model.rows(encode(test[:60], vocabulary))[:, index]
        for row, sentence in zip(rows, test[:60], strict=True):
            effect = leave_one_out(model, sentence, vocabulary).abs()
            agreements.append(float(spearmanr(row[: len(effect)], effect).statistic))
    print(f"chosen head on held-out templates: {mean_sd([head.test for head in heads])}")
    print(
        "Attention weight is not explanation. Rank correlation of that row with what leave-one-out changes in the\n"
        f"answer: {mean_sd(agreements, 2)} over {len(agreements)} sentences (1: the same order, 0: none)."
    )
    model, head = models[0], heads[0]
    panels = []
    for name, *both in minimal_pairs():
        for sentence in both:
            batch = encode([sentence], vocabulary)
            row = model.rows(batch)[0, head.index]
            said = sentence.words[sentence.candidates[int(model(batch, "it").argmax())]]
            title = f"{name}: model says it = {said}, meant: {sentence.words[sentence.candidates[sentence.answer]]}"
            panels.append((name, sentence, row, leave_one_out(model, sentence, vocabulary), title))
    print(f"\nseed 0, {head}: weights of the row at 'it', and the fall of the margin without the word")
    for _, sentence, row, effect, title in panels:
        print(f"\n{title}\n| {' | '.join(sentence.words)} |\n|{'---|' * len(sentence.words)}")
        print("| " + " | ".join(f"{weight:.2f}" for weight in row.tolist()) + " |")
        print("| " + " | ".join(f"{round(fall, 1) + 0.0:.1f}" for fall in effect.tolist()) + " |")
    draw_rows(panels, path)
    print(f"\nsaved {path}")


if __name__ == "__main__":
    main()
