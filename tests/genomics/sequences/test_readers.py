import gzip
import os
import re
import threading

import pytest
from Bio import SeqIO
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord
from hypothesis import given
from hypothesis import strategies as st

from genomics.sequences import (
    Rules,
    SequenceFileError,
    SequenceRecord,
    read_deepbind,
    read_fasta,
    read_fastq,
    read_genbank,
    read_sequences,
)


@pytest.fixture
def write(tmp_path):
    def write(content, name="file"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def refused(read, path, line, message):
    with pytest.raises(SequenceFileError, match=re.escape(message)) as caught:
        list(read(path))
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert (caught.value.path, caught.value.line) == (str(path), line)


def pairs(records):
    return [(record.id, record.sequence) for record in records]


FASTA = ">one first  of two\nACGT\nacgn\n\n>two\nRYSW \n"


def test_fasta_by_hand(write):
    assert list(read_fasta(write(FASTA))) == [
        SequenceRecord("one", "ACGTACGN", "first  of two", 1),
        SequenceRecord("two", "RYSW", "", 5),
    ]
    assert pairs(read_fasta(write(FASTA), Rules(case="keep")))[0] == ("one", "ACGTacgn")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"\n", b"\r"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: b"\n\n" + text,
        lambda text: text.rstrip(),
        gzip.compress,
        lambda text: gzip.compress(text[:20]) + gzip.compress(text[20:]),  # members one after another, as bgzip writes
    ],
    ids=["crlf", "cr", "bom", "blank", "no end of line", "gzip", "bgzip"],
)
@pytest.mark.parametrize("name", ["a.fa", "a.gz"])
def test_ends_of_lines_marks_and_gzip_make_no_difference(write, change, name):
    path = write(change(FASTA.encode()), name)
    assert pairs(read_fasta(path)) == pairs(read_sequences(path)) == [("one", "ACGTACGN"), ("two", "RYSW")]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "expected at least one record, got none"),
        ("\n \n", 1, "expected at least one record, got none"),
        ("ACGT\n", 1, "expected a title after '>', got 'ACGT'"),
        (">a\nAC\n>\nAC\n", 3, "expected an id after '>', got nothing"),
        (">a\nAC\nACGUA\n", 3, "got 'U' in column 4 of the sequence: RNA? uracil='thymine'"),
        (">a\nAC-G\n", 2, "got '-' in column 3 of the sequence: an alignment?"),
        (">a\nAC..\n", 2, "got '.' in column 3 of the sequence: an alignment?"),
        (">a\nACG*\n", 2, "got '*' in column 4 of the sequence: a protein?"),
        (">a\nMKVLE\n", 2, "got 'L' in column 4 of the sequence: a protein?"),
        (">a\nACGT ACGT\n", 2, "got ' ' in column 5 of the sequence: blanks inside"),
        (">a\nAC\n;comment\n", 3, "got ';' in column 1"),
        (">a\nAC\0\n", 2, "got '\\x00' in column 3"),
        (">a\nACß\n", 2, "got 'ß' in column 3"),
        (">a\n>b\nAC\n", 1, "expected letters in record 'a', got none; empty='skip'"),
        (">a\nAC\n>b\n", 3, "expected letters in record 'b', got none"),
        (">a\nAC\n>b\nAC\n>a x\nGG\n", 5, "got 'a' again (first on line 1); duplicates='allow'"),
    ],
)
def test_fasta_that_is_refused(write, text, line, message):
    refused(read_fasta, write(text), line, message)


