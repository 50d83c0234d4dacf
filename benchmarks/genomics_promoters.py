"""Promoters against other places of a genome: our detector beside k-mer regressions and a CNN, one split for all.

    python benchmarks/genomics_promoters.py --positives PROMOTERS.fa --negatives OTHER.fa
    python benchmarks/genomics_promoters.py --file fly_core_promoters.fa.gz --positive-ids FP    both in one file, by id
    python benchmarks/genomics_promoters.py --fast                     small planted data, to see that it runs

Trains by configs/genomics/promoters.yaml, through the command line. Validation and test parts, a tenth each, share no
24 letters in a row with the training part or each other. Every choice (C of the regressions, the epoch of best.ckpt) is
made on validation. Runs are kept under --out and not trained again; --docs puts the table into docs/genomics.md.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from detection.rows import judged, model_row, table

from core import __version__
from core.training import rewrite, write_text
from genomics import PlantedMotifsData, SequenceClassificationData
from genomics.detection import kmer_regression
from genomics.sequences import Rules, read_sequences

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "demos"))
from motif_detection import runs  # noqa: E402  # shared with the demos

ARCHITECTURES = {"attention": "attention, pooling heads", "cnn": "CNN"}
PAGE = ROOT / "docs" / "genomics.md"
CONFIG = ROOT / "configs" / "genomics" / "promoters.yaml"


def parted(path: Path, prefix: str, folder: Path) -> tuple[Path, Path]:
    """Write the records of a file whose ids begin with `prefix` into one file, and the others into another.

    Args:
        path: FASTA, plain or gzip.
        prefix: Of the positives' ids.
        folder: Where to.
    """
    texts: dict[bool, list[str]] = {True: [], False: []}
    for record in read_sequences(path, Rules(duplicates="allow")):
        texts[record.id.startswith(prefix)].append(f">{record.id}\n{record.sequence}\n")
    if not all(texts.values()):
        raise ValueError(f"{path}: expected ids with and without the prefix {prefix!r}, got {len(texts[True])} with it")
    files = folder / "positives.fa", folder / "negatives.fa"
    folder.mkdir(parents=True, exist_ok=True)
    for file, positive in zip(files, (True, False), strict=True):
        write_text(file, "".join(texts[positive]))
    return files


def train(files: tuple[Path, Path], architecture: str, seed: int, out: Path, extra: list[str]) -> Path:
    """Train by the configuration, unless that was done; answer the run's folder."""
    options = ["--data.positives", str(files[0]), "--data.negatives", str(files[1]), "--data.duplicates", "allow"]
    options += ["--model.model_name", architecture, "--model.baselines", "[]"]
    return runs.train_once(CONFIG, out / f"{architecture}_seed{seed}", seed, [*options, *extra])


def small(folder: Path) -> tuple[Path, Path]:
    """Files of planted sites and of shuffles, for --fast."""
    data = PlantedMotifsData("MA0095.2", positives=200, sites=(1, 1))
    data.setup()
    texts = {1: "", 0: ""}
    for name, letters, label in zip(data.whole.names, data.whole.letters, data.whole.labels, strict=True):
        texts[int(label)] += f">{name}\n{letters}\n"
    for name, label in (("positives", 1), ("negatives", 0)):
        write_text(folder / f"{name}.fa", texts[label])
    return folder / "positives.fa", folder / "negatives.fa"


def main() -> int:
    """Train, test, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positives", type=Path, help="promoters")
    parser.add_argument("--negatives", type=Path, help="other places")
    parser.add_argument("--file", type=Path, help="instead of the two: both in one file")
    parser.add_argument("--positive-ids", default="FP", help="how the ids of promoters begin in --file (%(default)s)")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--architectures", nargs="+", choices=list(ARCHITECTURES), default=list(ARCHITECTURES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/genomics_promoters"))
    parser.add_argument("--fast", action="store_true", help="small planted data and one epoch")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/genomics.md")
    options = parser.parse_args()
    if not options.fast and not options.file and not (options.positives and options.negatives):
        parser.error("expected --positives and --negatives, or --file, or --fast")
    torch.set_num_threads(options.threads)
    extra: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        out, seeds, files = options.out, options.seeds, (options.positives, options.negatives)
        if options.fast:
            out, seeds = Path(temporary) / "runs", 1
            files = small(Path(temporary))
            extra = ["--trainer.max_epochs", "1", "--data.batch_size", "16"]
        elif options.file:
            files = parted(options.file, options.positive_ids, out)
        arguments = yaml.safe_load(CONFIG.read_text("utf-8"))["data"]["init_args"]
        data = SequenceClassificationData(
            positives=str(files[0]), negatives=str(files[1]), **{**arguments, "duplicates": "allow"}
        )
        data.setup()
        rows = []
        for architecture in options.architectures:
            for seed in range(seeds):
                path = train(files, architecture, seed, out, extra)
                rows.append(model_row(path, "promoters", ARCHITECTURES[architecture], seed, data))
        for k in (4, 6):
            result = kmer_regression(data, k)
            nothing: dict[str, Any] = {"seed": 0, "parameters": 0, "val": result.validation, "minutes": 0.0}
            rows.append(judged("promoters", f"{k}-mer regression", result.score, data, **nothing))
        lengths = np.array([len(letters) for letters in data.whole.letters])
        used = f"attention-suite {__version__}, torch {torch.__version__}, {options.threads} threads, {seeds} seed(s)"
        text = (
            f"{used}. Data: {data.fingerprint()[:23]}, {lengths.min()} to {lengths.max()} bp; {data.describe_split()}."
            f"\n\n{table(rows)}"
        )
        print(text)
        write_text(out / "promoters.md", text + "\n")
        if options.fast:
            print("\n--fast: one epoch on small planted data; these numbers show that it runs, not how good it is")
        elif options.docs:
            rewrite(PAGE, "promoters", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
