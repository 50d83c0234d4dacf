import gzip
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genomics.detector.model import MotifDetector
from genomics.sequences.alphabet import decode, reverse_complement
from genomics.sequences.fasta_windows import fasta_windows
from genomics.sequences.records import Rules, SequenceFileError
from genomics.sites.genome_scan import Extent, judge, one_core_each, scan_fasta
from genomics.sites.records import Site, read_sites

from ..toy_detector import ToyDetector, word_matrix
from .test_extract import WORD


class Caller(ToyDetector):
    """P >= .5 where a window has the whole word: its logit is the score less 8.5."""

    def look(self, x, lengths=None):
        look = super().look(x, lengths)
        return look._replace(logits=look.logits - 8.5)


def letters(number, seed):
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), number))


def write(path, records, width=60):
    text = "".join(
        f">{id} x\n" + "".join(s[i : i + width] + "\n" for i in range(0, len(s), width)) for id, s in records
    )
    path.write_text(text)
    return path


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=3),
    window=st.integers(1, 50),
    part=st.floats(0.01, 1),
    batch=st.integers(1, 7),
    width=st.sampled_from([7, 60, 1000]),
)
def test_windows_are_those_of_the_definition(tmp_path_factory, sizes, window, part, batch, width):
    stride = max(1, int(part * window))
    records = [(f"c{i}", letters(n, i)) for i, n in enumerate(sizes)]
    path = write(tmp_path_factory.mktemp("fasta") / "g.fa", records, width)
    found = {id: [] for id, _ in records}
    bases, lasts = dict.fromkeys(found, 0), dict.fromkeys(found, 0)
    for block in fasta_windows(path, window, stride, batch_size=batch):
        assert len(block.starts) <= batch + 1 and block.values.shape[1:] == (window, 4)
        found[block.id] += zip(block.starts.tolist(), map(decode, block.values), strict=True)
        bases[block.id] += block.new
        lasts[block.id] += block.last
        assert bases[block.id] == block.bases and (not block.last or block.bases == len(dict(records)[block.id]))
    for id, text in records:
        starts = list(range(0, len(text) - window + 1, stride)) or [0]
        if starts[-1] + window < len(text):
            starts.append(len(text) - window)
        assert found[id] == [(s, text[s : s + window]) for s in starts]
    assert bases == {id: len(text) for id, text in records} and set(lasts.values()) == {1}


def test_runs_of_n_are_left_out_and_short_sequences_padded(tmp_path):
    path = write(tmp_path / "g.fa", [("a", "ACGTACGTAC" + "N" * 30 + "ACGTACGTAC"), ("b", "ACG"), ("c", "ANN")])
    blocks = list(fasta_windows(path, 10, 5))
    assert [block.starts.tolist() for block in blocks] == [[0, 5, 35, 40], [0], []]  # half of 5 and of 35 is known
    assert [None if b.lengths is None else b.lengths.tolist() for b in blocks] == [None, [3], [3]]
    (b, *_) = (block for block in blocks if block.id == "b")
    assert decode(b.values[0]) == "ACG" and not b.values[0, 3:].any()
    assert [block.new for block in blocks] == [50, 3, 3]


