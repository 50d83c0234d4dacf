"""What the language demos rely on: words, reading and scoring GAP, stems, rankings, the drawn sentences."""

import sys
import zipfile
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "demos"))  # the demos are scripts, not a package

from language.gap import COLUMNS, FIRST, NEITHER, SECOND, Item, embedded, gap_score, nearest, read_gap, titled
from language.sentences import TEST_SETS, TOPICS, draw_bank, draw_it, draw_plain, minimal_pairs
from language.words import PAD, UNKNOWN, TextEncoder, Vocabulary, pad, tokenise

TEXT = "Ann's dog met Bo. She didn't well-known."


def item(answer, feminine=True, names=((0,), (3,)), pronoun=5, page="x"):
    words = ["Ann", "met", "with", "Bo", ".", "She" if feminine else "He", "sang"]
    return Item(words, pronoun, tuple(map(list, names)), answer, page)


def test_words_and_their_places():
    words = ["Ann", "'s", "dog", "met", "Bo", ".", "She", "didn't", "well-known", "."]
    tokens = tokenise(TEXT)
    assert [token.text for token in tokens] == words
    assert all(TEXT[token.start :].startswith(token.text) for token in tokens)


def test_vocabulary_keeps_frequent_words_in_order():
    vocabulary = Vocabulary([["b", "a", "B"], ["c", "a", "b"]], minimum=2)
    assert vocabulary.words[3:] == ["b", "a"] and len(vocabulary) == 5
    assert pad([vocabulary.ids(["A", "c"]), [3]]).tolist() == [[4, UNKNOWN], [3, PAD]]


def test_text_encoder_ignores_padding():
    torch.manual_seed(0)
    model = TextEncoder(9, 8, 1, 2).eval()
    long, short = torch.tensor([[3, 4, 5, 0], [6, 7, 8, 3]]), torch.tensor([[3, 4, 5]])
    torch.testing.assert_close(model(long)[:1, :3], model(short))
    assert model(long)[0, 3].count_nonzero() == 0


def write_gap(path, **changes):
    fields = {
        "ID": "test-1", "Text": TEXT, "Pronoun": "She", "Pronoun-offset": "18", "A": "Ann", "A-offset": "0",
        "A-coref": "TRUE", "B": "Bo", "B-offset": "14", "B-coref": "FALSE", "URL": "http://x.org/Bo",
    }  # fmt: skip
    path.write_text("\t".join(COLUMNS) + "\n" + "\t".join({**fields, **changes}[name] for name in COLUMNS) + "\n")
    return path


