"""The commands of genomics. Read without the package when help is asked for: what runs imports what it needs.

    attention-suite genomics scan genome.fa --ckpt runs/chip/version_0/best.ckpt --out sites.bed
    attention-suite genomics motifs peaks.fa --ckpt runs/chip/version_0/best.ckpt --out motifs/
    attention-suite genomics scan genome.fa --ckpt best.ckpt --heads motifs/heads.tsv --out sites.bed

`scan` finds sites in long sequences by overlapping windows, in memory that does not depend on their length. `motifs`
writes what the heads read as matrices (MEME, JASPAR), their matches in JASPAR, their sites (BED) and a picture.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ABOUT = f"Use a trained detector of motifs.{(__doc__ or '').partition('needs.')[2]}"

_SCAN = (
    "Judge every window of a FASTA file, both strands at once, and write the sites of the windows whose probability "
    "reaches the threshold. Choose the threshold on sequences of which you know: a model trained on as many positives "
    "as negatives calls too much of a genome at .5."
)
_MOTIFS = (
    "Look where the heads of a detector look in sequences of the class that it finds (such as a thousand peaks), and "
    "count what stands there."
)


def _add_scan(parser: argparse.ArgumentParser) -> None:
    parser.description = _SCAN
    add = parser.add_argument
    add("genome", help="FASTA, plain or gzip")
    add("--ckpt", required=True, help="checkpoint of a MotifDetectionTask")
    add("--out", required=True, help="BED file to write; gzip where it ends in .gz")
    add("--bedgraph", help="also write the probability along the sequences")
    add("--threshold", type=float, default=0.9, help="least probability of a window with sites (default %(default)s)")
    add("--heads", help="heads.tsv of `motifs`: names and widths of sites, and which heads make some")
    add("--flank", type=int, default=9, help="without --heads: bases on each side of a peak (default %(default)s)")
    add("--window", type=int, help="bases of a window (default: the training length)")
    add("--stride", type=int, help="bases between windows (default: half a window)")
    add("--batch-size", type=int, default=128, help="windows at a time (default %(default)s)")
    add("--threads", type=int, help="cores (default: all)")
    add("--no-progress", action="store_true", help="show no progress bar")


def _add_motifs(parser: argparse.ArgumentParser) -> None:
    parser.description = _MOTIFS
    add = parser.add_argument
    add("sequences", help="FASTA, FASTQ, GenBank or DeepBind .seq, plain or gzip")
    add("--ckpt", required=True, help="checkpoint of a MotifDetectionTask")
    add("--out", required=True, help="folder to write into")
    add("--first", type=int, default=1000, help="sequences from the start of the file (default %(default)s)")
    add("--sites", type=int, default=200, help="windows that make a motif, at most (default %(default)s)")
    add("--flank", type=int, default=15, help="bases on each side of a peak (default %(default)s)")
    add("--database", help="motif file to compare with (default: the vertebrates of JASPAR CORE, from pyjaspar)")


def _scan(options: argparse.Namespace) -> None:
    from .detection.checkpoint import load_detector
    from .sites.extract_report import read_extents
    from .sites.genome_scan import cores, scan_fasta

    if not Path(options.genome).is_file():
        raise FileNotFoundError(f"genome: expected a file, got {options.genome}, which is not there")
    trained = load_detector(options.ckpt)
    window = options.window or trained.length
    if window is None:
        raise ValueError("--window: expected the length of the training sequences, which the checkpoint does not hold")
    extents = None if options.heads is None else read_extents(options.heads)
    start = time.perf_counter()
    bar, progress = _progress(Path(options.genome), options.no_progress)
    with bar:
        summary = scan_fasta(
            trained.model,
            options.genome,
            options.out,
            window=window,
            stride=options.stride,
            bedgraph=options.bedgraph,
            batch_size=options.batch_size,
            progress=progress,
            threshold=options.threshold,
            flank=options.flank,
            extents=extents,
            threads=cores() if options.threads is None else options.threads,
        )
        bar.total = bar.n  # the file's size counted ends of lines too
    took = time.perf_counter() - start
    print(
        f"{summary.bases:,} bases in {summary.windows:,} windows, {summary.called:,} of them called, "
        f"{summary.sites:,} sites, {took:.1f} s ({summary.bases / took / 1e3:.0f} kb/s)",
        file=sys.stderr,
    )


def _progress(genome: Path, off: bool) -> tuple[Any, Callable[[int], None]]:
    """A bar in bases; a FASTA file has about as many as bytes, of a gzip file the end is not known."""
    from tqdm import tqdm

    with genome.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    total = None if compressed else genome.stat().st_size
    bar = tqdm(total=total, unit="b", unit_scale=True, disable=off, desc=genome.name, file=sys.stderr)
    update: Callable[[int], None] = bar.update
    return bar, update


def _motifs(options: argparse.Namespace) -> None:
    from itertools import islice

    from .detection.checkpoint import load_detector
    from .motifs.comparing import MotifDatabase
    from .motifs.files import jaspar, read_motifs
    from .sequences import Rules, read_sequences
    from .sites.extract import Recipe, extract_motifs
    from .sites.extract_report import draw_heads, heads_table, write_heads
    from .sites.records import write_sites

    if options.first < 1:
        raise ValueError(f"--first: expected at least 1, got {options.first}")
    recipe = Recipe(flank=options.flank, most=options.sites, fewest=min(20, options.sites))
    if not Path(options.sequences).is_file():
        raise FileNotFoundError(f"sequences: expected a file, got {options.sequences}, which is not there")
    model = load_detector(options.ckpt).model
    records = list(islice(read_sequences(options.sequences, Rules(empty="skip")), options.first))
    database = MotifDatabase(jaspar() if options.database is None else read_motifs(options.database))
    sequences, ids = [record.sequence for record in records], [record.id for record in records]
    heads = extract_motifs(model, sequences, database=database, recipe=recipe)
    folder = Path(options.out)
    files = write_heads(heads, folder)
    files.append(folder / "sites.bed")
    write_sites([site for head in heads for site in head.sites(ids)], files[-1])
    if any(head.motif is not None for head in heads):
        files.append(folder / "heads.png")
        draw_heads(heads).savefig(files[-1], dpi=110)
    print(f"{len(records)} sequences; matches among {len(database)} motifs\n\n{heads_table(heads)}\n")
    print("wrote " + ", ".join(map(str, files)))


COMMANDS = {
    "scan": ("find sites in long sequences", _add_scan, _scan),
    "motifs": ("write what the heads read", _add_motifs, _motifs),
}
"""Name -> (help, what adds its arguments, what runs it)."""
