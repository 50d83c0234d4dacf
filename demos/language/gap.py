"""GAP for demos/core_coreference.py: reading, an embedded stand-in of original sentences, scoring, baselines.

GAP asks of each text whether a pronoun means name A, name B or neither.

References:
    Webster et al., Mind the GAP: a balanced corpus of gendered ambiguous pronouns, TACL 2018.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from .words import tokenise

COLUMNS = ("ID", "Text", "Pronoun", "Pronoun-offset", "A", "A-offset", "A-coref", "B", "B-offset", "B-coref", "URL")
FEMININE, MASCULINE = ("she", "her", "hers"), ("he", "him", "his")
NEITHER, FIRST, SECOND = 0, 1, 2  # the answers: neither, A, B


class Item(NamedTuple):
    """A text: its words, where pronoun and names stand (in words), its answer and its page."""

    words: list[str]
    pronoun: int
    names: tuple[list[int], list[int]]
    answer: int
    page: str

    @property
    def feminine(self) -> bool:
        """Whether the pronoun is feminine."""
        return self.words[self.pronoun].lower() in FEMININE


def read_gap(path: Path) -> list[Item]:
    """Items of a GAP file.

    Raises:
        ValueError: a column is missing, or a row is not as GAP says; the message names file and line.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: expected the columns {', '.join(COLUMNS)}, missing {', '.join(missing)}")
        items = []
        for row in reader:
            try:
                items.append(_item(row))
            except ValueError as error:
                raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
    return items


def _item(row: dict[str, str]) -> Item:
    tokens = tokenise(row["Text"])

    def span(name: str) -> list[int]:
        start, text = int(row[f"{name}-offset"]), row[name]
        if row["Text"][start : start + len(text)] != text:
            raise ValueError(f"{name}-offset: expected {text!r} there, got {row['Text'][start : start + len(text)]!r}")
        end = start + len(text)
        return [i for i, token in enumerate(tokens) if token.start < end and token.start + len(token.text) > start]

    said = {name: row[f"{name}-coref"] for name in "AB"}
    if not set(said.values()) <= {"TRUE", "FALSE"} or list(said.values()) == ["TRUE", "TRUE"]:
        raise ValueError(f"A-coref, B-coref: expected TRUE for one at most, else FALSE, got {said['A']}, {said['B']}")
    if row["Pronoun"].lower() not in FEMININE + MASCULINE:
        raise ValueError(f"Pronoun: expected one of {', '.join(FEMININE + MASCULINE)}, got {row['Pronoun']!r}")
    answer = FIRST if said["A"] == "TRUE" else SECOND if said["B"] == "TRUE" else NEITHER
    words = [token.text for token in tokens]
    return Item(words, span("Pronoun")[0], (span("A"), span("B")), answer, row["URL"])


NAMES = (("Anna", "Clara", "Emma", "Laura", "Nina", "Ruth"), ("Adam", "David", "Felix", "Martin", "Oscar", "Paul"))
FORMS = (("she", "her"), ("he", "his"))
STORIES = (  # A and B are names; pronoun and answer follow
    ("{A} met {B} at the station in the evening . Later {A} wrote that {he} had missed the train .", FIRST),
    ("{A} thanked {B} for the map because {he} had drawn it alone .", SECOND),
    ("{A} apologised to {B} for the noise because {he} had sung all night .", FIRST),
    ("{A} was taught by {B} , a painter . {B} gave {his} brushes to the school .", SECOND),
    ("After the concert {A} called {B} . The mayor lost {his} hat in the crowd .", NEITHER),
    ("{A} lent {B} a boat in May . {A} had built it with {his} own hands .", FIRST),
    ("{A} praised {B} in a letter because {he} had found the lost dog .", SECOND),
)


