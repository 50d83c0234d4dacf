"""ChIP-seq peaks against shuffles: our detector beside k-mer regressions, the known matrix and a CNN.

    pip install "attention-suite[genomics,data]"
    python benchmarks/genomics_chip.py --folder DIR          DIR holds FACTOR_train.seq.gz and FACTOR_test.seq.gz
    python benchmarks/genomics_chip.py --folder DIR --factors YY1 --seeds 1
    python benchmarks/genomics_chip.py --fast                small planted data, to see that it runs

Trains by configs/genomics/chip.yaml, through the command line. Beside it, by the same configuration otherwise: the
detector's default sizes, with an encoder block behind a narrower stem, and CNNs of both sizes. The training files
hold peaks ranked by strength: the first 5,000 are used, a tenth of them for validation. Every choice (C of the
regressions, the epoch of best.ckpt) is made on validation. A test file holds 500 peaks and 500 shuffles; AUROC is given
with all of them and without the peaks that share 24 letters in a row with a training or validation sequence.

Runs are kept under --out, one folder per factor, architecture and seed (best.ckpt, metrics.json, scores.csv), and one
that is complete is not trained again. The table is written to --out as chip.md; --docs puts it into docs/genomics.md.
"""

import argparse
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import sklearn
import torch
import yaml
from detection.rows import Row, judged, model_row, table
from sklearn.metrics import roc_auc_score

from core import __version__
from core.training import rewrite, write_text
from genomics import PlantedMotifsData, SequenceClassificationData
from genomics.detection import kmer_regression, matrix_scan

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "demos"))
from motif_detection import runs  # noqa: E402  # shared with the demos

CONFIG = ROOT / "configs" / "genomics" / "chip.yaml"
PAGE = ROOT / "docs" / "genomics.md"
VERSIONS = {"USF2": ("MA0526", 5), "YY1": ("MA0095", 4), "ZNF143": ("MA0088", 3), "TEAD4": ("MA0809", 3)}
MATRICES = {name: [f"{base}.{k + 1}" for k in range(last)] for name, (base, last) in VERSIONS.items()}
"""All versions of each factor's matrix in JASPAR 2026; validation chooses."""
ARCHITECTURES: dict[str, tuple[str, dict[str, str]]] = {
    "attention": ("attention, pooling heads", {}),
    "block": ("the same behind one rotary block", {"model_options": "null"}),
    "cnn": ("CNN, one block", {"model_name": "cnn", "model_options": "{depth: 1, hidden: 24}"}),
    "cnn_two": ("CNN, two blocks", {"model_name": "cnn", "model_options": "null"}),
}
"""What is trained: a name, and what changes in the configuration. The CNN with one block has as many parameters as the
configuration's detector, the one with two (`MotifCNN` with its own sizes) as many as `MotifDetector` with its own."""
OURS = ("attention", "block")


def data_of(factor: str, folder: Path) -> SequenceClassificationData:
    """The data module of the configuration for one factor, set up."""
    options = yaml.safe_load(CONFIG.read_text("utf-8"))["data"]["init_args"]
    train, test = (str(folder / f"{factor}_{part}.seq.gz") for part in ("train", "test"))
    data = SequenceClassificationData(train=train, test=test, motif=MATRICES[factor], **options)
    data.setup()
    return data


def run_folder(out: Path, factor: str, architecture: str, seed: int) -> Path:
    """Where a run is kept."""
    return out / f"{factor}_{architecture}_seed{seed}"


def train(factor: str, architecture: str, seed: int, folder: Path, out: Path, extra: list[str]) -> Path:
    """Train by the configuration, unless that was done; answer the run's folder."""
    options = []
    for part in ("train", "test"):
        options += [f"--data.{part}", str(folder / f"{factor}_{part}.seq.gz")]
    for name, value in ARCHITECTURES[architecture][1].items():
        options += [f"--model.{name}", value]
    return runs.train_once(CONFIG, run_folder(out, factor, architecture, seed), seed, [*options, *extra])


def baseline_rows(factor: str, data: SequenceClassificationData) -> list[Row]:
    """k-mer regressions and the matrix."""
    rows = []
    for result in (kmer_regression(data, 4), kmer_regression(data, 6), matrix_scan(data, data.known_motifs())):
        name = {"logistic_4mers": "4-mer regression", "logistic_6mers": "6-mer regression"}.get(
            result.name, "scan with JASPAR's matrix"
        )
        print(f"{factor}: {name}: {result.chosen}", flush=True)
        nothing: dict[str, Any] = {"seed": 0, "parameters": 0, "val": result.validation, "minutes": 0.0}
        rows.append(judged(factor, name, result.score, data, **nothing))
    return rows


