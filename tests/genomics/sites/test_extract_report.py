import numpy as np
import pytest
from matplotlib.figure import Figure

from genomics.motifs.comparing import Match, MotifDatabase
from genomics.motifs.files import read_motifs
from genomics.motifs.matrices import Motif
from genomics.sequences.records import SequenceFileError
from genomics.sites.extract import HeadMotif, extract_motifs
from genomics.sites.extract_report import draw_heads, heads_table, is_found, named, read_extents, write_heads
from genomics.sites.genome_scan import Extent
from genomics.sites.mutagenesis import mutate_sites, site_profile

from ..toy_detector import ToyDetector, word_matrix
from .test_extract import WORD, planted


@pytest.fixture(scope="module")
def extracted():
    texts, _ = planted(80, 60, 0)
    model = ToyDetector([word_matrix(WORD), -abs(word_matrix(WORD))])
    rng = np.random.default_rng(4)
    others = [Motif(rng.dirichlet([0.3] * 4, 10) * 100, id=f"M{i}") for i in range(60)]
    database = MotifDatabase([*others, Motif.from_sites([WORD] * 20, id="W1.2", name="the word")])
    return model, texts, extract_motifs(model, texts, database=database)


def test_the_table(extracted):
    model, texts, heads = extracted
    effects = mutate_sites(model, texts, heads, np.random.default_rng(0))
    rows = [line.strip("| ").split(" | ") for line in heads_table(heads, effects).splitlines()]
    assert [len(row) for row in (rows[0], *rows[2:])] == [11, 11, 11]
    assert rows[2][:3] == ["0", str(len(heads[0].windows)), WORD] and rows[2][4] == "the word W1.2"
    assert float(rows[2][5]) == 1 and int(rows[2][6]) == 9 and float(rows[2][7]) < 0.01
    assert float(rows[2][8]) == pytest.approx(-effects[0].effect, abs=0.005) and float(rows[2][10]) < 1e-3
    assert rows[3] == ["1", "0"] + ["-"] * 9
    assert len(heads_table(heads).splitlines()[2].split("|")) == 10


def test_what_is_found():
    match = Match(Motif(np.eye(4)), 0, 1e-5, 1e-3, 0.005, 0, "+", 8, 0.95)
    assert is_found(match)
    assert not is_found(match._replace(q_value=0.01))
    assert not is_found(match._replace(correlation=0.89))
    assert not is_found(match._replace(overlap=7))


def test_the_files_come_back(extracted, tmp_path):
    _, _, heads = extracted
    files = write_heads(heads, tmp_path / "new")
    assert [path.name for path in files] == ["heads.tsv", "motifs.meme", "motifs.jaspar"]
    assert named(heads) == {"head0": "head0_the_word"}
    assert read_extents(files[0]) == {0: Extent("head0_the_word", -4, 9)}
    columns, row = (line.split("\t") for line in files[0].read_text().splitlines())
    assert dict(zip(columns, row, strict=True))["match_name"] == "the word"
    for path in files[1:]:
        (motif,) = read_motifs(path)
        assert (motif.id, motif.name) == ("head0", "the_word")
        np.testing.assert_allclose(motif.counts, heads[0].motif.counts, atol=1e-6)
    alone = [HeadMotif(0, heads[0].windows, heads[0].aligned, heads[0].motif, heads[0].start)]  # no database
    assert read_extents(write_heads(alone, tmp_path)[0]) == {0: Extent("head0", -4, 9)}
    assert [path.name for path in write_heads(heads[1:], tmp_path)] == ["heads.tsv"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "at least one head, got none"),
        ("head\tname\toffset\twidth\n", 1, "at least one head, got none"),
        ("a\tb\n", 1, "the columns head name offset width, got 'a b'"),
        ("head\tname\toffset\twidth\n0\tx\t-4\n", 2, "head, name, offset, width"),
        ("head\tname\toffset\twidth\n0\tx\t-4\tnine\n", 2, "head, name, offset, width"),
        ("head\tname\toffset\twidth\n0\tx\t-4\t9\n0\ty\t-4\t9\n", 3, "another head from 0"),
        ("head\tname\toffset\twidth\n0\tx\t-4\t0\n", 2, "a width from 1"),
    ],
)
def test_errors_of_heads_tsv_name_the_line(tmp_path, text, line, message):
    path = tmp_path / "heads.tsv"
    path.write_text(text)
    with pytest.raises(SequenceFileError, match=f"heads.tsv:{line}: .*{message}"):
        read_extents(path)


def test_the_picture(extracted, tmp_path):
    model, texts, heads = extracted
    profile = site_profile(model, texts, heads[0])
    figure = draw_heads(heads, profiles={"head0": profile}, captions={"head0": "as planted"}, title="toy")
    assert isinstance(figure, Figure)
    logo, bars, match = figure.subfigs[0].axes
    assert logo.get_title().splitlines()[1] == "as planted" and "the word W1.2" in match.get_title()
    heights = [bar.get_height() for bar in bars.patches]
    np.testing.assert_allclose(heights, -profile[heads[0].start : heads[0].start + 9])
    assert logo.get_xlim() == match.get_xlim() == (0.5, 9.5)
    figure.savefig(tmp_path / "x.png")
    assert len(draw_heads(heads).subfigs[0].axes) == 2
    with pytest.raises(ValueError, match="heads: expected at least one with a motif, got none"):
        draw_heads(heads[1:])