def test_rules_accept_what_they_name(write):
    assert pairs(read_fasta(write(">a\nACuU\n"), Rules(case="keep", uracil="thymine"))) == [("a", "ACtT")]
    assert pairs(read_fasta(write(">a\nA-C.G\n"), Rules(gaps="drop"))) == [("a", "ACG")]
    assert pairs(read_fasta(write(">a\nA-C.G\n"), Rules(gaps="unknown"))) == [("a", "ANCNG")]
    text = ">a\nAC\n>b\n>a\nGG\n"
    assert pairs(read_fasta(write(text), Rules(empty="skip", duplicates="allow"))) == [("a", "AC"), ("a", "GG")]
    assert pairs(read_fasta(write(text), Rules(empty="keep", duplicates="allow")))[1] == ("b", "")
    assert pairs(read_fasta(write(">a\n--\n"), Rules(gaps="drop", empty="keep"))) == [("a", "")]
    refused(lambda path: read_fasta(path, Rules(gaps="drop")), write(">a\n--\n"), 1, "expected letters in record 'a'")


@pytest.mark.parametrize("name", ["case", "uracil", "gaps", "empty", "duplicates"])
def test_rules_refuse_other_words(name):
    with pytest.raises(ValueError, match=rf"{name}: expected one of .*, got 'guess'"):
        Rules(**{name: "guess"})


def test_records_are_streamed(write):
    records = read_fasta(write(">a\nAC\n>b\nGT\n>c\nA!\n"))
    assert pairs([next(records)]) == [("a", "AC")]  # the error further on has not been met
    with pytest.raises(SequenceFileError, match=":6: "):
        list(records)


@given(st.lists(st.text("ACGTNRYacgt", min_size=1, max_size=200), min_size=1, max_size=5))
def test_what_biopython_writes_is_read(tmp_path_factory, sequences):
    path = tmp_path_factory.mktemp("round") / "file"
    written = [
        SeqRecord(Seq(text), f"id{k}", "", f"text {k}", annotations={"molecule_type": "DNA"})
        for k, text in enumerate(sequences)
    ]
    for form in ("fasta", "genbank"):
        SeqIO.write(written, path, form)
        found = list(read_sequences(path))
        assert pairs(found) == [(f"id{k}", text.upper()) for k, text in enumerate(sequences)]
        assert [record.description for record in found] == [f"text {k}" for k in range(len(sequences))]
        starts = [k for k, line in enumerate(path.read_text().splitlines(), 1) if line[:1] in (">", "L")]
        assert [record.line for record in found] == starts


FASTQ = "@r1 lane 1\nACGN\n+\n!I~@\n@r2\nAC\nGT\n+r2\n@I\nII\n"


def test_fastq_by_hand(write):
    assert list(read_fastq(write(FASTQ))) == [
        SequenceRecord("r1", "ACGN", "lane 1", 1, quality=bytes([0, 40, 93, 31])),
        SequenceRecord("r2", "ACGT", "", 5, quality=bytes([31, 40, 40, 40])),
    ]
    assert [list(record.quality) for record in read_fastq(write("@r\nAC\n+\n@h\n"), offset=64)] == [[0, 40]]
    dropped = read_fastq(write("@r\nA-C\n+\n!#I\n"), Rules(gaps="drop"))
    assert [(record.sequence, list(record.quality)) for record in dropped] == [("AC", [0, 40])]
    assert pairs(read_sequences(write(gzip.compress(FASTQ.encode())))) == [("r1", "ACGN"), ("r2", "ACGT")]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "expected at least one record"),
        (
            "@r1\nAC\n+\nII\n@r2\nACGT\n+\nII\n",
            5,
            "on line 8: Lengths of sequence and quality values differs for r2 (4 and 2)",
        ),
        ("@r1\nAC\n+\nII\n@r2\nACGT\n+\n", 5, "on line 7: Unexpected end of file"),
        ("@r1\nAC\n+\nII\n@r2\nACGT\n", 5, "on line 6: End of file without quality information"),
        ("@r1\nAC\n+\nII\n@r2\n", 5, "on line 5: Unexpected end of file"),
        ("@r1\nAC\n+\nIII\n", 1, "differs for r1 (2 and 3)"),
        ("@r1\nAC\n+r2\nII\n", 1, "captions differ"),
        ("ACGT\n", 1, "should start with '@'"),
        ("@r1\nAU\n+\nII\n", 1, "got 'U' in column 2"),
        ("@r1\nAC\n+\n\x1fI\n", 1, "expected quality codes '!' .. '~' (offset=33), got '\\x1f'"),
        ("@r1\n\n+\n\n", 1, "expected letters in record 'r1', got none"),
        ("@r1\nAC\n+\nII\n@r1\nAC\n+\nII\n", 5, "got 'r1' again (first on line 1)"),
        ("@\nAC\n+\nII\n", 1, "expected an id after '@', got nothing"),
    ],
)
def test_fastq_that_is_refused(write, text, line, message):
    refused(read_fastq, write(text), line, message)


