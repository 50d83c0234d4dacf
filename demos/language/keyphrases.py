"""Texts with keyphrases for demos/core_keywords.py: reading, a few embedded ones, stems, TextRank.

References:
    Augenstein et al., SemEval 2017 task 10: ScienceIE, SemEval 2017. Harman, How effective is suffixing?, JASIS 1991
    (the S-stemmer). Mihalcea and Tarau, TextRank: bringing order into text, EMNLP 2004.
"""

import itertools
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .words import tokenise

END = (".", "!", "?")


class Document(NamedTuple):
    """A text: its words, their stems (None for stop words, numbers and marks), the stems of its keyphrases."""

    name: str
    words: list[str]
    stems: list[str | None]
    phrases: frozenset[tuple[str, ...]]

    @property
    def keywords(self) -> frozenset[str]:
        """The stems that occur in a keyphrase and in the text; what a word-level ranking should put first."""
        return frozenset(stem for phrase in self.phrases for stem in phrase) & frozenset(filter(None, self.stems))

    def sentences(self) -> list[tuple[int, int]]:
        """Begin and end (exclusive) of each sentence, in words."""
        ends = [i + 1 for i, word in enumerate(self.words) if word in END]
        ends = [*ends, len(self.words)] if not ends or ends[-1] < len(self.words) else ends
        return list(zip([0, *ends[:-1]], ends, strict=True))

    def candidates(self) -> set[tuple[str, ...]]:
        """Candidate phrases: longest runs of words that are neither stop words, numbers nor marks."""
        runs = itertools.groupby(self.stems, key=lambda stem: stem is not None)
        return {tuple(stem for stem in run if stem is not None) for real, run in runs if real}


def stem(word: str) -> str:
    """Lower case and Harman's S-stemmer: -ies to -y, -es to -e, -s off, with her exceptions; only plurals go."""
    word = word.lower()
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss")):
        return word[:-1]
    return word


def keyword_stem(word: str) -> str | None:
    """The stem of a word that may be a keyword: two letters or more, no English stop word (scikit-learn's list)."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    letters = sum(character.isalpha() for character in word)
    return stem(word) if letters >= 2 and word.lower() not in ENGLISH_STOP_WORDS else None


def document(name: str, text: str, phrases: Sequence[str]) -> Document:
    """Words and stems of a text and its keyphrases; stop words and numbers inside a phrase are left out of it."""
    words = [token.text for token in tokenise(text)]
    stemmed = (tuple(filter(None, (keyword_stem(t.text) for t in tokenise(phrase)))) for phrase in phrases)
    return Document(name, words, [keyword_stem(word) for word in words], frozenset(filter(None, stemmed)))


def read_keyphrases(path: Path) -> list[Document]:
    """Documents of a zip with docsutf8/NAME.txt and keys/NAME.key (one phrase a line), by name.

    Raises:
        ValueError: no documents, or one without its keys; the message names the file.
    """
    with zipfile.ZipFile(path) as archive:
        names = {member: Path(member) for member in archive.namelist()}
        texts = sorted(m for m, p in names.items() if p.parent.name == "docsutf8" and p.suffix == ".txt")
        if not texts:
            raise ValueError(f"{path}: expected files docsutf8/NAME.txt, got none")
        out = []
        for member in texts:
            keys = str(names[member].parent.parent / "keys" / f"{names[member].stem}.key")
            if keys not in names:
                raise ValueError(f"{path}: expected {keys} beside {member}, got none")
            phrases = archive.read(keys).decode("utf-8").splitlines()
            out.append(document(names[member].stem, archive.read(member).decode("utf-8"), phrases))
    return out


def textrank(stems: Sequence[str | None], window: int = 2) -> dict[str, float]:
    """PageRank (damping 0.85) on the graph of stems that stand less than `window` words apart.

    As in the paper stop words are removed before distances are counted; in place of its filter for nouns and adjectives
    all other words stay.
    """
    import networkx

    kept = [word for word in stems if word is not None]
    graph = networkx.Graph()
    graph.add_nodes_from(kept)
    for step in range(1, window):
        graph.add_edges_from((one, other) for one, other in zip(kept, kept[step:], strict=False) if one != other)
    return networkx.pagerank(graph, alpha=0.85) if kept else {}


def embedded() -> list[Document]:
    """Twelve short original texts with keyphrases; they show that the demo runs and say nothing about quality."""
    return [document(f"embedded-{n}", text, phrases.split("; ")) for n, (text, phrases) in enumerate(TEXTS)]


TEXTS = (
    (
        "A heat pump moves heat from cold air into a warm house. The compressor of a heat pump needs electric "
        "power, and the power it needs grows as the air gets colder. A buffer tank keeps the compressor from "
        "starting too often.",
        "heat pump; compressor; electric power; buffer tank",
    ),
    (
        "Bees find flowers by colour and by scent. A forager that has found nectar dances in the hive. The angle "
        "of the dance tells the other foragers the direction of the flowers, and its length tells the distance.",
        "forager; nectar; hive; dance; flowers",
    ),
    (
        "The glacier has lost a third of its ice since the first survey. Each summer the melt water carries fine "
        "sediment into the lake. Layers of sediment in the lake record the summers, warm ones as thick layers.",
        "glacier; melt water; sediment; lake; layers of sediment",
    ),
    (
        "A bridge of steel grows longer on a hot day. Expansion joints at both ends leave room for the steel to "
        "move. If dirt fills the expansion joints, the bearings of the bridge carry loads that nobody planned.",
        "bridge; steel; expansion joints; bearings",
    ),
    (
        "Sourdough rises because wild yeast and bacteria share the flour. The bacteria make acid, and the acid "
        "keeps mould away from the bread. A cool night slows the yeast more than the bacteria and makes the bread"
        " sour.",
        "sourdough; wild yeast; bacteria; acid; bread",
    ),
    (
        "The telescope splits the light of a star into a spectrum. Dark lines in the spectrum show which elements"
        " the star holds. When a planet pulls at the star, the dark lines move to and fro with the planet's "
        "orbit.",
        "telescope; spectrum; dark lines; planet; orbit",
    ),
    (
        "A queue at the ticket counter grows when people arrive faster than clerks can serve them. Near full load"
        " a small change of the arrival rate makes the waiting time many times longer. A second clerk cuts the "
        "waiting time most when the load is high.",
        "queue; arrival rate; waiting time; load",
    ),
    (
        "Violin makers choose spruce for the top plate. Spruce is stiff along the grain and light, so sound "
        "travels fast in it. The varnish adds damping, and too much varnish makes the violin dull.",
        "violin; spruce; top plate; varnish; damping",
    ),
    (
        "Salt marshes take the force out of storm waves. The stems of the grass slow the water, and sediment "
        "settles between the stems. Where a dike stands too near the sea, the salt marsh has no room to grow.",
        "salt marshes; storm waves; sediment; dike",
    ),
    (
        "The old mill turned its stones with a water wheel. A sluice let in as much water as the wheel could use."
        " In dry summers the miller closed the sluice by day and ground the grain at night.",
        "mill; water wheel; sluice; grain",
    ),
    (
        "A vaccine shows the immune system a harmless part of a virus. Memory cells keep the answer for years. "
        "When the real virus comes, the memory cells start the antibodies within days.",
        "vaccine; immune system; virus; memory cells; antibodies",
    ),
    (
        "Paper maps fold, but a map of a round earth never lies flat without error. Every projection keeps some "
        "things and bends others. A projection that keeps angles makes the far north look too large.",
        "map; projection; angles",
    ),
)
