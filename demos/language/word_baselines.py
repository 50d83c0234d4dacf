"""What demos/core_sentence.py is compared with: the majority and logistic regressions on words."""

import statistics

from .sentences import Sentence


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
