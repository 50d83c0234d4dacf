"""What do the heads of a detector read? From two files of sequences to motifs, their names, and their sites.

    python demos/genomics_motifs.py                         ten motifs of JASPAR planted in random DNA
    python demos/genomics_motifs.py --train YY1_train.seq.gz --test YY1_test.seq.gz --factor YY1
    python demos/genomics_motifs.py --fast                  seconds, for the tests; its numbers mean nothing

Trains by configs/genomics/planted.yaml or chip_motifs.yaml; no motif enters training. Then every head's attention is
read on the first sequences of the training file (peak files are ranked by strength): the windows round its peaks are
counted as they stand, all of a head together ("whole") and parted by a mixture ("parted"), and compared with all
vertebrate matrices of JASPAR CORE, all versions. Beside it, through the same steps: the model before training, one
trained on permuted labels, and windows at random from the same sequences. Sites of each head are mutated to see whether
the logit depends on them. Where sites were planted, those that are called on the test part are compared with them;
thresholds come from shuffles.

Prints tables and writes heads.tsv, motifs.meme, motifs.jaspar, sites.bed and heads.png under --out; --docs puts the
tables into docs/motifs.md.
"""

import argparse
import logging
import platform
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import _motif_runs as runs
import lightning
import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from core import __version__
from core.training.files import write_text
from genomics.baselines import kmer_regression, matrix_scan
from genomics.calling import call_sites
from genomics.extract import HeadMotif, Recipe, extract_motifs, random_control
from genomics.extract_report import draw_heads, heads_table, is_found, write_heads
from genomics.motif_compare import Match, MotifDatabase
from genomics.motif_files import jaspar
from genomics.motif_scan import scan
from genomics.mutagenesis import mutate_sites, site_profile
from genomics.peaks import find_peaks
from genomics.sites import Site, agreement, write_sites

PAGE = runs.ROOT / "docs" / "motifs.md"
KIN = {"YY1": ("YY1", "ZFP42", "YY2")}
"""Retroposed copies that share a factor's motif (Kim et al. 2007, Nucleic Acids Research 35:3442)."""
KNOWN = {"USF2": "MA0526.1", "YY1": "MA0095.2", "ZNF143": "MA0088.2", "TEAD4": "MA0809.1"}
"""Matrices that the baseline scans with."""


class Named(NamedTuple):
    """The head that reads a factor's motif best: among its matches, where the factor stands and how alike it is."""

    head: str
    rank: int
    match: Match
    found: bool


def best_named(heads: Sequence[HeadMotif], names: Sequence[str], rivals: Sequence[str] = ()) -> Named | None:
    """The best match with any matrix of these names on at least 8 columns: found ones first, then by r.

    Found: q < .01 and r >= .9 over at least 8 columns, and among a head's first three of all matrices; where rivals are
    given, the head's first match with any of them instead.
    """
    wanted, known = ({name.upper() for name in some} for some in (names, rivals))
    candidates = []
    for head in heads:
        first = next((m.target.name.upper() for m in head.matches if m.target.name.upper() in known), None)
        for rank, match in enumerate(head.matches, 1):
            if match.target.name.upper() in wanted and match.overlap >= 8:
                ahead = first in wanted if rivals else rank <= 3
                candidates.append(Named(head.name, rank, match, ahead and is_found(match)))
    return max(candidates, key=lambda c: (c.found, c.match.correlation), default=None)


