"""What does "it" mean, which "bank" is it? A small encoder on generated sentences, and what one head's row says.

Three readings, learned together by one two-block encoder:

    it    which of two nouns "it" stands for: "the animal didn't cross the street because it was too tired / wide"
          (animals and places; drones and warehouses; and boxes and bags, where only word order decides)
    bank  river or money, for every "bank" by itself; sentences with two of them may hold both senses

Tested on arrangements of words that training never shows ("held-out templates"), on nouns that it never shows, and on
adjectives that it shows only in descriptions ("the tired dog lay down to rest") under masked-word prediction, never in
an "it" sentence. Beside it: the majority, a bag of words, word pairs, and a window of words around "bank" or "it".

Then rows at "it", for the minimal pairs: that of the head that is trained to point, that of the encoder head that sees
most of the deciding adjective (chosen on validation sentences), and leave-one-out beside them.

    python demos/core_sentence.py [--fast] [--out FOLDER]
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import torch
from language.sentences import TEST_SETS, TOPICS, Sentence, adjective_of, draw_bank, draw_it, draw_plain, minimal_pairs
from language.word_baselines import Baselines
from language.words import MASK, PAD, UNKNOWN, TextEncoder, Vocabulary, fingerprint, mean_sd, pad, versions
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import core
from core import masks
from core.analysis.figures import new_figure

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
    """One encoder, three answers: a head that points from "it" to a noun, the sense of a "bank", a masked word.

    The pointing head is one more attention; its weights, over all words, are the answer's probabilities.
    """

    def __init__(self, words: int) -> None:
        super().__init__()
        self.text = TextEncoder(words, DIM, DEPTH, HEADS, reach=8, dropout=0.1)
        self.pointer = core.MultiheadAttention(DIM, 1)
        self.sense = nn.Linear(DIM, 2)
        self.word = nn.Linear(DIM, words)

    def point(self, out: Tensor, batch: Batch) -> Tensor:
        """Log-weights of the pointing head from the asked word on every word: (B, L)."""
        query = out[torch.arange(len(out)), batch.at][:, None]
        answer = self.pointer(query, out, mask=masks.Padding(batch.ids != PAD), need=("weights",))
        return answer.weights[:, 0, 0].clamp(min=1e-12).log()

    def read(self, out: Tensor, batch: Batch) -> Tensor:
        """Logits of river and money at the asked "bank": (B, 2)."""
        return self.sense(out[torch.arange(len(out)), batch.at])

    def forward(self, batch: Batch, kind: str) -> Tensor:
        """Logits of the two answers: (B, 2); kind is "it" (the two nouns) or "bank"."""
        out = self.text(batch.ids)
        return self.point(out, batch).gather(1, batch.candidates) if kind == "it" else self.read(out, batch)

    @torch.no_grad()
    def rows(self, batch: Batch) -> Tensor:
        """Every head's weights from the asked word, the pointing head last: (B, depth * heads + 1, L)."""
        answer = self.text(batch.ids, need=("weights",))
        weights = torch.cat([layer.weights for layer in answer.layers], dim=1)[
            torch.arange(len(batch.ids)), :, batch.at
        ]
        return torch.cat([weights, self.point(answer.out, batch).exp()[:, None]], dim=1)


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
        asked = Batch(ids[: len(a)], *(column[a] for column in it[1:]))
        referent = asked.candidates.gather(1, asked.answer[:, None])
        loss = -model.point(of_it, asked).gather(1, referent).mean()
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


class HeadReading(NamedTuple):
    """What the rows at "it" of all heads show. Shapes: (depth * heads + 1,); the pointing head is the last.

    hits: how often the referent weighs more than the other noun. telling: mean weight of the adjective that decides.
    """

    hits: Tensor
    telling: Tensor


def read_heads(model: Reader, sentences: list[Sentence], vocabulary: Vocabulary) -> HeadReading:
    """Read the rows of all heads."""
    batch = encode(sentences, vocabulary)
    weights = model.rows(batch)
    nouns = weights.gather(2, batch.candidates[:, None].expand(-1, weights.shape[1], -1))
    right = (nouns[:, :, 1] > nouns[:, :, 0]) == batch.answer.bool()[:, None]
    places = torch.tensor([sentence.words.index(adjective_of(sentence)) for sentence in sentences])
    telling = weights[torch.arange(len(weights)), :, places]
    return HeadReading(right.float().mean(0), telling.mean(0))


def head_name(index: int) -> str:
    """A head of the encoder."""
    return f"block {index // HEADS + 1}, head {index % HEADS + 1}"


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


class Panel(NamedTuple):
    """A sentence with the rows at "it" of the pointing and of an encoder head, and leave-one-out: (L,) each."""

    title: str
    sentence: Sentence
    pointing: Tensor
    encoder: Tensor
    effect: Tensor