def verdict(rows: list[Row]) -> str:
    """How far the detector is from the best other method on each factor, with the spread over test sequences."""
    lines = ["| factor | detector | best other | which | difference | 95% interval |", "|---" * 6 + "|"]
    differences = []
    for factor in dict.fromkeys(row.factor for row in rows):
        methods: dict[str, list[Row]] = {}
        for row in rows:
            if row.factor == factor:
                methods.setdefault(row.method, []).append(row)
        ours = methods[ARCHITECTURES["attention"][0]]
        methods = {name: own for name, own in methods.items() if name not in [ARCHITECTURES[key][0] for key in OURS]}
        means = {name: statistics.mean(row.auroc for row in own) for name, own in methods.items()}
        best = max(means, key=lambda name: means[name])
        own = statistics.mean(row.auroc for row in ours)
        differences.append(own - means[best])
        low, high = bootstrap(ours, methods[best])
        cells = [
            factor,
            f"{own:.4f}",
            f"{means[best]:.4f}",
            best,
            f"{differences[-1]:+.4f}",
            f"{low:+.4f} .. {high:+.4f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    near, better = sum(d >= -0.005 for d in differences), sum(d > 0 for d in differences)
    lines.append(
        f"\nWithin .005 of the best other method, or better: {near} of {len(differences)} factors; better than all: "
        f"{better} of {len(differences)}. The interval is over test sequences drawn again, the same ones for both "
        "methods (bootstrap, 500 draws, mean over seeds); it leaves out that the best other method was picked."
    )
    return "\n".join(lines)


def bootstrap(ours: list[Row], others: list[Row], draws: int = 500) -> tuple[float, float]:
    """95% interval of the difference of the mean AUROCs of two methods, by percentiles."""
    generator, target = np.random.default_rng(0), ours[0].target
    sides = [np.flatnonzero(target == label) for label in (0, 1)]
    found = []
    for _ in range(draws):
        kept = np.concatenate([generator.choice(side, len(side)) for side in sides])
        a, b = ([roc_auc_score(target[kept], row.score[kept]) for row in own] for own in (ours, others))
        found.append(np.mean(a) - np.mean(b))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def overlap_words(factor: str, data: SequenceClassificationData) -> str:
    """How many test peaks share 24 letters with what was trained and chosen on."""
    target = data.test_set.targets()
    return f"{factor} {int((data.seen(data.test_set) & (target == 1)).sum())} of {int((target == 1).sum())}"


def make_small(folder: Path) -> None:
    """Files of planted YY1 sites under the name YY1, for --fast."""
    import gzip

    data = PlantedMotifsData("MA0095.2", positives=300, sites=(1, 1), val_fraction=0.1, test_fraction=0.2)
    data.setup()
    whole = data.whole
    items = {"train": data.plain_train_set.items, "test": data.test_set.items}
    for part, numbers in items.items():
        kept = [k for k in numbers if part == "test" or whole.labels[k] == 1]
        lines = [f"A\t{whole.names[k]}\t{whole.letters[k]}\t{whole.labels[k]}" for k in kept]
        text = "FoldID\tEventID\tseq\tBound\n" + "\n".join(lines) + "\n"
        (folder / f"YY1_{part}.seq.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def main() -> int:
    """Train, test, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="of FACTOR_train.seq.gz and FACTOR_test.seq.gz")
    parser.add_argument("--factors", nargs="+", choices=sorted(MATRICES), default=list(MATRICES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--architectures", nargs="+", choices=sorted(ARCHITECTURES), default=list(ARCHITECTURES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/genomics_chip"))
    parser.add_argument("--fast", action="store_true", help="small planted data and one epoch")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/genomics.md")
    arguments = parser.parse_args()
    if arguments.folder is None and not arguments.fast:
        parser.error("--folder: expected a folder with FACTOR_train.seq.gz and FACTOR_test.seq.gz, or --fast")
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder, out, factors, seeds, extra = arguments.folder, arguments.out, arguments.factors, arguments.seeds, []
        if arguments.fast:
            folder, out, factors, seeds = Path(temporary), Path(temporary) / "runs", ["YY1"], 1
            extra = ["--trainer.max_epochs", "1", "--data.batch_size", "16"]
            make_small(folder)
        for seed in range(seeds):  # the first seed of every factor first
            for architecture in arguments.architectures:
                for factor in factors:
                    train(factor, architecture, seed, folder, out, extra)
        rows, overlaps, fingerprints = [], [], []
        for factor in factors:
            data = data_of(factor, folder)
            overlaps.append(overlap_words(factor, data))
            fingerprints.append(f"{factor} {data.fingerprint()[:23]}")
            for architecture in arguments.architectures:
                for seed in range(seeds):
                    path = train(factor, architecture, seed, folder, out, extra)
                    rows.append(model_row(path, factor, ARCHITECTURES[architecture][0], seed, data))
            rows += baseline_rows(factor, data)
            print(data.describe_split(), flush=True)
        used = f"python {sys.version.split()[0]}, torch {torch.__version__}, lightning {lightning.__version__}"
        used = f"attention-suite {__version__}, {used}, scikit-learn {sklearn.__version__}, {platform.machine()}"
        where = f"{used}, {arguments.threads} threads, seeds 0 .. {seeds - 1}. Data: {', '.join(fingerprints)}."
        shared = f"Test peaks that share 24 letters with a training or validation sequence: {', '.join(overlaps)}."
        parts = [where, shared, "", table(rows)]
        if "attention" in arguments.architectures:
            parts += ["", verdict(rows)]
        text = "\n".join(parts)
        print(text)
        write_text(out / "chip.md", text + "\n")
        if arguments.fast:
            print("\n--fast: one epoch on small planted data; these numbers show that it runs, not how good it is")
        elif arguments.docs:
            rewrite(PAGE, "chip", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
