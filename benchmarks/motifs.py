"""Motifs: speed of the scan and of the search, whether p-values hold, and Tomtom's answers beside ours.

    pip install "attention-suite[genomics,data]"
    python benchmarks/motifs.py [--rounds 5] [--tomtom fly_factor_survey_id.meme]

Prints the tables of docs/motifs.md, on one thread. The file that `--tomtom` takes is inst/extdata/db/ of the R package
memes (snystrom/memes), whose inst/extdata/fasta_ex/fa1_vs_shuffle/tomtom/tomtom.tsv has Tomtom's answers below.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
from Bio.Seq import Seq

from genomics.motifs import Motif, MotifDatabase, jaspar, read_motifs, scan

TOMTOM = {
    "bab1_FlyReg": (0, "-", 0.000286511),
    "ap_FlyReg": (-2, "+", 0.00413433),
    "Pph13_Cell": (0, "+", 0.00419193),
    "jigr1_SANGER_5": (0, "+", 0.00430908),
    "So_Cell": (0, "+", 0.00657126),
    "Antp_FlyReg": (-1, "+", 0.00824933),
    "br-Z4_FlyReg": (0, "+", 0.00860181),
    "hb_FlyReg": (-1, "-", 0.0101679),
    "zen_FlyReg": (0, "-", 0.0120261),
    "Hgtx_SOLEXA": (0, "+", 0.0145403),
    "eve_FlyReg": (1, "-", 0.0164258),
}
"""Offset, strand and p-value by Tomtom 5.1.1 (-dist pearson -min-overlap 5) of all it reported, best first."""


def seconds(f: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def speed(motif: Motif, newest: list[Motif], every: list[Motif], rounds: int) -> None:
    """Scan beside Biopython's scores, in turns; one query against the database."""
    sequence = "".join(np.random.default_rng(0).choice(list("ACGT"), 1_000_000))
    pssm, record = motif.to_biopython().pssm, Seq(sequence)
    other = pssm.reverse_complement()
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(seconds(lambda: scan(motif, [sequence])))
        theirs.append(seconds(lambda: (pssm.calculate(record), other.calculate(record))))
    print("| what | median |\n|---|---|")
    print(f"| scan, {len(motif)} positions, both strands, p and q | {1 / statistics.median(ours):.1f} Mb/s |")
    print(f"| Biopython's scores alone, both strands | {1 / statistics.median(theirs):.1f} Mb/s |")
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    print(f"| ratio of the two in one round | {ratio:.1f} |")
    for motifs in (newest, every):
        database = MotifDatabase(motifs)
        took = [seconds(lambda d=database, q=query: d.search(q)) for query in every[:: len(every) // 20]]
        print(f"| one query against {len(motifs)} matrices | {statistics.median(took) * 1e3:.0f} ms |")


def calibration(newest: list[Motif], queries: int = 40, targets: int = 1000) -> None:
    """Queries and targets whose columns are drawn independently from JASPAR's: the share of p-values up to a."""
    rng = np.random.default_rng(0)
    pool = np.concatenate([motif.frequencies for motif in newest])
    draw = lambda n: [Motif(pool[rng.integers(0, len(pool), rng.integers(6, 17))]) for _ in range(n)]  # noqa: E731
    levels = (0.001, 0.01, 0.05, 0.2)
    print(
        "\n| share of null targets with p <= a | " + " | ".join(f"a = {a}" for a in levels) + " |\n|---|" + "---|" * 4
    )
    for overlap in (8, 5, 1):
        database = MotifDatabase(draw(targets), min_overlap=overlap)
        p = np.array([match.p_value for query in draw(queries) for match in database.search(query)])
        print(f"| min_overlap = {overlap} | " + " | ".join(f"{(p <= a).mean():.4f}" for a in levels) + " |")
    database, found = MotifDatabase(newest), []
    for _ in range(queries):
        found.append(database.search(Motif(rng.multinomial(200, [0.25] * 4, 12)))[0].q_value)
    flat = min(match.p_value for match in database.search(Motif(np.ones((12, 4)))))
    print(f"\nA flat query: smallest p {flat:g}. Of {queries} queries of noise (12 positions, 200 random sites),")
    print(f"{sum(q <= 0.05 for q in found)} had a match at q <= 0.05 and {sum(q <= 0.01 for q in found)} at q <= 0.01.")


def example(query: Motif, every: list[Motif]) -> None:
    """The best matches of one matrix."""
    print(f"\n| rank | match of {query.id} {query.name} | p | q | offset | strand | overlap | r |")
    print("|---|---|---|---|---|---|---|---|")
    for rank, m in enumerate(MotifDatabase(every).search(query)[:8], 1):
        name = f"{m.target.id} {m.target.name}"
        numbers = f"{m.p_value:.1e} | {m.q_value:.1e} | {m.offset} | {m.strand} | {m.overlap} | {m.correlation:.3f}"
        print(f"| {rank} | {name} | {numbers} |")


def tomtom(path: str) -> None:
    """Tomtom's answers beside ours, on the database that it searched: of motifs with one id, it took the first."""
    first: dict[str, Motif] = {}
    for motif in read_motifs(path):
        first.setdefault(motif.id, motif)
    a, t = [0.99498, 6.93166e-05, 6.93166e-05, 0.00488118], [0.00488118, 6.93166e-05, 6.93166e-05, 0.99498]
    query = Motif.from_probabilities([a, a, t, a, a, t, a, a])
    matches = MotifDatabase(list(first.values()), min_overlap=5, levels=100).search(query)
    found = {match.target.id: (rank, match) for rank, match in enumerate(matches, 1)}
    print(f"\n| {len(first)} motifs: target | rank, Tomtom | ours | offset, strand, Tomtom | ours | p, Tomtom | ours |")
    print("|---|---|---|---|---|---|---|")
    for rank, (name, (offset, strand, p)) in enumerate(TOMTOM.items(), 1):
        our_rank, m = found[name]
        where = f"{offset}, {strand} | {m.offset}, {m.strand}"
        print(f"| {name} | {rank} | {our_rank} | {where} | {p:.3g} | {m.p_value:.3g} |")


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of the timings")
    parser.add_argument("--tomtom", metavar="FILE", help="database of the comparison with Tomtom")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}\n")
    newest, every = jaspar(all_versions=False), jaspar()
    (query,) = jaspar(ids=["MA0095.2"])
    speed(query, newest, every, arguments.rounds)
    calibration(newest)
    example(query, every)
    if arguments.tomtom:
        tomtom(arguments.tomtom)


if __name__ == "__main__":
    main()
