import gzip
import io
import sys

import numpy as np
import pytest
from Bio import motifs as biopython

from core.extras import MissingExtraError
from genomics.motifs.files import jaspar, read_motifs, write_motifs
from genomics.motifs.matrices import LETTERS, Motif

MEME = """MEME version 4

ALPHABET= ACGT

strands: + -

Background letter frequencies
A 0.3 C 0.2 G 0.2 T 0.3

MOTIF MA0001.1 AGL3
letter-probability matrix: alength= 4 w= 2 nsites= 10 E= 0
 0.9 0.1 0.0 0.0
 0.0\t0.5\t0.5\t0.0
URL http://example.org

MOTIF second
letter-probability matrix:
0.25 0.25 0.25 0.25
"""

JASPAR = """>MA0095.2\tYY1
A  [ 4 19 0 ]
C  [16  0 20 ]
G  [ 0  1 0 ]
T  [ 0  0 0 ]
>MA0004.1 Arnt
A [1 2]
C [3 4]
G [5 6]
T [7 8]
"""

TRANSFAC = """VV  some version
XX
//
AC  MA0004.1
XX
ID  Arnt
XX
P0      A      C      G      T
01      4     16      0      0      C
02     19      0      1      0      A
XX
//
"""


def some_motifs(**fields):
    rng = np.random.default_rng(0)
    counts = [rng.multinomial(30, rng.dirichlet([0.5] * 4), length) for length in (1, 6, 23)]
    return [Motif(rows, f"name{i}", f"M{i}.1", **fields) for i, rows in enumerate(counts)]


@pytest.fixture
def write(tmp_path):
    def to(text):
        path = tmp_path / "motifs.txt"
        path.write_text(text)
        return path

    return to


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("format", ["meme", "jaspar", "transfac"])
@pytest.mark.parametrize("named", [True, False])
def test_round_trips(tmp_path, format, ending, named):
    wanted = some_motifs(pseudocount=0.4)
    path = tmp_path / f"motifs{ending}"
    write_motifs(wanted, path, format)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == bool(ending)
    found = read_motifs(path, format if named else None, pseudocount=0.4)
    assert [(m.id, m.name, m.pseudocount, len(m)) for m in found] == [(m.id, m.name, 0.4, len(m)) for m in wanted]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a.counts, b.counts, atol=1e-6)


def test_meme_keeps_background_and_biopython_reads_it(tmp_path):
    wanted = some_motifs(background=(0.3, 0.2, 0.15, 0.35))
    path = tmp_path / "motifs.meme"
    write_motifs(wanted, path)
    for motif in read_motifs(path):
        np.testing.assert_allclose(motif.background, (0.3, 0.2, 0.15, 0.35))
    with open(path) as handle:
        record = biopython.parse(handle, "minimal")
    assert [(m.name.split()[0], m.num_occurrences) for m in record] == [(m.id, 30) for m in wanted]
    for a, b in zip(record, wanted, strict=True):
        np.testing.assert_allclose(np.array([a.pwm[letter] for letter in LETTERS]).T, b.frequencies, atol=1e-6)


def test_read_meme(write):
    first, second = read_motifs(write(MEME))
    assert (first.id, first.name, first.sites) == ("MA0001.1", "AGL3", 10)
    np.testing.assert_allclose(first.counts, [[9, 1, 0, 0], [0, 5, 5, 0]], atol=1e-12)
    np.testing.assert_allclose(first.background, (0.3, 0.2, 0.2, 0.3))
    assert (second.id, second.name, second.sites, len(second)) == ("second", "", 20, 1)
    crlf = read_motifs(write(MEME.replace("\n", "\r\n")))
    assert [repr(m) for m in crlf] == [repr(first), repr(second)]


def test_read_jaspar_and_transfac(write):
    yy1, arnt = read_motifs(write(JASPAR))
    assert (yy1.id, yy1.name, arnt.id, arnt.name) == ("MA0095.2", "YY1", "MA0004.1", "Arnt")
    assert yy1.counts.tolist() == [[4, 16, 0, 0], [19, 0, 1, 0], [0, 20, 0, 0]]
    (arnt,) = read_motifs(write(TRANSFAC))
    assert (arnt.id, arnt.name) == ("MA0004.1", "Arnt")
    assert arnt.counts.tolist() == [[4, 16, 0, 0], [19, 0, 1, 0]]


