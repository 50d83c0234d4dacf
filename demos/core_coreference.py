"""Whom does the pronoun mean? Coreference heads on GAP, trained from scratch, against counting words.

A one-block encoder reads the text; a last attention, from the pronoun to the two names and to "neither", gives the
answer: its weights are the probabilities. GAP's test file is not needed: the development file is split by page into
training (80%) and choice (20%), every choice (epochs, which head to report) is made on the choice part, and the
validation file is read once, at the end.

    python demos/core_coreference.py --gap gap-development.tsv --gap-validation gap-validation.tsv
    python demos/core_coreference.py [--fast]       a few generated texts: shows that it runs, says nothing about GAP

GAP: Webster et al., TACL 2018, https://github.com/google-research-datasets/gap-coreference, Apache-2.0.
"""

import argparse
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from language.gap import FIRST, NEITHER, SECOND, Item, Score, counted, embedded, gap_score, nearest, read_gap, titled
from language.resolver import DEPTH, HEADS, Batch, Resolver, batches_of
from language.words import PAD, UNKNOWN, Vocabulary, fingerprint, mean_sd, versions
from torch import Tensor

from core.analysis.figures import new_figure

DROPPED, RATE, MINIMUM = 0.1, 2e-3, 3  # words made <unknown>; of AdamW; occurrences of a known word


class Answers(NamedTuple):
    """A model's answers to all items, and for every head whether A is weighed above B: (items, heads)."""

    said: list[int]
    first: Tensor


@torch.no_grad()
def answer(model: Resolver, batches: Sequence[Batch]) -> Answers:
    """Ask the model."""
    model.eval()
    outputs = [model(batch) for batch in batches]
    said = torch.cat([probabilities.argmax(1) for probabilities, _ in outputs]).tolist()
    return Answers(said, torch.cat([on[:, :, 0] > on[:, :, 1] for _, on in outputs]))