def test_fastq_offset_that_is_refused(write):
    refused(lambda path: read_fastq(path, offset=64), write("@r1\nAC\n+\nh5\n"), 1, "(offset=64), got '5'")
    with pytest.raises(ValueError, match="offset: expected 33 or 64, got 59"):
        read_fastq(write(FASTQ), offset=59)


GENBANK = """\
LOCUS       X1                        14 bp    DNA     linear   BCT 01-JAN-2020
DEFINITION  A short
            sequence.
ACCESSION   X1
VERSION     X1.2
FEATURES             Location/Qualifiers
     source          1..14
                     /organism="none"
ORIGIN
        1 acgtacgtnn acgt
//
LOCUS       X2                         4 bp    RNA     linear   BCT 01-JAN-2020
DEFINITION  .
ACCESSION   X2
VERSION     X2.1
ORIGIN
        1 rysw
//
"""


def test_genbank_by_hand(write):
    expected = [
        SequenceRecord("X1.2", "ACGTACGTNNACGT", "A short sequence", 1),
        SequenceRecord("X2.1", "RYSW", "", 12),
    ]
    assert list(read_genbank(write(GENBANK))) == expected
    assert list(read_sequences(write(gzip.compress(GENBANK.replace("\n", "\r\n").encode())))) == expected
    assert list(read_genbank(write("Genetic Sequence Data Bank\n\n" + GENBANK)))[1].line == 14


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (lambda text: text.replace("rysw", "ryswa"), 12, "Expected sequence length 4, found 5"),
        (lambda text: text[: text.index("        1 rysw")], 12, "Premature end of file"),
        (lambda text: text[:-3], 12, "on line 17: Premature end of file"),
        (lambda text: text[: text.index("FEATURES") + 30], 1, "expected a GenBank record"),
        (lambda text: text.replace("     source", "     \nsource"), 1, "on line 8: string index out of range"),
        (lambda text: text.replace("rysw", "rysu"), 12, "got 'U' in column 4"),
        (lambda text: text.replace("rysw", "rys*"), 12, "got '*' in column 4"),
        (lambda text: text.replace("X2.1", "X1.2").replace("X2", "X1"), 12, "got 'X1.2' again (first on line 1)"),
        (
            lambda text: text.replace("ORIGIN\n        1 rysw\n", "CONTIG      join(Y1.1:1..4)\n"),
            12,
            "expected a sequence under ORIGIN, got none",
        ),
        (lambda text: "", 1, "expected at least one record"),
        (lambda text: "no record\n", 1, "expected at least one record"),
    ],
)
def test_genbank_that_is_refused(write, change, line, message):
    refused(read_genbank, write(change(GENBANK)), line, message)


DEEPBIND = "FoldID\tEventID\tseq\tBound\nA\tpeak1\tACGT\t1\nB\tshuf1\tnnAC\t0.5\n"