def draw_rows(panels: list[Panel], head: str, path: Path) -> None:
    """Three strips a sentence: two heads' rows at "it", and leave-one-out; the answer in the title."""
    count = len(panels) // 2
    figure = new_figure(15, 2.8 * count)
    axes = figure.subplots(count, 2)
    peak = max(float(panel.effect.abs().max()) for panel in panels)
    blues, reds, images = {"cmap": "Blues", "vmin": 0, "vmax": 1}, {"cmap": "RdBu_r", "vmin": -peak, "vmax": peak}, {}
    for axis, panel in zip(axes.flat, panels, strict=True):
        length = len(panel.sentence.words)
        for level, values in ((2, panel.pointing), (1, panel.encoder), (0, panel.effect)):
            colours = blues if level else reds
            image = axis.imshow(values[None], extent=(-0.5, length - 0.5, level - 0.5, level + 0.5), **colours)
            images[level] = image
            for place, value in enumerate(values.tolist()):
                dark = abs(value) > 0.6 * colours["vmax"]
                label = f"{value:.2f}" if level else f"{round(value, 1) + 0.0:.1f}"
                axis.text(place, level, label, ha="center", va="center", color="w" if dark else "k", size=8)
        for place in (panel.sentence.at, *panel.sentence.candidates):
            axis.axvline(place - 0.5, color="k", linewidth=0.6)
            axis.axvline(place + 0.5, color="k", linewidth=0.6)
        axis.set(ylim=(-0.5, 2.5), yticks=(2, 1, 0), aspect="auto")
        axis.set_yticklabels(("pointing head", head, "leave one out"))
        axis.set_xticks(range(length), panel.sentence.words, rotation=30, ha="right", rotation_mode="anchor")
        axis.set_title(panel.title, size=10)
    figure.colorbar(images[2], ax=axes, label="weight of the row at 'it'", shrink=0.8, pad=0.01)
    figure.colorbar(images[0], ax=axes, label="fall of the margin (nats) without the word", shrink=0.8, pad=0.02)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


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
    seeds, steps, count = (1, 20, 20) if arguments.fast else (3, 1000, 600)
    torch.set_num_threads(1)  # the matrices are small: more threads only wait for each other
    started = time.perf_counter()

    corpus = Corpus.draw(1500 if arguments.fast else 8000, seed=5)
    vocabulary = Vocabulary(corpus.texts())
    print(versions("scikit-learn", "scipy") + ", 1 thread")
    print("data: sentences drawn from the templates of demos/language/sentences.py (MIT, as the suite); no other text")
    print(f"{len(vocabulary)} words, {fingerprint(texts=[' '.join(words) for words in corpus.texts()])}")
    print(f"seeds 0..{seeds - 1}, {steps} steps of 96 sentences; {count} test sentences a row, the same for all\n")

    models = [train(corpus, vocabulary, seed, steps) for seed in range(seeds)]
    baselines = {"it": Baselines(corpus.it[:3000]), "bank": Baselines(corpus.bank[:3000])}
    accuracies(models, baselines, vocabulary, count)
    report_heads(models, vocabulary, count, arguments.out / "rows.png")
    print(f"{time.perf_counter() - started:.0f} s")


def report_heads(models: list[Reader], vocabulary: Vocabulary, count: int, path: Path) -> None:
    """Choose encoder heads per model on new sentences of the training templates; test them; compare with the effect."""
    from scipy.stats import spearmanr

    validation = draw_it("train", count, torch.Generator().manual_seed(11))
    test = draw_it("held-out templates", count, torch.Generator().manual_seed(12))
    agreements: dict[str, list[float]] = {"pointing head": [], "telling head": []}
    print(
        '\nrows at "it" on held-out templates. hits: the referent weighs more than the other noun (chance 0.5); the\n'
        "pointing head is trained to. weight: on the adjective that decides. Encoder heads are chosen on validation"
    )
    print("| seed | pointing head, hits | encoder head of most hits | hits | encoder head of most weight | weight |")
    print(f"|{'---|' * 6}")
    tellers = []
    for seed, model in enumerate(models):
        chosen, tested = (read_heads(model, sentences, vocabulary) for sentences in (validation, test))
        hitting, telling = int(chosen.hits[:-1].argmax()), int(chosen.telling[:-1].argmax())
        tellers.append(telling)
        print(
            f"| {seed} | {tested.hits[-1]:.3f} | {head_name(hitting)} | {tested.hits[hitting]:.3f} "
            f"| {head_name(telling)} | {tested.telling[telling]:.3f} |"
        )
        rows = model.rows(encode(test[:60], vocabulary))
        for row, sentence in zip(rows, test[:60], strict=True):
            effect = leave_one_out(model, sentence, vocabulary).abs()
            for name, index in (("pointing head", -1), ("telling head", telling)):
                agreements[name].append(float(spearmanr(row[index, : len(effect)], effect).statistic))
    print("\nAttention weight is not explanation. Rank correlation of a row with what leave-one-out changes:")
    for name, values in agreements.items():
        print(f"  {name}: {mean_sd(values, 2)} over {len(values)} sentences (1: the same order, 0: none)")
    model, panels = models[0], []
    for name, *both in minimal_pairs():
        for sentence in both:
            batch = encode([sentence], vocabulary)
            rows = model.rows(batch)[0]
            said = sentence.words[sentence.candidates[int(model(batch, "it").argmax())]]
            title = f"{name}: model says it = {said}, meant: {sentence.words[sentence.candidates[sentence.answer]]}"
            effect = leave_one_out(model, sentence, vocabulary)
            panels.append(Panel(title, sentence, rows[-1], rows[tellers[0]], effect))
    print(f"\nseed 0, rows at 'it': pointing head; {head_name(tellers[0])}; fall of the margin without the word (nats)")
    for title, sentence, pointing, encoder, effect in panels:
        print(f"\n{title}\n| {' | '.join(sentence.words)} |\n|{'---|' * len(sentence.words)}")
        for row in (pointing, encoder):
            print("| " + " | ".join(f"{weight:.2f}" for weight in row.tolist()) + " |")
        print("| " + " | ".join(f"{round(fall, 1) + 0.0:.1f}" for fall in effect.tolist()) + " |")
    draw_rows(panels, head_name(tellers[0]), path)
    print(f"\nsaved {path}")


if __name__ == "__main__":
    main()