def test_sites_are_those_of_the_word(tmp_path):
    """Every occurrence on either strand, once, sorted, whatever the windows that show it; against str.find."""
    rng = np.random.default_rng(0)
    records = []
    for id, size in (("chr1", 5000), ("chr2", 31), ("chr3", 700)):
        text = letters(size, size)
        for start in rng.choice(size // 25, size // 50, replace=False) * 25:
            text = text[:start] + (WORD if rng.random() < 0.5 else reverse_complement(WORD)) + text[start + 9 :]
        records.append((id, text))
    expected = []
    for id, text in records:
        for word, strand in ((WORD, "+"), (reverse_complement(WORD), "-")):
            expected += [(id, s, s + 9, strand) for s in range(len(text) - 8) if text[s : s + 9] == word]
    expected.sort(key=lambda site: (int(site[0][3:]), site[1]))
    assert len(expected) > 90
    path = write(tmp_path / "g.fa", records)
    model = Caller([word_matrix(WORD)], sharpness=2.0)
    files = []
    for stride, batch, threads in ((1, 16, 1), (12, 5, 1), (12, 64, 3)):
        out = tmp_path / f"{stride}_{batch}.bed.gz"
        options = {"threshold": 0.5, "share": 1e-3, "extents": {0: Extent("word", -4, 9)}, "threads": threads}
        seen = []
        summary = scan_fasta(
            model, path, out, window=30, stride=stride, batch_size=batch, progress=seen.append, **options
        )
        found = list(read_sites(out))
        assert [(s.chrom, s.start, s.end, s.strand) for s in found] == expected
        assert {s.name for s in found} == {"word"} and all(500 <= s.score <= 1000 for s in found)
        assert summary.bases == sum(seen) == 5731 and summary.sites == len(found) <= summary.called < summary.windows
        files.append(gzip.decompress(out.read_bytes()))
    assert files[1] == files[2] and torch.get_num_threads() > 0


def test_sites_without_extents_are_the_flanks_of_the_peak(tmp_path):
    text = "T" * 3 + WORD + "T" * 40 + reverse_complement(WORD) + "T" * 4
    path = write(tmp_path / "g.fa", [("x", text)])
    scan_fasta(Caller([word_matrix(WORD)]), path, tmp_path / "s.bed", window=30, threshold=0.5, flank=9)
    probability = round(1000 / (1 + np.exp(-0.5)))
    assert list(read_sites(tmp_path / "s.bed")) == [
        Site("x", 0, 17, "head0", probability, "+"),
        Site("x", 47, 65, "head0", probability, "-"),
    ]


def test_a_head_without_extent_makes_no_site(tmp_path):
    path = write(tmp_path / "g.fa", [("x", "T" * 20 + WORD + "T" * 20)])
    model = Caller([word_matrix(WORD), word_matrix("T" * 9)])
    two = scan_fasta(model, path, tmp_path / "s.bed", window=30, threshold=0, share=0.1)
    one = scan_fasta(
        model, path, tmp_path / "t.bed", window=30, threshold=0, share=0.1, extents={1: Extent("T", -4, 9)}
    )
    assert {site.name for site in read_sites(tmp_path / "s.bed")} == {"head0", "head1"}
    assert {site.name for site in read_sites(tmp_path / "t.bed")} == {"T"} and one.called == two.called


def test_the_track_covers_each_base_once_with_the_probability_of_its_window(tmp_path):
    records = [("a", letters(333, 0)), ("b", letters(12, 1)), ("c", letters(60, 2))]
    path = write(tmp_path / "g.fa", records)
    torch.manual_seed(0)
    model = MotifDetector(features=16, filters=8, depth=1, encoder_heads=2, heads=3)
    track = tmp_path / "p.bedgraph"
    for batch in (3, 100):
        scan_fasta(model, path, tmp_path / "s.bed", window=40, stride=15, bedgraph=track, batch_size=batch)
        rows = [line.split("\t") for line in track.read_text().splitlines()]
        for id, text in records:
            mine = [(int(s), int(e), float(p)) for c, s, e, p in rows if c == id]
            assert mine[0][0] == 0 and mine[-1][1] == len(text)
            assert all(a[1] == b[0] for a, b in pairwise(mine))
            for start, end, p in mine[1:-1]:
                first = start - 12  # the window's middle 15 of 40 bases
                window = text[first : first + 40]
                blocks = fasta_windows(write(tmp_path / "one.fa", [("x", window)]), 40, 40)
                ((_, alone, _),) = judge(model, blocks)
                assert end - start == 15 and p == pytest.approx(float(alone), rel=2e-3)
    assert model.training and not torch.is_inference_mode_enabled()


def test_the_track_leaves_out_what_was_not_judged(tmp_path):
    path = write(tmp_path / "g.fa", [("a", "N" * 40 + letters(60, 0) + "N" * 45), ("b", letters(7, 1))])
    torch.manual_seed(0)
    model, track = MotifDetector(features=16, filters=8, depth=0, heads=3), tmp_path / "p.bedgraph"
    scan_fasta(model, path, tmp_path / "s.bed", window=20, stride=10, bedgraph=track)
    rows = [line.split("\t")[:3] for line in track.read_text().splitlines()]
    # Windows at 30 (half of it N) to 90 are judged: their middle 10 bases are 35 .. 105.
    assert rows[0][:2] == ["a", "35"] and rows[-2][2] == "105" and rows[-1] == ["b", "0", "7"]
    assert len(rows) == 8


def test_memory_does_not_grow_with_the_sequence(tmp_path):
    """Peak of Python's and NumPy's own memory at 50 kb and at 500 kb; a sequence held as text would add 450 kB."""

    class Blind(torch.nn.Module):
        def forward(self, x, lengths=None):
            return x.new_zeros(len(x)) - 9

    peaks = []
    for size in (50_000, 500_000):
        path = write(tmp_path / "g.fa", [("x", "ACGT" * (size // 4))])
        tracemalloc.start()
        summary = scan_fasta(Blind(), path, tmp_path / "s.bed", window=100, stride=50, batch_size=64)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert summary.bases == size
    assert peaks[1] < peaks[0] + 100_000


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "at least one record, got none"),
        ("ACGT\n", 1, "expected a title after '>', got 'ACGT'"),
        (">\nACGT\n", 1, "an id after '>', got nothing"),
        (">a\nACGT\nACXT\n", 3, "IUPAC codes of DNA, got 'X' in column 3"),
        (">a\nACGT\n>b\nA\n>a\nACGT\n", 5, "ids that differ, got 'a' again \\(first on line 1\\)"),
    ],
)
def test_errors_name_file_and_line_and_leave_no_file(tmp_path, text, line, message):
    path = tmp_path / "g.fa"
    path.write_text(text)
    with pytest.raises(SequenceFileError, match=f"g.fa:{line}: .*{message}"):
        scan_fasta(Caller([word_matrix("A")]), path, tmp_path / "s.bed", window=3, bedgraph=tmp_path / "p.bedgraph")
    assert [file.name for file in tmp_path.iterdir()] == ["g.fa"]


def test_empty_records_are_left_out_unless_refused(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text(">a\n>b\n\nACGT\n>c\n")
    assert [block.id for block in fasta_windows(path, 4, 2)] == ["b"]
    with pytest.raises(SequenceFileError, match=r"g.fa:1: expected letters in record 'a', got none"):
        list(fasta_windows(path, 4, 2, rules=Rules()))
    path.write_text(">b\nACGT\n>c\n")
    with pytest.raises(SequenceFileError, match=r"g.fa:3: expected letters in record 'c', got none"):
        list(fasta_windows(path, 4, 2, rules=Rules()))


def test_numbers_out_of_range(tmp_path):
    path, model = write(tmp_path / "g.fa", [("a", "ACGT")]), Caller([word_matrix("A")])
    for options, message in (
        ({"window": 0, "stride": 1}, "window: expected at least 1, got 0"),
        ({"window": 5, "stride": 0}, "stride: expected at least 1, got 0"),
        ({"window": 5, "stride": 6}, "stride: expected at most the window, 5, got 6"),
        ({"window": 5, "batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"window": 5, "threshold": 1.5}, "threshold: expected 0 .. 1, got 1.5"),
        ({"window": 5, "share": 0}, "share: expected above 0 and at most 1, got 0"),
        ({"window": 5, "threads": 0}, "threads: expected at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            scan_fasta(model, path, tmp_path / "s.bed", **options)
    with pytest.raises(ValueError, match=r"most_unknown: expected 0 .. 1, got 2"):
        list(fasta_windows(path, 4, 2, most_unknown=2))


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with one_core_each(2):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
