import gzip
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genomics.sequences import Interval, Rules, SequenceFileError, SequenceRecord, read_bed, read_intervals

GENOME = ">chr1 the first\nACGTA\ncgtnn\n>chr2\nTTGACA\n"
BASE = str.maketrans("ACGTNacgtn", "TGCANtgcan")


@pytest.fixture
def write(tmp_path):
    def write(bed, genome=GENOME):
        paths = tmp_path / "a.bed", tmp_path / "genome.fa"
        for path, text in zip(paths, (bed, genome), strict=True):
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return paths

    return write


BED = """\
browser position chr1:1-10
track name=peaks
# a comment
chr2\t0\t3\tfirst\t0\t-

chr1\t3\t10\t.\t0\t+
chr2\t0\t3
chr1\t0\t5\tfourth\t960\t.\t1.5\t-1\t-1\t2
"""
EXPECTED = [
    SequenceRecord("chr2:0-3(-)", "CAA", "first", 4, Interval("chr2", 0, 3, "-")),
    SequenceRecord("chr1:3-10(+)", "TACGTNN", "", 6, Interval("chr1", 3, 10, "+")),
    SequenceRecord("chr2:0-3(.)", "TTG", "", 7, Interval("chr2", 0, 3, ".")),
    SequenceRecord("chr1:0-5(.)", "ACGTA", "fourth", 8, Interval("chr1", 0, 5, ".")),
]


def test_intervals_by_hand(write):
    bed, genome = write(BED)
    assert list(read_bed(bed, genome)) == EXPECTED
    assert [(line, interval) for line, interval, _ in read_intervals(bed)] == [(r.line, r.interval) for r in EXPECTED]


def test_soft_masking_is_kept_on_either_strand(write):
    found = read_bed(*write("chr1\t3\t8\ta\t0\t+\nchr1\t3\t8\ta\t0\t-\n"), Rules(case="keep"))
    assert [record.sequence for record in found] == ["TAcgt", "acgTA"]


@pytest.mark.parametrize("change", [gzip.compress, lambda text: text.replace(b"\n", b"\r\n")], ids=["gzip", "crlf"])
def test_gzip_and_crlf_make_no_difference(write, change):
    assert list(read_bed(*write(change(BED.encode()), change(GENOME.encode())))) == EXPECTED


@given(st.text("ACGTN", min_size=1, max_size=40), st.data())
def test_cut_letter_by_letter(tmp_path_factory, chromosome, data):
    folder = tmp_path_factory.mktemp("cut")
    start = data.draw(st.integers(0, len(chromosome) - 1))
    end = data.draw(st.integers(start + 1, len(chromosome)))
    (folder / "bed").write_text("".join(f"c {start} {end} x 0 {strand}\n" for strand in "+-"))
    (folder / "fa").write_text(f">c\n{chromosome}\n")
    plus, minus = (record.sequence for record in read_bed(folder / "bed", folder / "fa"))
    assert plus == "".join(chromosome[place] for place in range(start, end))
    assert minus == "".join(chromosome[place].translate(BASE) for place in range(end - 1, start - 1, -1))


@pytest.mark.parametrize(
    ("bed", "line", "message"),
    [
        ("", 1, "expected at least one record, got none"),
        ("# nothing\n", 1, "expected at least one record, got none"),
        ("chr1\t0\t5\nchr1\t0\t11\n", 2, "expected an end of at most 10 on chr1, got 11"),
        ("chr1\t0\t5\nchrX\t0\t1\n", 2, "expected a chromosome of"),
        ("chr1\t0\n", 1, "expected chrom, start and end, got ['chr1', '0']"),
        ("chr1\t-1\t5\n", 1, "expected start as a number from 0, got '-1'"),
        ("chr1\t0\t5e1\n", 1, "expected end as a number from 0, got '5e1'"),
        ("chrom\tstart\tend\n", 1, "expected start as a number from 0, got 'start'"),
        ("chr1\t0\t1_0\n", 1, "expected end as a number from 0, got '1_0'"),
        ("chr1\t5\t4\n", 1, "expected start <= end, got 5 > 4"),
        ("chr1\t0\t5\ta\t0\tplus\n", 1, "expected strand '+', '-' or '.', got 'plus'"),
        ("chr1\t4\t4\n", 1, "expected letters in record 'chr1:4-4(.)', got none"),
        ("chr1\t0\t5\nchr1\t0\t5\n", 2, "got 'chr1:0-5(.)' again (first on line 1)"),
    ],
)
def test_bed_that_is_refused(write, bed, line, message):
    bed, genome = write(bed)
    with pytest.raises(SequenceFileError, match=re.escape(message)) as caught:
        list(read_bed(bed, genome))
    assert str(caught.value).startswith(f"{bed}:{line}: ")


def test_everything_is_checked_before_the_first_record(write):
    with pytest.raises(SequenceFileError, match=":2: expected an end"):
        next(read_bed(*write("chr1\t0\t5\nchr2\t0\t7\n")))


@pytest.mark.parametrize(
    ("genome", "line", "message"),
    [
        (">chr1\nACGT\n>chr1\nACGT\n", 3, "got 'chr1' again"),
        (">chr1\nAC-T\n", 2, "got '-' in column 3"),
        ("", 1, "expected at least one record"),
    ],
)
def test_errors_of_the_genome_name_the_genome(write, genome, line, message):
    bed, genome = write("chr1\t0\t2\n", genome)
    with pytest.raises(SequenceFileError, match=message) as caught:
        list(read_bed(bed, genome, Rules(duplicates="allow")))
    assert str(caught.value).startswith(f"{genome}:{line}: ")


def test_rules_for_intervals(write):
    twice = read_bed(*write("chr1\t0\t2\nchr1\t0\t2\n"), Rules(duplicates="allow"))
    assert [record.sequence for record in twice] == ["AC", "AC"]
    gaps = read_bed(*write("chr1\t0\t4\n", ">chr1\nA-CG\n"), Rules(gaps="unknown"))
    assert [record.sequence for record in gaps] == ["ANCG"]
    with pytest.raises(ValueError, match="rules: expected gaps='refuse' or 'unknown' for a genome, got 'drop'"):
        read_bed(*write("chr1\t0\t2\n"), Rules(gaps="drop"))
