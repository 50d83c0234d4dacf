"""Scan a genome of 5 Mb: bases per second by stride and threads, and the most memory that it takes.

    pip install "attention-suite[genomics]"
    python benchmarks/genomics_scan.py
    python benchmarks/genomics_scan.py --ckpt runs/chip/version_0/best.ckpt --peaks YY1_test.seq.gz

Without --ckpt the detector has its default size and random weights, its bias set so that one window in fifty is called:
speed depends on the share of windows that are called, not on the weights else. The genome is a Markov chain with few
CG. Every scan runs in a process of its own, from the file to the BED file; times are of the scan, without imports.
"CPU" counts what the process used of its cores, and says how far the machine was busy with others. With --peaks the
sequences of label 1 are written into the genome at random places, and the share whose middle lies in a called window is
given, beside the windows that are called where no peak is.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genomics.detection import load_detector
from genomics.detection.data import background, transition_matrix
from genomics.detector import MotifDetector
from genomics.sequences import read_deepbind
from genomics.sequences.fasta_windows import fasta_windows
from genomics.sites import cores, judge, scan_fasta

BAR = 200.0
"""kb/s on two cores."""
WINDOW = 101


def genome(bases: int, seed: int) -> str:
    """Random DNA in chunks of one chain each."""
    rows = background(-(-bases // 10_000), 10_000, transition_matrix(), np.random.default_rng(seed))
    return "".join(rows)[:bases]


def write_fasta(path: Path, letters: str) -> None:
    """One record, lines of 60."""
    lines = [letters[k : k + 60] for k in range(0, len(letters), 60)]
    path.write_text(">chr1\n" + "\n".join(lines) + "\n", "ascii")


def model_of(ckpt: str | None) -> MotifDetector:
    """The detector, or one with random weights that calls one window in fifty at .9."""
    if ckpt is not None:
        return load_detector(ckpt).model
    torch.manual_seed(0)
    model = MotifDetector().eval()
    x = torch.nn.functional.one_hot(torch.randint(4, (2000, WINDOW)), 4).float()
    with torch.inference_mode():
        logits = torch.cat([model(part) for part in x.split(100)])
    with torch.no_grad():
        model.bias += float(torch.tensor(0.9).logit() - logits.quantile(0.98))
    return model


def child(job: dict[str, Any]) -> None:
    """One scan; prints seconds, CPU seconds, counts and the peak of the resident memory."""
    model = model_of(job["ckpt"])
    with tempfile.TemporaryDirectory() as folder:
        before, wall, cpu = peak_mb(), time.perf_counter(), time.process_time()
        summary = scan_fasta(
            model,
            job["genome"],
            Path(folder, "sites.bed"),
            window=WINDOW,
            stride=job["stride"],
            batch_size=job["batch"],
            threads=job["threads"],
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({**summary._asdict(), "wall": wall, "cpu": cpu, "peak": peak_mb(), "before": before}))


def peak_mb() -> float:
    """Most resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(**job: Any) -> dict[str, float]:
    """A scan in a process of its own."""
    command = [sys.executable, __file__, "--job", json.dumps(job)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def speed_table(path: Path, ckpt: str | None, threads: int, batch: int, rounds: int) -> float:
    """Speed by stride, in turns; answers the best median."""
    strides = (WINDOW // 2, 2 * WINDOW // 3, WINDOW - 20, WINDOW)
    found: dict[int, list[dict[str, float]]] = {stride: [] for stride in strides}
    for _ in range(rounds):
        for stride in strides:
            found[stride].append(run(genome=str(path), ckpt=ckpt, stride=stride, batch=batch, threads=threads))
    print(f"| stride, of {WINDOW} | windows/s | kb/s | kb per CPU second | CPU, of {threads} cores | windows called |")
    print("|---|---|---|---|---|---|")
    best = 0.0
    for stride, results in found.items():
        rate = statistics.median(r["bases"] / r["wall"] for r in results) / 1e3
        per_cpu = statistics.median(r["bases"] / r["cpu"] for r in results) / 1e3
        busy = statistics.median(r["cpu"] / r["wall"] for r in results)
        windows = statistics.median(r["windows"] / r["wall"] for r in results)
        share = results[0]["called"] / results[0]["windows"]
        print(f"| {stride} | {windows:.0f} | {rate:.0f} | {per_cpu:.0f} | {busy:.2f} | {share:.1%} |", flush=True)
        best = max(best, rate)
    return best


def peaks_table(model: MotifDetector, letters: str, peaks: list[str], threads: int, batch: int) -> None:
    """Peaks at random places of the genome: which are called, and what else is."""
    rng = np.random.default_rng(1)
    slots = np.sort(rng.choice(len(letters) // 500 - 1, len(peaks), replace=False)) * 500
    slots += rng.integers(0, 300, len(peaks))
    text = bytearray(letters, "ascii")
    for start, peak in zip(slots.tolist(), peaks, strict=True):
        text[start : start + len(peak)] = peak.encode("ascii")
    ends = slots + np.array([len(peak) for peak in peaks])
    thresholds = (0.5, 0.9, 0.99)
    print(f"\n{len(peaks)} peaks in {len(letters) / 1e6:.1f} Mb: share with their middle in a called window, and other")
    print("windows called per Mb\n")
    print("| stride | " + " | ".join(f"P >= {t}: peaks | others per Mb" for t in thresholds) + " |")
    print("|---|" + "---|" * 2 * len(thresholds))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "genome.fa")
        write_fasta(path, text.decode("ascii"))
        for stride in (WINDOW // 4, WINDOW // 2, 2 * WINDOW // 3, WINDOW - 20, WINDOW):
            blocks = fasta_windows(path, WINDOW, stride, batch_size=batch)
            judged = list(judge(model, blocks, threshold=1.0, threads=threads))
            starts = torch.cat([block.starts for block, *_ in judged]).numpy()
            probability = torch.cat([p for _, p, _ in judged]).numpy()
            cells = []
            for threshold in thresholds:
                called = starts[probability >= threshold]
                before = called[:, None] < ends  # windows that begin before a peak's end
                touched = (before & (called[:, None] + WINDOW > slots)).any(1)
                middle = (slots + ends) // 2
                found = np.searchsorted(called, middle, "right") > np.searchsorted(called, middle - WINDOW, "right")
                cells += [f"{found.mean():.3f}", f"{(~touched).sum() / len(letters) * 1e6:.0f}"]
            print(f"| {stride} | {' | '.join(cells)} |", flush=True)


def main() -> int:
    """Print the tables; 1 where no stride reaches the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--ckpt", help="checkpoint of a detector")
    add("--peaks", help="DeepBind .seq whose positives are written into the genome (needs --ckpt)")
    add("--bases", type=int, default=5_000_000)
    add("--rounds", type=int, default=3, help="of the timings, each on a fifth of the genome")
    add("--batch", type=int, default=128, help="windows at a time")
    add("--threads", type=int, default=min(2, cores()))
    add("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        child(json.loads(options.job))
        return 0
    if options.peaks and not options.ckpt:
        parser.error("--peaks: expected --ckpt with it")
    model = model_of(options.ckpt)
    parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}; "
        f"{parameters:,} parameters, {options.threads} threads, {options.batch} windows at a time\n"
    )
    letters = genome(options.bases, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        whole, part = Path(folder, "genome.fa"), Path(folder, "part.fa")
        write_fasta(whole, letters)
        write_fasta(part, letters[: options.bases // 5])
        best = speed_table(part, options.ckpt, options.threads, options.batch, options.rounds)
        job = {"ckpt": options.ckpt, "stride": WINDOW - 20, "batch": options.batch, "threads": options.threads}
        print("\n| bases | seconds | kb/s | memory before, MB | most while scanning, MB |\n|---|---|---|---|---|")
        for path in (part, whole):
            r = run(genome=str(path), **job)
            rate = r["bases"] / r["wall"] / 1e3
            print(
                f"| {r['bases']:,} | {r['wall']:.1f} | {rate:.0f} | {r['before']:.0f} | {r['peak']:.0f} |", flush=True
            )
    if options.peaks:
        peaks = [record.sequence for record in read_deepbind(options.peaks) if record.label == 1]
        peaks_table(model, letters[:1_000_000], peaks, options.threads, options.batch)
    print(f"\nBar: {BAR:.0f} kb/s with {options.threads} threads; the best median is {best:.0f} kb/s.")
    return int(best < BAR)


if __name__ == "__main__":
    sys.exit(main())
