import gzip
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import matthews_corrcoef

from genomics.sequences.intervals import read_intervals
from genomics.sequences.records import SequenceFileError
from genomics.sites.records import Site, agreement, bed_line, read_sites, write_sites

SITES = [Site("chr1", 0, 5, "head0", 1000, "+"), Site("chr2", 7, 7, "a b", 0, "-"), Site("chr1", 3, 9, "x", 17, ".")]


def test_the_file_is_bed_6(tmp_path):
    path = tmp_path / "sites.bed"
    assert write_sites(iter(SITES), path) == 3
    assert path.read_bytes() == b"chr1\t0\t5\thead0\t1000\t+\nchr2\t7\t7\ta b\t0\t-\nchr1\t3\t9\tx\t17\t.\n"
    assert list(read_sites(path)) == SITES
    found = [(interval, name) for _, interval, name in read_intervals(path)]  # the reader of others' files
    assert found == [((s.chrom, s.start, s.end, s.strand), s.name) for s in SITES]


words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1)


@given(st.lists(st.tuples(words, st.integers(0, 10**9), st.integers(0, 99), words, st.integers(0, 1000))))
def test_what_is_written_is_read(tmp_path_factory, rows):
    sites = [Site(c, start, start + n, name, score, "+-."[n % 3]) for c, start, n, name, score in rows]
    sites = [site for site in sites if site.chrom not in ("track", "browser")]
    path = tmp_path_factory.mktemp("bed") / "s.bed.gz"
    write_sites(sites, path)
    assert list(read_sites(path)) == sites
    if sites:
        assert gzip.decompress(path.read_bytes()).decode() == "".join(map(bed_line, sites))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chrom": "chr 1"}, "an id without blanks"),
        ({"chrom": "#1"}, "does not read as a comment"),
        ({"start": 6}, "0 <= start <= end, got 6 and 5"),
        ({"start": -1}, "0 <= start <= end, got -1"),
        ({"name": "a\tb"}, "a name without tabs"),
        ({"name": ""}, "a name without tabs"),
        ({"score": 1001}, "whole score of 0 .. 1000, got 1001"),
        ({"score": 0.5}, "whole score of 0 .. 1000, got 0.5"),
        ({"strand": "x"}, "strand '\\+', '-' or '.', got 'x'"),
    ],
)
def test_what_bed_cannot_hold_leaves_the_old_file(tmp_path, change, message):
    path = tmp_path / "sites.bed"
    path.write_text("old")
    with pytest.raises(ValueError, match=message):
        write_sites([SITES[0], SITES[0]._replace(**change)], path)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\t0\t5\tn\t0", "expected 6 columns, got 5"),
        ("chr1 0 5 n 0 +", "expected 6 columns, got 1"),
        ("chr1\t-1\t5\tn\t0\t+", "start as a number from 0, got '-1'"),
        ("chr1\t0\t5\tn\t0.5\t+", "score as a number from 0, got '0.5'"),
        ("chr1\t9\t5\tn\t0\t+", "0 <= start <= end, got 9 and 5"),
        ("chr1\t0\t5\tn\t1001\t+", "0 .. 1000, got 1001"),
        ("chr1\t0\t5\tn\t0\t*", "got '\\*'"),
    ],
)
def test_errors_name_file_and_line(tmp_path, line, message):
    path = tmp_path / "sites.bed"
    path.write_text(f"# comment\ntrack name=x\n\nchr1\t0\t5\tn\t0\t+\n{line}\n")
    with pytest.raises(SequenceFileError, match=f"sites.bed:5: .*{message}"):
        list(read_sites(path))


def at(chrom, start, end):
    return Site(chrom, start, end, "x", 0, "+")


def test_agreement_by_hand():
    # Bases 10, of which true 2-5, predicted 4-8: TP 2, FN 2, FP 3, TN 3 (end exclusive: true 2..5, predicted 4..8).
    a = agreement([at("a", 4, 9)], [at("a", 2, 6)], {"a": 10})
    assert a.sensitivity == 2 / 4 and a.precision == 2 / 5
    assert a.correlation == pytest.approx((2 * 3 - 2 * 3) / math.sqrt(4 * 6 * 5 * 5))
    assert agreement([at("a", 2, 6)], [at("a", 2, 6)], {"a": 10, "b": 5}) == (1, 1, 1)
    nothing = agreement([], [at("a", 2, 6)], {"a": 10})
    assert math.isnan(nothing.correlation) and math.isnan(nothing.precision) and nothing.sensitivity == 0


def test_agreement_is_the_correlation_of_indicators():
    rng = np.random.default_rng(0)
    lengths = {"a": 300, "b": 200, "c": 100}
    draw = lambda n: [  # noqa: E731
        at(c, s, s + 12) for c in "ab" for s in rng.integers(0, lengths[c] - 12, n).tolist()
    ]
    predicted, true = draw(6), draw(5)
    flat = []
    for sites in (predicted, true):
        tracks = {c: np.zeros(n) for c, n in lengths.items()}
        for site in sites:
            tracks[site.chrom][site.start : site.end] = 1
        flat.append(np.concatenate(list(tracks.values())))
    got = agreement(predicted, true, lengths)
    assert got.correlation == pytest.approx(np.corrcoef(*flat)[0, 1])
    assert got.correlation == pytest.approx(matthews_corrcoef(flat[1], flat[0]))
    with pytest.raises(ValueError, match=r"predicted: expected sites within the sequences.*length 300"):
        agreement([at("a", 290, 301)], true, lengths)
    with pytest.raises(ValueError, match=r"true: expected sites within the sequences.*none of the sequences"):
        agreement(predicted, [at("z", 0, 1)], lengths)