@pytest.mark.parametrize(
    ("text", "format", "line", "message"),
    [
        ("", None, 1, "expected motifs, got an empty file"),
        ("\nhello\n", None, 2, "expected the first line of MEME, JASPAR or TRANSFAC, got 'hello'"),
        ("hello\n", "meme", 1, 'expected "MEME version", got'),
        ("MEME version 4\n", None, 1, "expected at least one motif in the format meme, got none"),
        (MEME.replace("ACGT", "ACDEFGHIKLMNPQRSTVWY"), None, 3, "expected the alphabet ACGT, got 'ACDEFG"),
        (MEME.replace("A 0.3 C", "A 0.3 X"), None, 8, "expected A, C, G, T with a number each, got 'A 0.3 X"),
        (MEME.replace("0.9 0.1 0.0 0.0", "0.9 0.1 0.0"), None, 12, "expected 4 probabilities, got 3"),
        (MEME.replace("0.9 0.1", "0.9 0.1x"), None, 12, "expected a number, got '0.1x'"),
        (MEME.replace("0.9 0.1", "0.9 0.5"), None, 11, "expected rows that add up to 1, got 1.4 in row 0"),
        (MEME.replace("w= 2", "w= 3"), None, 11, "expected 3 rows, got 2"),
        (MEME.replace("w= 2", "w= two"), None, 11, "expected a positive whole number after w=, got 'two'"),
        (MEME.replace("alength= 4", "alength= 20"), None, 11, "expected alength= 4, got 20"),
        (MEME.replace("nsites= 10", "nsites= 0"), None, 11, "sites: expected a positive number, got 0"),
        (MEME.replace("MOTIF second", "MOTIF"), None, 16, "expected an id after MOTIF, got none"),
        (MEME + "MOTIF third\n", None, 19, "expected a letter-probability matrix for 'third', got none"),
        (MEME.replace("MOTIF second\n", ""), None, 16, "expected MOTIF before its matrix, got a matrix"),
        (MEME.replace("MOTIF second", "MOTIF a\nMOTIF b"), None, 17, "expected the matrix of motif 'a' first"),
        (JASPAR.replace("T  [ 0  0 0 ]\n", ""), None, 1, "expected 4 lines of counts behind the id, got 3"),
        (JASPAR.replace("T [7 8]", "T [7 8 9]"), None, 7, "expected the rows A, C, G, T of one length"),
        (JASPAR.replace("T [7 8]", "U [7 8]"), None, 7, "expected the rows A, C, G, T of one length"),
        (JASPAR.replace("T [7 8]", "T [7 x]"), None, 6, "expected a motif, got: "),
        (JASPAR, "meme", 1, 'expected "MEME version"'),
        (MEME, "jaspar", 1, 'expected ">" and an id, got'),
        (TRANSFAC.replace("02     19", "03     19"), None, 8, "does not match the position"),
        (TRANSFAC.replace("02     19", "02     x"), None, 8, "expected a motif, got: "),
        (TRANSFAC.rsplit("XX", 1)[0], None, 10, "expected // behind the last record"),
        ("VV  some version\nXX\n//\n", None, 3, "expected at least one motif in the format transfac, got none"),
    ],
)
def test_errors_name_file_and_line(write, text, format, line, message):
    path = write(text)
    with pytest.raises(ValueError) as error:
        read_motifs(path, format)
    assert str(error.value).startswith(f"{path}:{line}: ") and message in str(error.value)


def test_what_cannot_be_written(tmp_path):
    one, two = some_motifs()[:2]
    path = tmp_path / "motifs.meme"
    for motifs, message in [
        ([], "motifs: expected at least one, got none"),
        ([one, Motif(two.counts, "x", background=(0.4, 0.1, 0.1, 0.4))], "expected one background for all"),
        ([Motif(one.counts)], "expected an id or a name"),
        ([Motif(one.counts, "two words")], "without spaces"),
    ]:
        with pytest.raises(ValueError, match=message):
            write_motifs(motifs, path)
    with pytest.raises(ValueError, match=r"format: expected one of .*, got 'xml'"):
        write_motifs([one], path, "xml")
    assert not path.exists()
    write_motifs([one], path)
    with pytest.raises(ValueError, match=r"format: expected one of .*, got 'xml'"):
        read_motifs(path, "xml")


def test_gzip_of_one_content_is_one_file(tmp_path):
    for name in ("a.gz", "b.gz"):
        write_motifs(some_motifs(), tmp_path / name, "jaspar")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    text = gzip.decompress((tmp_path / "a.gz").read_bytes()).decode()
    assert len(biopython.parse(io.StringIO(text), "jaspar")) == 3


def test_jaspar():
    pytest.importorskip("pyjaspar")
    yy1, latest = jaspar(ids=["MA0095.2", "MA0095"])
    assert (yy1.id, yy1.name, len(yy1)) == ("MA0095.2", "YY1", 12)
    assert yy1.consensus == "CAARATGGCNGC"
    assert latest.id == "MA0095.4" and len(latest) == 8
    versions = jaspar(release="JASPAR2026", tax_group="diatoms")
    assert len(versions) == 2 and len({motif.id.split(".")[0] for motif in versions}) == 1
    (newest,) = jaspar(release="JASPAR2026", tax_group="diatoms", all_versions=False)
    assert newest.id == max(motif.id for motif in versions)
    with pytest.raises(ValueError, match=r"ids: expected matrices of JASPAR2026, got \['MA9999.1'\]"):
        jaspar(ids=["MA0095.2", "MA9999.1"])
    with pytest.raises(ValueError, match=r"release: expected one of .*JASPAR2026.*, got 'JASPAR1999'"):
        jaspar(release="JASPAR1999")
    with pytest.raises(ValueError, match=r"tax_group: expected some that JASPAR2026 has .* got 'CORE' and 'dragons'"):
        jaspar(tax_group="dragons")


def test_jaspar_without_pyjaspar(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyjaspar", None)
    with pytest.raises(MissingExtraError, match=r"attention-suite\[data\]"):
        jaspar()