def controls_table(by_model: dict[str, list[HeadMotif]], names: Sequence[str]) -> str:
    """One line per model: its heads with a motif, and the one that is most like the factor's."""
    lines = [
        "| windows of | heads with a motif | with a match, q < .01, r >= .9 | most like the factor's | r | columns "
        "| q | rank | found |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for model, heads in by_model.items():
        some = sum(head.motif is not None for head in heads)
        any_match = sum(bool(head.matches) and is_found(head.matches[0]) for head in heads)
        best = best_named(heads, names)
        cells = ["-"] * 5 + ["no"]
        if best is not None:
            m = best.match
            cells = [f"{m.target.name} {m.target.id}", f"{m.correlation:.3f}", str(m.overlap), f"{m.q_value:.1e}"]
            cells += [str(best.rank), "yes" if best.found else "no"]
        lines.append(f"| {model} | {some} of {len(heads)} | {any_match} | {' | '.join(cells)} |")
    return "\n".join(lines)


def planted_table(by_model: dict[str, list[HeadMotif]], names: Sequence[str]) -> str:
    """One line per planted motif: the head of the trained model that reads it best; how many each control finds."""
    lines = ["| planted | head | matrix | r | columns | q | rank | found |", "|---|---|---|---|---|---|---|---|"]
    counts = {model: 0 for model in by_model}
    for name in names:
        for model, heads in by_model.items():
            best = best_named(heads, [name], names)
            counts[model] += best is not None and best.found
        best = best_named(by_model["trained, parted"], [name], names)
        if best is None:
            lines.append(f"| {name} | - | - | - | - | - | - | no |")
            continue
        m = best.match
        numbers = f"{m.correlation:.3f} | {m.overlap} | {m.q_value:.1e} | {best.rank} | {'yes' if best.found else 'no'}"
        lines.append(f"| {name} | {best.head.removeprefix('head')} | {m.target.id} | {numbers} |")
    total = "; ".join(f"{model} {count}" for model, count in counts.items())
    return "\n".join(lines) + f"\n\nFound, of {len(names)}: {total}."


def planted_agreement(model: Any, heads: Sequence[HeadMotif], data: Any, fdr: float) -> str:
    """How the called sites of the test part agree with the planted ones, beside the planted matrices themselves."""
    items = data.test_set.items[data.test_set.targets() == 1].tolist()
    texts, ids = [data.whole.letters[i] for i in items], [data.whole.names[i] for i in items]
    decoys = [text for text, y in zip(data.test_set.letters(), data.test_set.targets(), strict=True) if y == 0]
    true = [Site(ids[n], s.start, s.end, "x", 0, s.strand) for n, i in enumerate(items) for s in data.sites_of(i)]
    lengths = dict(zip(ids, map(len, texts), strict=True))
    peaks, false = (find_peaks(model, some, per_sequence=3) for some in (texts, decoys))
    called = call_sites(heads, peaks, texts, ids, false, decoys, fdr=fdr)
    rows = [(f"attention, called at {fdr:.0%} decoys", agreement(called, true, lengths))]
    for p in (1e-3, 3e-4, 1e-4, 3e-5):
        sites = []
        for motif in data.planted:
            hits = scan(motif, texts, p_value=p)
            sites += [
                Site(ids[i], s, s + hits.width, "x", 0, ".") for i, s in zip(hits.sequence, hits.start, strict=True)
            ]
        rows.append((f"the planted matrices, p <= {p:g}", agreement(sites, true, lengths)))
    lines = ["| sites of the test part | nCC | sensitivity | precision |", "|---|---|---|---|"]
    lines += [f"| {name} | {a.correlation:.3f} | {a.sensitivity:.3f} | {a.precision:.3f} |" for name, a in rows]
    return "\n".join(lines)


def accuracy_table(model: Any, data: Any, baselines: bool) -> str:
    """AUROC on the test part beside the simpler methods."""
    letters, target = data.test_set.letters(), data.test_set.targets()
    lines = ["| method | test AUROC |", "|---|---|"]
    lines.append(f"| detector | {roc_auc_score(target, find_peaks(model, letters).logits):.4f} |")
    known = data.known_motifs() if baselines else []
    results = [kmer_regression(data, 4), kmer_regression(data, 6)] if baselines else []
    results += [matrix_scan(data, known)] if known else []
    for result in results:
        lines.append(f"| {result.name.replace('_', ' ')} | {roc_auc_score(result.target, result.score):.4f} |")
    return "\n".join(lines)


def put_into_docs(name: str, text: str) -> None:
    """Replace the part of docs/motifs.md between this data set's marks."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    page = PAGE.read_text("utf-8")
    if begin not in page or end not in page:
        raise ValueError(f"{PAGE}: expected the marks {begin} and {end}")
    before, _, rest = page.partition(begin)
    write_text(PAGE, f"{before}{begin}\n{text.strip()}\n{end}{rest.partition(end)[2]}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--train", help="sequences to train on; positives alone get shuffles as negatives")
    add("--test", help="sequences to test on (default: a part of --train)")
    add("--factor", help="name of the motif that is expected, for the tables alone")
    add("--ckpt", type=Path, help="a detector that was trained on --train already")
    add("--first", type=int, help="positives of the training part that are read (default: 1000; planted: all)")
    add("--whole", type=int, default=150, help="windows of a head that is not parted, at most (default %(default)s)")
    add("--sites", type=int, help="windows of a head that is parted, at most (default: 500; planted: 600)")
    add("--parts", type=int, default=4, help="motifs that a head's windows may be parted into (default %(default)s)")
    add("--flank", type=int, default=15, help="bases on each side of a peak (default %(default)s)")
    add("--seed", type=int, default=0, help="of training and controls (default %(default)s)")
    add("--epochs", type=int, help="default: the configuration's")
    add("--null-epochs", type=int, help="on permuted labels (default: as many; 0 leaves that control out)")
    add("--no-baselines", action="store_true", help="leave the simpler classifiers out")
    add("--out", type=Path, default=Path("runs/demo_genomics_motifs"), help="folder of runs and files")
    add("--docs", action="store_true", help="put the tables into docs/motifs.md and the picture into docs/images")
    add("--fast", action="store_true", help="little data, one epoch, few matrices")
    options = parser.parse_args()
    if options.train is None and (options.test or options.factor or options.ckpt):
        parser.error("--train: expected a file with --test, --factor or --ckpt")
    if options.fast and options.docs:
        parser.error("--docs: expected a full run, got --fast")
    return options


def main() -> None:
    """Train, extract, compare, mutate, write."""
    options = arguments()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    start = time.perf_counter()
    config_name = "planted" if options.train is None else "chip_motifs"
    name = "planted" if options.train is None else options.factor or Path(options.train).name.partition(".")[0]
    config = runs.recipe(config_name)
    changes: dict[str, Any] = {} if options.train is None else {"train": options.train}
    changes |= {"test": options.test} if options.test else {}
    changes |= {"motif": KNOWN[options.factor]} if options.factor in KNOWN else {}
    epochs, out = options.epochs, options.out
    if options.fast:
        changes |= {"positives": 300} if options.train is None else {"first": 200}
        epochs, out = 1, options.out / "fast"
    print(f"attention-suite {__version__}, python {platform.python_version()}, torch {torch.__version__},")
    print(f"lightning {lightning.__version__}, {torch.get_num_threads()} threads, seed {options.seed}")
    data = runs.make_data(config, changes)
    print(f"data: {data.source}; {data.licence}\n{data.fingerprint()}\n{data.describe_split()}", flush=True)
    if options.ckpt is None:
        run = runs.trained(config_name, changes, options.seed, epochs, out, name)
        print(f"trained in {run.minutes:.1f} CPU minutes: {run.folder / 'best.ckpt'}", flush=True)
        model = run.model
    else:
        model = runs.load_detector(options.ckpt).model
    known = list(data.planted) if options.train is None else []
    database = MotifDatabase(known + jaspar(ids=list(KNOWN.values())) if options.fast else jaspar())
    most, first = (600, None) if options.train is None else (500, 1000)
    recipe = Recipe(flank=options.flank, most=options.sites or most, parts=options.parts, matches=len(database))
    positives = data.plain_train_set.items[data.plain_train_set.targets() == 1][: options.first or first].tolist()
    texts, ids = [data.whole.letters[i] for i in positives], [data.whole.names[i] for i in positives]
    whole = replace(recipe, most=options.whole, parts=1)
    generator = np.random.default_rng(options.seed)
    null_epochs = epochs if options.null_epochs is None else options.null_epochs
    models = {"trained": model, "before training": runs.untrained(config, options.seed + 1000)}
    if null_epochs != 0:
        label = "permuted labels" + (f", {null_epochs} epoch(s)" if null_epochs else "")
        models[label] = runs.on_shuffled_labels(config, data, options.seed, null_epochs)
    by_model: dict[str, list[HeadMotif]] = {}
    for kind, how in (("whole", whole), ("parted", recipe)):
        for label, other in models.items():
            by_model[f"{label}, {kind}"] = extract_motifs(other, texts, database=database, recipe=how)
        first_of = by_model[f"trained, {kind}"]
        by_model[f"windows at random, {kind}"] = random_control(
            texts, first_of, generator, database=database, recipe=how
        )
    heads = by_model["trained, parted"]
    effects = mutate_sites(model, texts, heads, generator, most=5 if options.fast else 50)
    tables = [accuracy_table(model, data, not options.no_baselines), heads_table(heads, effects)]
    if options.train is None:
        names = [motif.name for motif in known]
        tables += [planted_table(by_model, names), planted_agreement(model, heads, data, fdr=0.2)]
        shown = [b.head for b in (best_named(heads, [n], names) for n in names) if b is not None and b.found]
    else:
        kin = KIN.get(options.factor, (options.factor or name,))
        tables.append(controls_table(by_model, kin))
        shown = [h.name for h in heads if (b := best_named([h], kin)) is not None and b.found]
    text = "\n\n".join(tables)
    folder = out / name
    files = write_heads(heads, folder)
    write_sites((site for head in heads for site in head.sites(ids)), folder / "sites.bed")
    write_text(folder / "report.md", text + "\n")
    chosen = [head for head in heads if head.name in shown] or [head for head in heads if head.motif is not None][:6]
    if chosen:
        profiles = {head.name: site_profile(model, texts, head, most=3 if options.fast else 30) for head in chosen}
        by_name = {effect.name: effect for effect in effects}
        captions = {
            k: f"sites mutated: logit {-e.effect:+.2f}, elsewhere {-e.control:+.2f}" for k, e in by_name.items()
        }
        title = f"{name}: motifs that heads read, and JASPAR's"
        figure = draw_heads(chosen, profiles=profiles, captions=captions, title=title)
        figure.savefig(folder / "heads.png", dpi=110)
        if options.docs:
            figure.savefig(runs.ROOT / "docs" / "images" / f"motifs_{name}.png", dpi=80)
    print(f"\n{text}\n")
    if options.fast:
        print("--fast: little data, one epoch, few matrices; these numbers show that it runs, not how good it is\n")
    if options.docs:
        put_into_docs(name, text)
    print(f"files: {', '.join(map(str, files))}, sites.bed, heads.png; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
