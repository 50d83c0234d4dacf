"""The grammar of demos/core_sentence.py: original sentences, drawn from templates with a seed.

A template is a line of words; {a}, {p}, ... are slots. What training sees and what is held out is said here
and nowhere else.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch


class Sentence(NamedTuple):
    """Words, the asked position, the positions of two nouns (of "bank": none), and the answer: 0 or 1.

    The answer is the first or second noun for "it", and river (0) or money (1) for "bank".
    """

    words: list[str]
    at: int
    candidates: tuple[int, int] | None
    answer: int


class Words(NamedTuple):
    """Fillers of a slot: those of training and those held out."""

    train: tuple[str, ...]
    held_out: tuple[str, ...] = ()


class Topic(NamedTuple):
    """Who {a} and what {p} fill the nouns, which adjectives {x} speak of which, and the templates."""

    agents: Words
    places: Words
    of_agent: Words
    of_place: Words
    verbs: tuple[tuple[str, str], ...]
    templates: Words


def words(train: str, held_out: str = "") -> Words:
    """Words of two lines."""
    return Words(tuple(train.split()), tuple(held_out.split()))


JOURNEY = Words(
    (
        "the {a} didn't {v} the {p} {c} it was too {x}",
        "the {a} could not {v} the {p} {c} it was {x}",
        "the {p} was not {ed} by the {a} {c} it was too {x}",
        "{c} it was too {x} , the {a} didn't {v} the {p}",
        "{c} it was {x} , the {a} could not {v} the {p}",
        "at the {p} the {a} stopped {c} it was too {x}",
        "the {a} stopped at the {p} {c} it was {x}",
        "the {p} was too much for the {a} {c} it was {x}",
    ),
    (
        "{c} it was too {x} , the {p} was not {ed} by the {a}",
        "{c} it was {x} , the {a} stopped at the {p}",
        "{c} it was {x} , at the {p} the {a} stopped",
    ),
)
PACKING = Words(
    (
        "the {a} didn't fit into the {p} {c} it was too {x}",
        "the {p} could not hold the {a} {c} it was too {x}",
        "into the {p} the {a} didn't fit {c} it was {x}",
        "{c} it was too {x} , the {a} didn't fit into the {p}",
        "the {a} was not held by the {p} {c} it was {x}",
    ),
    (
        "{c} it was {x} , the {p} could not hold the {a}",
        "{c} it was too {x} , into the {p} the {a} didn't fit",
        "{c} it was too {x} , the {a} was not held by the {p}",
    ),
)
THINGS = words("box bag suitcase crate trunk basket drawer case", "chest sack")
TOPICS = {
    "animals": Topic(
        words("animal dog horse cat cow fox goat hen", "donkey hare"),
        words("street road river bridge field path valley lane", "avenue meadow"),
        words("tired hungry scared weak sick thirsty", "sleepy afraid"),
        words("wide busy deep long steep crowded", "broad flooded"),
        (("cross", "crossed"), ("reach", "reached"), ("leave", "left")),
        JOURNEY,
    ),
    "drones": Topic(
        words("drone robot truck plane crane van", "lorry glider"),
        words("warehouse hangar garage factory station depot", "shed harbour"),
        words("damaged slow overheated heavy unstable blind", "broken defective"),
        words("locked closed full guarded dark burning", "sealed blocked"),
        (("enter", "entered"), ("reach", "reached"), ("leave", "left")),
        JOURNEY,
    ),
    "boxes": Topic(
        THINGS,
        THINGS,
        words("large big bulky thick", "huge"),
        words("small tight little tiny", "cramped"),
        (("hold", "held"),),
        PACKING,
    ),
}
CAUSES = ("because", "since", "as")
PEOPLE = ("anna", "peter", "maria", "the farmer", "the teacher", "the clerk")
WATER = words("river stream lake canal", "pond")
MONEY = words("deposit loan cash cheque", "mortgage")
BANKS = Words(  # <r> and <m> mark a bank by the river and one with money
    (
        "{who} sat on the <r> of the {r}",
        "{who} got the {m} from the <m>",
        "after the {m} {who} sat on the <r> of the {r}",
        "after the walk along the {r} {who} got the {m} from the <m>",
        "the <m> that {who} saw after the walk along the {r} gave the {m}",
        "the <r> that {who} saw after the {m} was wet from the {r}",
        "{who} sat on the <r> of the {r} and got the {m} from the <m>",
        "{who} left the <m> with the {m} and sat on the <r> of the {r}",
        "the walk along the <r> of the {r} was long",
        "the {m} from the <m> was late",
        "the <r> of the {r} was wet",
        "the <m> gave the {m} to {who}",
    ),
    (
        "{who} got the {m} from the <m> and sat on the <r> of the {r}",
        "the <r> of the {r} was wet and the <m> gave the {m}",
        "after the walk along the <r> of the {r} {who} left the <m> with the {m}",
        "the <m> that {who} saw after the {r} was wet gave the {m}",
        "the <r> that {who} saw after the <m> gave the {m} was wet from the {r}",
    ),
)
PLAIN = {
    "agent": ("the {x} {a} lay down to rest", "a {x} {a} will not go on", "how {x} this {a} looks today"),
    "place": ("nobody goes along the {x} {p}", "we stood before a {x} {p}", "a map shows the {x} {p}"),
    "large": ("the {x} {a} fills the whole room", "two men carry a {x} {a}"),
    "small": ("only a coin goes in the {x} {a}", "a child lifts the {x} {a}"),
    "water": ("fish live in the {r}", "we swim in the cold {r}"),
    "money": ("we owe the {m} to them", "they signed for the {m}"),
}
TEST_SETS = ("training templates", "held-out templates", "held-out nouns", "held-out adjectives")
SETS = ("train", *TEST_SETS)


def pick(options: Sequence[str], generator: torch.Generator) -> str:
    """One of the options, evenly."""
    return options[int(torch.randint(len(options), (), generator=generator))]


def draw_it(part: str, count: int, generator: torch.Generator, topics: Sequence[str] = tuple(TOPICS)) -> list[Sentence]:
    """Sentences with "it" of a part of SETS, evenly over topics and answers in turn."""
    out = []
    for n in range(count):
        topic = TOPICS[topics[n % len(topics)]]
        of_agent = bool(torch.randint(2, (), generator=generator))
        fill = {
            "template": pick(_fillers(topic.templates, part, "held-out templates"), generator),
            "x": pick(_fillers(topic.of_agent if of_agent else topic.of_place, part, "held-out adjectives"), generator),
            "a": pick(_fillers(topic.agents, part, "held-out nouns"), generator),
            "p": pick(_fillers(topic.places, part, "held-out nouns"), generator),
            "c": pick(CAUSES, generator),
        }
        while fill["p"] == fill["a"]:
            fill["p"] = pick(_fillers(topic.places, part, "held-out nouns"), generator)
        fill["v"], fill["ed"] = topic.verbs[int(torch.randint(len(topic.verbs), (), generator=generator))]
        out.append(example(fill.pop("template"), of_agent, **fill))
    return out


def example(template: str, of_agent: bool, **fill: str) -> Sentence:
    """Fill a template; "it" stands for {a} if of_agent, else for {p}."""
    raw = template.split()
    agent, place = raw.index("{a}"), raw.index("{p}")
    text = [word.format(**fill) for word in raw]
    first, second = sorted((agent, place))
    return Sentence(text, text.index("it"), (first, second), int((agent if of_agent else place) == second))


def minimal_pairs() -> list[tuple[str, Sentence, Sentence]]:
    """The minimal pairs: one word differs, and with it what "it" stands for."""
    animal = "the {a} didn't {v} the {p} because it was too {x}"
    packing = "the {a} didn't fit into the {p} because it was too {x}"
    cases = (
        ("animal and street", animal, {"a": "animal", "p": "street", "v": "cross"}, "tired", "wide"),
        ("drone and warehouse", animal, {"a": "drone", "p": "warehouse", "v": "enter"}, "damaged", "locked"),
        ("box and bag", packing, {"a": "box", "p": "bag"}, "large", "small"),
    )
    return [
        (name, example(template, True, x=one, **fill), example(template, False, x=other, **fill))
        for name, template, fill, one, other in cases
    ]


def adjective_of(sentence: Sentence) -> str:
    """The adjective that decides what "it" stands for."""
    known = {word for topic in TOPICS.values() for words in (topic.of_agent, topic.of_place) for word in sum(words, ())}
    return next(word for word in sentence.words if word in known)


def draw_bank(part: str, count: int, generator: torch.Generator) -> list[Sentence]:
    """Sentences with "bank"; one with two of them comes twice, asked about either."""
    out: list[Sentence] = []
    while len(out) < count:
        fill = {
            "r": pick(_fillers(WATER, part, "held-out nouns"), generator),
            "m": pick(_fillers(MONEY, part, "held-out nouns"), generator),
            "who": pick(PEOPLE, generator),
        }
        template = pick(_fillers(BANKS, part, "held-out templates"), generator)
        raw = template.format(**fill).split()
        text = ["bank" if word in ("<r>", "<m>") else word for word in raw]
        out += [Sentence(text, i, None, int(word == "<m>")) for i, word in enumerate(raw) if word in ("<r>", "<m>")]
    return out[:count]


def draw_plain(count: int, generator: torch.Generator) -> list[list[str]]:
    """Descriptions without "it" and "bank"; all adjectives and all cues of "bank" occur, nouns only of training."""
    out = []
    for _ in range(count):
        topic = TOPICS[pick(tuple(TOPICS), generator)]
        of_agent = bool(torch.randint(2, (), generator=generator))
        packing = topic is TOPICS["boxes"]
        kind = ("large" if of_agent else "small") if packing else ("agent" if of_agent else "place")
        kind = pick((kind, kind, "water", "money"), generator)
        fill = {
            "x": pick(sum(topic.of_agent if of_agent else topic.of_place, ()), generator),
            "a": pick(topic.agents.train, generator),
            "p": pick(topic.places.train, generator),
            "r": pick(sum(WATER, ()), generator),
            "m": pick(sum(MONEY, ()), generator),
        }
        out.append(pick(PLAIN[kind], generator).format(**fill).split())
    return out


def _fillers(options: Words, part: str, held_out_in: str) -> tuple[str, ...]:
    """The held-out fillers in the part that holds them out, else those of training."""
    return options.held_out if part == held_out_in else options.train