def embedded(count: int, seed: int) -> list[Item]:
    """Short generated texts in GAP's form; they show that the demo runs and say nothing about coreference."""
    generator = torch.Generator().manual_seed(seed)
    items = []
    for n in range(count):
        gender, story = n % 2, STORIES[int(torch.randint(len(STORIES), (), generator=generator))]
        one, other = torch.randperm(len(NAMES[gender]), generator=generator)[:2].tolist()
        names = {"A": NAMES[gender][one], "B": NAMES[gender][other]}
        raw = story[0].split()
        words = [word.format(**names, he=FORMS[gender][0], his=FORMS[gender][1]) for word in raw]
        pronoun = next(i for i, word in enumerate(raw) if word in ("{he}", "{his}"))
        items.append(Item(words, pronoun, ([raw.index("{A}")], [raw.index("{B}")]), story[1], f"embedded/{seed}/{n}"))
    return items


class Score(NamedTuple):
    """GAP's score: every name is a yes-or-no question; F1 over all, by gender, and their ratio; exact answers too."""

    f1: float
    masculine: float
    feminine: float
    accuracy: float

    @property
    def bias(self) -> float:
        """Feminine over masculine F1; 1 is even."""
        return self.feminine / self.masculine if self.masculine else math.nan


def gap_score(items: Sequence[Item], answers: Sequence[int]) -> Score:
    """Score answers (NEITHER, FIRST, SECOND).

        F1 = 2 TP / (2 TP + FP + FN) over names: TP said and true, FP said and false, FN true and not said

    Raises:
        ValueError: not one answer for each item.
    """
    if len(items) != len(answers):
        raise ValueError(f"answers: expected one for each of {len(items)} items, got {len(answers)}")

    def f1(part: list[tuple[Item, int]]) -> float:
        hits = sum(item.answer == answer != NEITHER for item, answer in part)
        said = sum(answer != NEITHER for _, answer in part)
        true = sum(item.answer != NEITHER for item, _ in part)
        return 2 * hits / (said + true) if said + true else 0.0

    both = list(zip(items, answers, strict=True))
    exact = sum(item.answer == answer for item, answer in both) / max(len(both), 1)
    genders = [[pair for pair in both if pair[0].feminine == feminine] for feminine in (False, True)]
    return Score(f1(both), f1(genders[0]), f1(genders[1]), exact)


def distance(item: Item, name: int) -> int:
    """Words from the pronoun to the nearest word of a name (0 or 1)."""
    return min(abs(place - item.pronoun) for place in item.names[name])


def nearest(item: Item) -> int:
    """The name with fewer words between it and the pronoun; a tie goes to A."""
    return FIRST if distance(item, 0) <= distance(item, 1) else SECOND


def titled(item: Item) -> int:
    """The only name that shares a word with the page's address, else the nearest (GAP's page-context setting)."""
    page = item.page.lower()
    found = [any(item.words[i].lower() in page for i in name if len(item.words[i]) > 2) for name in item.names]
    return nearest(item) if found[0] == found[1] else (FIRST if found[0] else SECOND)


def sentence_numbers(words: Sequence[str]) -> list[int]:
    """The sentence of each word, counted by full stops, question and exclamation marks."""
    out, number = [], 0
    for word in words:
        out.append(number)
        number += word in (".", "!", "?")
    return out


def counted(item: Item) -> list[float]:
    """Numbers that a reader might count, for a logistic regression: 10 for each name and one for the pronoun."""
    sentences = sentence_numbers(item.words)
    words = item.words
    out = [float(words[item.pronoun].lower() in ("his", "her"))]
    for name in item.names:
        first, last = name[0], name[-1]
        parts = {words[i].lower() for i in name}
        before = words[first - 1].lower() if first else "."
        after = words[last + 1] if last + 1 < len(words) else "."
        out += [
            math.log1p(abs(first - item.pronoun)),
            float(first > item.pronoun),
            float(sentences[first] == sentences[item.pronoun]),
            float(sentences[item.pronoun] - sentences[first]),
            math.log(sum(word.lower() in parts for word in words)),
            float(before in ".!?"),
            float(after == ","),
            float(after in ("'s", "\u2019s")),
            float(before in ("of", "by", "with", "to", "for", "and", "in", "from")),
            first / len(words),
        ]
    return out