def test_gap_is_read(tmp_path):
    (read,) = read_gap(write_gap(tmp_path / "gap.tsv"))
    assert (read.pronoun, read.names, read.answer, read.feminine) == (6, ([0], [4]), FIRST, True)
    (read,) = read_gap(write_gap(tmp_path / "gap.tsv", **{"A-coref": "FALSE"}))
    assert read.answer == NEITHER


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"A-offset": "1"}, "gap.tsv, line 2: A-offset: expected 'Ann' there, got \"nn'\""),
        ({"B-coref": "TRUE"}, "expected TRUE for one at most, else FALSE, got TRUE, TRUE"),
        ({"Pronoun": "Sh"}, "Pronoun: expected one of she, her, hers, he, him, his, got 'Sh'"),
    ],
)
def test_gap_errors_name_the_line(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_gap(write_gap(tmp_path / "gap.tsv", **changes))
    (tmp_path / "bare.tsv").write_text("ID\tText\n")
    with pytest.raises(ValueError, match="missing Pronoun"):
        read_gap(tmp_path / "bare.tsv")


def test_gap_score_by_hand():
    """Feminine: one hit, one said where neither is true: F1 = 2 / (2 + 1). Masculine: a wrong name: F1 = 0."""
    items = [item(FIRST), item(NEITHER), item(SECOND, feminine=False), item(NEITHER, feminine=False)]
    score = gap_score(items, [FIRST, FIRST, FIRST, NEITHER])
    assert score.feminine == pytest.approx(2 / 3) and score.masculine == 0
    assert score.f1 == pytest.approx(2 / (3 + 2)) and score.accuracy == 0.5
    perfect = gap_score(items, [one.answer for one in items])
    assert perfect == (1, 1, 1, 1) and perfect.bias == 1
    with pytest.raises(ValueError, match="one for each of 4 items, got 1"):
        gap_score(items, [FIRST])


def test_gap_score_against_scikit_learn():
    f1_score = pytest.importorskip("sklearn.metrics").f1_score
    draw = torch.Generator().manual_seed(0)
    truth, said = torch.randint(3, (2, 60), generator=draw).tolist()
    score = gap_score([item(answer) for answer in truth], said)
    names = [[a == name for a in answers for name in (FIRST, SECOND)] for answers in (truth, said)]
    assert score.f1 == pytest.approx(f1_score(*names))


def test_nearest_and_titled_names():
    assert nearest(item(FIRST)) == SECOND
    assert nearest(item(FIRST, names=((4,), (6,)))) == FIRST  # a tie
    assert titled(item(FIRST, page="en/Ann_Lee")) == FIRST
    assert titled(item(FIRST, page="en/Nobody")) == SECOND


def test_embedded_texts_are_balanced_and_sound():
    items = embedded(60, seed=3)
    assert sum(one.feminine for one in items) == 30
    assert {one.answer for one in items} == {NEITHER, FIRST, SECOND}
    assert all(one.words[one.names[0][0]] != one.words[one.names[1][0]] for one in items)
    assert items == embedded(60, seed=3)


@pytest.mark.parametrize("part", TEST_SETS)
def test_drawn_sentences_hold_out_what_they_say(part):
    generator = torch.Generator().manual_seed(0)
    training = {word for s in draw_it("train", 2000, generator) for word in s.words}
    plain = {word for words in draw_plain(2000, generator) for word in words}
    assert not plain & {"it", "bank"}
    for topic in TOPICS:
        for sentence in draw_it(part, 50, generator, (topic,)):
            nouns = {sentence.words[i] for i in sentence.candidates}
            new = set(sentence.words) - training
            assert sentence.words[sentence.at] == "it" and len(nouns) == 2 and sentence.answer in (0, 1)
            if part == "held-out nouns":
                assert new == nouns and not nouns & plain
            elif part == "held-out adjectives":
                assert len(new) == 1 and new <= plain and sentence.words[-1] in new | nouns | training
            else:
                assert not new


def test_two_banks_of_a_sentence_have_their_own_senses():
    asked = draw_bank("train", 400, torch.Generator().manual_seed(0))
    assert all(sentence.words[sentence.at] == "bank" for sentence in asked)
    double = [s for s in asked if s.words.count("bank") == 2]
    assert double and {0, 1} == {s.answer for s in double}


def test_minimal_pairs_differ_in_one_word_and_in_the_answer():
    for _, one, other in minimal_pairs():
        assert sum(a != b for a, b in zip(one.words, other.words, strict=True)) == 1
        assert (one.answer, other.answer) == (0, 1)


def test_stems():
    pytest.importorskip("sklearn")
    from language.keyphrases import keyword_stem, stem

    cases = {"batteries": "battery", "Layers": "layer", "gases": "gase", "glass": "glass", "virus": "virus"}
    cases |= {"heroes": "heroe", "degrees": "degree", "goes": "goe"}
    assert {word: stem(word) for word in cases} == cases
    assert [keyword_stem(word) for word in ("The", "of", "12", "x1", "TiO2", "Bridges")] == [
        None, None, None, None, "tio2", "bridge",
    ]  # fmt: skip


def test_documents_of_a_zip(tmp_path):
    pytest.importorskip("sklearn")
    from language.keyphrases import read_keyphrases

    with zipfile.ZipFile(tmp_path / "keys.zip", "w") as archive:
        archive.writestr("X/docsutf8/a.txt", "A steel bridge is long. Bridges rise!")
        archive.writestr("X/keys/a.key", "steel bridges\nthe sea\n")
    (read,) = read_keyphrases(tmp_path / "keys.zip")
    assert read.stems == [None, "steel", "bridge", None, "long", None, "bridge", "rise", None]
    assert read.phrases == {("steel", "bridge"), ("sea",)} and read.keywords == {"steel", "bridge"}
    assert read.sentences() == [(0, 6), (6, 9)]
    assert read.candidates() == {("steel", "bridge"), ("long",), ("bridge", "rise")}
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("X/docsutf8/a.txt", "A text.")
    with pytest.raises(ValueError, match=r"expected X/keys/a\.key beside X/docsutf8/a\.txt, got none"):
        read_keyphrases(tmp_path / "bad.zip")


def test_textrank_on_a_path_of_three():
    """a - b - c with damping d: r_b = (1 - d) / 3 + d (r_a + r_c), r_a = (1 - d) / 3 + d r_b / 2."""
    pytest.importorskip("networkx")
    from language.keyphrases import textrank

    ranks = textrank(["a", None, "b", "c"])
    middle = (0.05 + 0.85 * 0.1) / (1 - 0.85**2)
    assert ranks == pytest.approx({"a": 0.05 + 0.425 * middle, "b": middle, "c": 0.05 + 0.425 * middle}, abs=1e-5)
    assert textrank([None]) == {}


def test_a_ranking_is_scored_by_hand():
    pytest.importorskip("sklearn")
    from language.keyphrases import document
    from language.ranking import evaluate

    text = document("t", "red fox and grey wolf. They sleep. A wolf and a hare.", ["grey wolf", "hare"])
    ranking = {"wolf": 5.0, "red": 4.0, "hare": 3.0, "grey": 2.0, "fox": 1.0, "sleep": 0.0}
    scores = evaluate([text], [ranking])
    assert scores.average_precision == [pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)]
    assert scores.precision == [0.5] and scores.recall == [1.0] and scores.f1 == [pytest.approx(6 / 9)]
    assert scores.phrase_f1 == [pytest.approx(2 * 2 / (5 + 2))]  # two of: red fox, grey wolf, sleep, wolf, hare
    assert scores.covered == [1.0]