def train(
    batches: Sequence[Batch], words: int, seed: int, epochs: int, choice: tuple[Sequence[Batch], Tensor]
) -> Resolver:
    """-log p(answer), AdamW, one cycle; the epoch with the best accuracy on the choice part is kept."""
    torch.manual_seed(seed)
    order = random.Random(seed)
    model = Resolver(words)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    steps = epochs * len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.15)
    best, kept = -1.0, {}
    for _ in range(epochs):
        model.train()
        for batch in order.sample(list(batches), len(batches)):
            dropped = (torch.rand(batch.ids.shape) < DROPPED) & (batch.ids != PAD)
            probabilities, _ = model(batch._replace(ids=torch.where(dropped, UNKNOWN, batch.ids)))
            right = probabilities.gather(1, batch.answer[:, None])
            loss = -right.clamp(min=1e-9).log().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        said = torch.tensor(answer(model, choice[0]).said)
        accuracy = (said == choice[1]).float().mean().item()
        if accuracy > best:
            best, kept = accuracy, {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(kept)
    return model.eval()


def split(items: list[Item], seed: int) -> tuple[list[Item], list[Item]]:
    """Training (80%) and choice (20%) parts that share no page."""
    pages = sorted({item.page for item in items})
    random.Random(seed).shuffle(pages)
    chosen = set(pages[: len(pages) // 5])
    return [item for item in items if item.page not in chosen], [item for item in items if item.page in chosen]


def baselines(training: list[Item], items: list[Item]) -> dict[str, list[list[int]]]:
    """Answers of each baseline, one list a run: random ones are drawn 100 times."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    draw = random.Random(0)
    learned = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    learned.fit([counted(item) for item in training], [item.answer for item in training])
    return {
        "random name": [[draw.choice((FIRST, SECOND)) for _ in items] for _ in range(100)],
        "first name in the text": [[FIRST for _ in items]],
        "nearest name": [[nearest(item) for item in items]],
        "name in the page's address, else nearest": [[titled(item) for item in items]],
        "logistic regression, 21 counts": [learned.predict([counted(item) for item in items]).tolist()],
    }


def line(name: str, scores: list[Score]) -> str:
    """A row of the table of scores; NaN where a gender is missing."""
    columns = (
        [getattr(score, field) for score in scores] for field in ("f1", "masculine", "feminine", "bias", "accuracy")
    )
    return f"| {name} | " + " | ".join(mean_sd(column) for column in columns) + " |"


def hits(items: Sequence[Item], first: Tensor) -> Tensor:
    """Whether each head weighs the antecedent above the other name, where there is one: (items with one, heads)."""
    asked = torch.tensor([item.answer for item in items])
    return (first == (asked == FIRST)[:, None])[asked != NEITHER]


def head_name(index: int) -> str:
    """A head of the encoder or of the pointer."""
    block, head = divmod(index, HEADS)
    return f"block {block + 1}, head {head + 1}" if block < DEPTH else f"pointer, head {index - DEPTH * HEADS + 1}"


class HeadResult(NamedTuple):
    """A head: hit rates on the choice and test parts, the 95% interval of the latter, its p against 1/2 (Holm)."""

    name: str
    choice: float
    test: float
    low: float
    high: float
    p: float


def head_results(choice: Tensor, test: Tensor) -> list[HeadResult]:
    """Every head: exact binomial intervals (Clopper-Pearson), p-values corrected for the number of heads."""
    from scipy.stats import binomtest

    tests = [binomtest(int(column.sum()), len(column)) for column in test.T]
    ordered = sorted(range(len(tests)), key=lambda i: tests[i].pvalue)
    corrected, running = {}, 0.0
    for rank, i in enumerate(ordered):
        running = max(running, min(1.0, (len(tests) - rank) * tests[i].pvalue))
        corrected[i] = running
    out = []
    for i, result in enumerate(tests):
        interval = result.proportion_ci()
        rate = choice[:, i].float().mean().item()
        out.append(HeadResult(head_name(i), rate, result.statistic, interval.low, interval.high, corrected[i]))
    return out


def compare(ours: Tensor, other: Tensor) -> str:
    """Exact McNemar test of two columns of hits on the same items, in words."""
    from scipy.stats import binomtest

    won, lost = int((ours & ~other).sum()), int((~ours & other).sum())
    p = binomtest(won, won + lost).pvalue if won + lost else 1.0
    verdict = "better" if p < 0.05 and won > lost else "worse" if p < 0.05 else "not different at 5%"
    return f"{verdict} (right alone {won}, wrong alone {lost}, exact McNemar p = {p:.2g})"


def plot(rows: list[list[HeadResult]], untrained: list[HeadResult], base: float, path: Path) -> None:
    """Hit rate of every head of every seed with its interval, the untrained heads, nearest name and chance."""
    figure = new_figure(9, 4.5)
    axis = figure.subplots()
    runs = [(f"trained, seed {seed}", row) for seed, row in enumerate(rows)] + [("untrained, seed 0", untrained)]
    for n, (label, row) in enumerate(runs):
        places = [i + 0.17 * (n - (len(runs) - 1) / 2) for i in range(len(row))]
        bars = [[head.test - head.low for head in row], [head.high - head.test for head in row]]
        colour = "0.6" if n == len(rows) else f"C{n}"
        axis.errorbar(places, [h.test for h in row], bars, fmt="o", markersize=4, capsize=2, color=colour, label=label)
    axis.axhline(base, color="k", linestyle="--", linewidth=1, label="nearest name")
    axis.axhline(0.5, color="k", linestyle=":", linewidth=1, label="chance")
    axis.set_xticks(range(len(untrained)), [head.name.replace(", ", "\n") for head in untrained], size=8)
    axis.set(ylabel="antecedent weighed above the other name (share)", ylim=(0.2, 1.0))
    axis.set_title("From the pronoun: does the head look at the antecedent? Test part, 95% intervals")
    axis.legend(ncols=3, fontsize=8, loc="upper left")
    axis.grid(axis="y", alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Split, train, choose, test once, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gap", type=Path, help="gap-development.tsv: training and choices")
    parser.add_argument("--gap-validation", type=Path, help="gap-validation.tsv: the test part")
    parser.add_argument("--fast", action="store_true", help="one seed, few texts: shows that it runs, not how well")
    parser.add_argument("--out", type=Path, default=Path("runs/core_coreference"), help="folder of the picture")
    arguments = parser.parse_args()
    paths = [path for path in (arguments.gap, arguments.gap_validation) if path is not None]
    if len(paths) == 1:
        parser.error("--gap and --gap-validation: expected both or neither")
    torch.set_num_threads(1)  # the matrices are small: more threads only wait for each other
    started = time.perf_counter()
    print(versions("scikit-learn", "scipy") + ", 1 thread")
    if paths:
        development, test = (read_gap(path) for path in paths)
        print("data: GAP (Webster et al., TACL 2018), development and validation files; Apache-2.0")
    else:
        development, test = embedded(400, seed=1), embedded(100, seed=2)
        print("data: generated texts of demos/language/gap.py (MIT, as the suite); their templates are shared by all")
        print("parts, so the numbers say that it runs and nothing about coreference: give --gap, --gap-validation")
    if arguments.fast:
        development, test = development[:200], test[:60]
    seeds, epochs = (1, 2) if arguments.fast else (3, 10)
    training, choice = split(development, seed=0)
    shared = {item.page for item in development} & {item.page for item in test}
    print(fingerprint(paths, () if paths else [" ".join(item.words) for item in development + test]))
    print(
        f"{len(training)} training, {len(choice)} choice, {len(test)} test texts; pages in development and test: "
        f"{len(shared)}\nseeds 0..{seeds - 1}, {epochs} epochs at most"
    )

    vocabulary = Vocabulary((item.words for item in training), MINIMUM)
    batches = batches_of(sorted(training, key=lambda item: len(item.words)), vocabulary)
    choice_batches, test_batches = batches_of(choice, vocabulary), batches_of(test, vocabulary)
    asked = torch.tensor([item.answer for item in choice])
    torch.manual_seed(0)
    untrained = Resolver(len(vocabulary))
    models = [train(batches, len(vocabulary), seed, epochs, (choice_batches, asked)) for seed in range(seeds)]
    parameters = sum(parameter.numel() for parameter in untrained.parameters())
    print(f"{len(vocabulary)} words, {parameters:,} parameters\n")

    answers = [answer(model, test_batches) for model in models]
    print("names as yes-or-no questions, as GAP scores them; accuracy: A, B or neither. Mean ± sd over runs")
    print(f"| method | F1 | masculine | feminine | feminine / masculine | accuracy |\n|{'---|' * 6}")
    others = baselines(training, test)
    for name, runs in others.items():
        print(line(name, [gap_score(test, said) for said in runs]))
    print(line(f"attention, {seeds} seed(s)", [gap_score(test, a.said) for a in answers]))
    _verdicts(test, answers, others)

    base = torch.tensor([nearest(item) == item.answer for item in test if item.answer != NEITHER])
    before = head_results(
        hits(choice, answer(untrained, choice_batches).first), hits(test, answer(untrained, test_batches).first)
    )
    rows = []
    print(f"\nheads: antecedent weighed above the other name, {len(base)} test texts that have one (chance 0.5)")
    print(
        f"nearest name: {base.float().mean():.3f}; best untrained head, chosen likewise: {_chosen(before)[1].test:.3f}"
    )
    print("| seed | head | choice part | test part | 95% interval | p against 1/2, Holm |")
    print(f"|{'---|' * 6}")
    for seed, (model, tested) in enumerate(zip(models, answers, strict=True)):
        on_test = hits(test, tested.first)
        rows.append(head_results(hits(choice, answer(model, choice_batches).first), on_test))
        for head in rows[-1]:
            interval = f"{head.low:.3f} to {head.high:.3f}"
            print(f"| {seed} | {head.name} | {head.choice:.3f} | {head.test:.3f} | {interval} | {head.p:.2g} |")
    for seed, row in enumerate(rows):
        index, head = _chosen(row)
        verdict = compare(hits(test, answers[seed].first)[:, index], base)
        print(
            f"seed {seed}: {head.name}, chosen on the choice part, hits {head.test:.3f} on test; than nearest {verdict}"
        )
    print(f"chosen heads on test: {mean_sd([_chosen(row)[1].test for row in rows])}")
    path = arguments.out / "heads.png"
    plot(rows, before, base.float().mean().item(), path)
    print(f"saved {path}; {time.perf_counter() - started:.0f} s")


def _chosen(row: list[HeadResult]) -> tuple[int, HeadResult]:
    """The head with the highest hit rate on the choice part, and its index."""
    index = max(range(len(row)), key=lambda i: row[i].choice)
    return index, row[index]


def _verdicts(test: list[Item], answers: list[Answers], others: dict[str, list[list[int]]]) -> None:
    """Say for each baseline whether attention is right more often, seed by seed."""
    truth = torch.tensor([item.answer for item in test])
    print("\nattention's accuracy, seed by seed, against")
    for name, runs in others.items():
        if len(runs) == 1:
            verdicts = [compare(torch.tensor(a.said) == truth, torch.tensor(runs[0]) == truth) for a in answers]
            print(f"  {name}: {'; '.join(verdicts)}")
    mean = statistics.mean(gap_score(test, a.said).accuracy for a in answers)
    better = [name for name, runs in others.items() if gap_score(test, runs[0]).accuracy > mean]
    print("attention loses on average to: " + ("; ".join(better) if better else "none of these"))


if __name__ == "__main__":
    main()