def test_deepbind_by_hand(write):
    expected = [
        SequenceRecord("peak1", "ACGT", "A", 2, label=1.0),
        SequenceRecord("shuf1", "NNAC", "B", 3, label=0.5),
    ]
    assert list(read_deepbind(write(DEEPBIND))) == expected
    assert list(read_sequences(write(gzip.compress(DEEPBIND.replace("\n", "\r\n").encode()), "x.txt"))) == expected


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "expected at least one record"),
        ("FoldID\tEventID\tseq\tBound\n", 1, "expected at least one record"),
        ("A\tpeak1\tACGT\t1\n", 1, "expected the header 'FoldID\\tEventID\\tseq\\tBound', got 'A\\tpeak1\\tACGT\\t1'"),
        (DEEPBIND + "A\tx\tACGT\n", 4, "expected 4 columns, got 3 in 'A\\tx\\tACGT'"),
        (DEEPBIND + "A\tx\tACGT\t1\t2\n", 4, "expected 4 columns, got 5"),
        (DEEPBIND + "A\tx\tACGT\tyes\n", 4, "expected a finite number in column Bound, got 'yes'"),
        (DEEPBIND + "A\tx\tACGT\tnan\n", 4, "expected a finite number in column Bound, got 'nan'"),
        (DEEPBIND + "A\t\tACGT\t1\n", 4, "expected an id in column EventID"),
        (DEEPBIND + "A\tx\tAC-T\t1\n", 4, "got '-' in column 3"),
        (DEEPBIND + "A\tx\t\t1\n", 4, "expected letters in record 'x', got none"),
        (DEEPBIND + "\nA\tpeak1\tA\t1\n", 5, "got 'peak1' again (first on line 2)"),
    ],
)
def test_deepbind_that_is_refused(write, text, line, message):
    refused(read_deepbind, write(text), line, message)


def test_gzip_that_is_truncated_or_damaged(write):
    text = "".join(f">s{k}\n{'ACGT' * 20}\n" for k in range(2000)).encode()
    whole = gzip.compress(text)
    path = write(whole[: len(whole) // 2])
    with pytest.raises(SequenceFileError, match="expected the rest of a gzip file, got its end") as caught:
        list(read_fasta(path))
    assert caught.value.line > 100
    refused(read_fasta, write(whole[:-4]), 4001, "expected the rest of a gzip file")
    refused(read_fasta, write(whole[:-8] + bytes(8)), 4001, "expected sound gzip, got CRC check failed")
    refused(read_fasta, write(whole[:5]), 1, "expected the rest of a gzip file")
    damaged = whole[:100] + bytes(60) + whole[160:]
    with pytest.raises(SequenceFileError, match=r"expected (sound gzip|IUPAC codes|the rest)"):
        list(read_fasta(write(damaged)))


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"BZh91AY&SY", 1, "got bzip2"),
        (b"PK\x03\x04....", 1, "got zip"),
        (">a\nAC\n".encode("utf-16"), 1, "got UTF-16"),
        (b">a\nAC\n>caf\xe9\nAC\n", 3, "expected text in UTF-8, got other bytes"),
    ],
)
def test_other_kinds_of_file(write, content, line, message):
    refused(read_fasta, write(content), line, message)


def test_titles_may_be_any_text_in_utf_8(write):
    (record,) = read_fasta(write(">café µ\nAC\n"))
    assert (record.id, record.description) == ("café", "µ")


def test_the_format_is_recognised_by_content_or_named(write):
    refused(read_sequences, write("\n\nchr1\t0\t5\n", "a.fa"), 3, "expected the beginning of FASTA")
    refused(read_sequences, write(""), 1, "expected at least one record")
    header = write("GBBCT1.SEQ\n" + GENBANK)
    refused(read_sequences, header, 1, "got 'GBBCT1.SEQ'")
    assert len(list(read_sequences(header, form="genbank"))) == 2
    with pytest.raises(ValueError, match=r"form: expected one of .*, got 'embl'"):
        read_sequences(header, form="embl")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_needs_its_format_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"form: expected a format for .*pipe, a pipe that can be read only once"):
        read_sequences(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(FASTA,))
    writer.start()
    assert pairs(read_sequences(tmp_path / "pipe", form="fasta")) == [("one", "ACGTACGN"), ("two", "RYSW")]
    writer.join()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(read_fasta(tmp_path / "none.fa"))