def test_marks_of_words():
    from language.resolver import marks

    role, shape, count, sentence = marks(item(FIRST))  # Ann met with Bo . She sang
    assert role == [2, 0, 0, 2, 0, 1, 0]
    assert shape == [4, 0, 0, 5, 1, 4, 0]
    assert count == [1, 0, 0, 1, 0, 1, 0]
    assert sentence == [2, 2, 2, 2, 2, 3, 3]


def test_resolver_answers_with_weights_and_knows_no_order_of_names():
    """The probabilities sum to 1; to call the names B and A in place of A and B only swaps theirs; padding is inert."""
    from language.resolver import Resolver, encode

    torch.manual_seed(0)
    vocabulary = Vocabulary([item(FIRST).words])
    model = Resolver(len(vocabulary)).eval()
    one, swapped = item(FIRST), item(SECOND, names=((3,), (0,)))
    longer = one._replace(words=[*one.words, "and", "met", "Bo"])
    with torch.no_grad():
        alone, on_names = model(encode([one], vocabulary))
        both, _ = model(encode([one, longer], vocabulary))
        turned, _ = model(encode([swapped], vocabulary))
    torch.testing.assert_close(alone.sum(1), torch.ones(1))
    torch.testing.assert_close(both[:1], alone)
    torch.testing.assert_close(turned[:, [0, 2, 1]], alone)
    torch.testing.assert_close(on_names[:, -4:].mean(1), alone[:, 1:])
