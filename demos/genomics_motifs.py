"""What do the heads of a detector read? From two files of sequences to motifs, their names, and their sites.

    python demos/genomics_motifs.py                         ten motifs of JASPAR planted in random DNA
    python demos/genomics_motifs.py --train YY1_train.seq.gz --test YY1_test.seq.gz --factor YY1
    python demos/genomics_motifs.py --fast                  seconds, for the tests; its numbers mean nothing

Trains by configs/genomics/planted.yaml or chip.yaml; no motif enters training. Then every head's attention is read on
the first sequences of the training part (peak files are ranked by strength): the windows round its peaks are counted as
they stand, all of a head together ("whole") and parted by a mixture ("parted"), and compared with all vertebrate
matrices of JASPAR CORE, all versions. Where sites were planted, the parted motifs are also refined on the same
sequences by expectation maximisation ("refined"), without labels or motifs. Beside it, through the same steps: the
model before training, one trained on permuted labels, and windows at random from the same sequences. Sites of each head
are mutated to see whether the logit depends on them. Where sites were planted, those that are called on the test part
are compared with them. With several seeds, the long tables are those of the first.

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
from typing import Any

import lightning
import numpy as np
import torch
from motif_detection import runs
from motif_detection.tables import (
    Rows,
    agreement_table,
    best_named,
    controls_table,
    found,
    planted_seeds_table,
    planted_table,
    seeds_table,
)
from sklearn.metrics import roc_auc_score

from core import __version__
from core.training import rewrite, write_text
from genomics.detection import kmer_regression, matrix_scan
from genomics.detection.data import transition_matrix
from genomics.motifs import MotifDatabase, SiteModel, jaspar, scan, write_motifs
from genomics.sites import (
    HeadEffect,
    HeadMotif,
    Recipe,
    Refined,
    Site,
    agreement,
    call_sites,
    draw_heads,
    extract_motifs,
    find_peaks,
    heads_table,
    mutate_sites,
    random_control,
    refine,
    site_profile,
    sites_of_model,
    write_heads,
    write_sites,
)

PAGE = runs.ROOT / "docs" / "motifs.md"
KIN = {"YY1": ("ZFP42", "YY2")}
"""Retroposed copies that share a factor's motif (Kim et al. 2007, Nucleic Acids Research 35:3442)."""
KNOWN = {"USF2": "MA0526.1", "YY1": "MA0095.2", "ZNF143": "MA0088.2", "TEAD4": "MA0809.1"}
"""Matrices that the baseline scans with."""


def planted_agreement(model: Any, heads: Sequence[HeadMotif], refined: Refined | None, data: Any, fdr: float) -> Rows:
    """How the called sites of the test part agree with the planted ones, beside the planted matrices themselves."""
    items = data.test_set.items[data.test_set.targets() == 1].tolist()
    texts, ids = [data.whole.letters[i] for i in items], [data.whole.names[i] for i in items]
    decoys = [text for text, y in zip(data.test_set.letters(), data.test_set.targets(), strict=True) if y == 0]
    true = [Site(ids[n], s.start, s.end, "x", 0, s.strand) for n, i in enumerate(items) for s in data.sites_of(i)]
    lengths = dict(zip(ids, map(len, texts), strict=True))
    peaks, false = (find_peaks(model, some, per_sequence=3) for some in (texts, decoys))
    called = call_sites(heads, peaks, texts, ids, false, decoys, fdr=fdr)
    rows = {f"peaks of attention, parted motifs, {fdr:.0%} decoys": agreement(called, true, lengths)}
    if refined is not None:
        some = sites_of_model(refined.model, texts, ids, [motif.name for motif in refined.motifs])
        rows["refined motifs, chance of a base >= .5"] = agreement(some, true, lengths)
    transitions = transition_matrix(data.gc, data.cpg if data.order else 1.0)
    rates = np.full(len(data.planted), len(data.truth) / len(data.planted) / data.positives / data.sequence_length)
    planted = SiteModel(tuple(data.planted), rates, transitions)
    some = sites_of_model(planted, texts, ids, [motif.name for motif in data.planted])
    rows["the planted matrices and rates, chance of a base >= .5"] = agreement(some, true, lengths)
    for p in (1e-3, 3e-4, 1e-4, 3e-5):
        sites = []
        for motif in data.planted:
            hits = scan(motif, texts, p_value=p)
            sites += [
                Site(ids[i], s, s + hits.width, "x", 0, ".") for i, s in zip(hits.sequence, hits.start, strict=True)
            ]
        rows[f"the planted matrices, p <= {p:g}"] = agreement(sites, true, lengths)
    return rows


def accuracy_table(model: Any, data: Any, baselines: bool) -> str:
    """AUROC on the test part beside the simpler methods."""
    lines = ["| method | test AUROC |", "|---|---|"]
    lines.append(f"| detector | {auroc(model, data):.4f} |")
    known = data.known_motifs() if baselines else []
    results = [kmer_regression(data, 4), kmer_regression(data, 6)] if baselines else []
    results += [matrix_scan(data, known)] if known else []
    for result in results:
        lines.append(f"| {result.name.replace('_', ' ')} | {roc_auc_score(result.target, result.score):.4f} |")
    return "\n".join(lines)


def auroc(model: Any, data: Any) -> float:
    """On the test part."""
    return float(roc_auc_score(data.test_set.targets(), find_peaks(model, data.test_set.letters()).logits))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--train", help="sequences to train on; positives alone get shuffles as negatives")
    add("--test", help="sequences to test on (default: a part of --train)")
    add("--factor", help="name of the motif that is expected, for the tables alone")
    add("--ckpt", type=Path, help="a detector that was trained on --train already")
    add("--first", type=int, help="positives of the training part that are read (default: 1000; planted: 8000)")
    add("--whole", type=int, default=200, help="windows of a head that is not parted, at most (default %(default)s)")
    add("--sites", type=int, help="windows of a head that is parted, at most (default: 500; planted: 3000)")
    add("--parts", type=int, help="motifs that a head's windows may be parted into (default: 4; planted: 8)")
    add("--flank", type=int, default=15, help="bases on each side of a peak (default %(default)s)")
    add("--seed", type=int, default=0, help="of training and controls (default %(default)s)")
    add("--seeds", type=int, default=1, help="runs, from --seed on (default %(default)s)")
    add("--epochs", type=int, help="default: the configuration's")
    add("--null-epochs", type=int, help="on permuted labels (default: as many; 0 leaves that control out)")
    add("--no-baselines", action="store_true", help="leave the simpler classifiers out")
    add("--out", type=Path, default=Path("runs/demo_genomics_motifs"), help="folder of runs and files")
    add("--docs", action="store_true", help="put the tables into docs/motifs.md and the picture into docs/images")
    add("--fast", action="store_true", help="little data, one epoch, few parts and matrices")
    options = parser.parse_args()
    if options.train is None and (options.test or options.factor or options.ckpt):
        parser.error("--train: expected a file with --test, --factor or --ckpt")
    if options.ckpt and options.seeds > 1:
        parser.error("--seeds: expected 1 with --ckpt")
    if options.fast and options.docs:
        parser.error("--docs: expected a full run, got --fast")
    return options


KINDS = ("whole", "parted", "refined")


def read(
    model: Any, texts: list[str], peaks: Any, database: MotifDatabase, whole: Recipe, recipe: Recipe, further: bool
) -> dict[str, Any]:
    """What a model's heads read: together, parted and, if that is asked for, refined."""
    some: dict[str, Any] = {
        kind: extract_motifs(model, texts, peaks=peaks, database=database, recipe=how)
        for kind, how in (("whole", whole), ("parted", recipe))
    }
    if further:
        some["refined"] = refine(some["parted"], texts[:3000], database=database, matches=len(database))
    return some


def motifs_of(some: Any) -> list[Any]:
    """The motifs of what was read; none where nothing was left to refine."""
    return [] if some is None else list(some.motifs) if isinstance(some, Refined) else some


def planted_cells(model: Any, some: dict[str, Any], data: Any, names: Sequence[str]) -> tuple[list[str], Rows]:
    """One seed's line of the table of seeds, and how its called sites agree with the planted ones."""
    rows = planted_agreement(model, some["parted"], some["refined"], data, fdr=0.2)
    attention, refined = list(rows.values())[:2]
    cells = [f"{auroc(model, data):.4f}"]
    cells += [f"{sum(found(motifs_of(some[kind]), names))} of {len(names)}" for kind in KINDS]
    cells += [str(len(motifs_of(some["refined"]))), f"{attention.correlation:.3f}"]
    return [*cells, f"{refined.correlation:.3f}" if some["refined"] is not None else "-"], rows


def picture(
    name: str, model: Any, texts: list[str], heads: list[HeadMotif], effects: Sequence[HeadEffect], most: int
) -> Any:
    """Logos, what single substitutions do to the logit, and the matches."""
    profiles = {head.name: site_profile(model, texts, head, most=most) for head in heads}
    captions = {e.name: f"sites mutated: logit {-e.effect:+.2f}, elsewhere {-e.control:+.2f}" for e in effects}
    title = f"{name}: motifs that heads read, and JASPAR's"
    return draw_heads(heads, profiles=profiles, captions=captions, title=title)


def main() -> None:
    """Train, extract, compare, mutate, write."""
    options = arguments()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    start = time.perf_counter()
    config_name = "planted" if options.train is None else "chip"
    name = "planted" if options.train is None else options.factor or Path(options.train).name.partition(".")[0]
    config = runs.recipe(config_name)
    changes: dict[str, Any] = {} if options.train is None else {"train": options.train}
    changes |= {"test": options.test} if options.test else {}
    changes |= {"motif": KNOWN[options.factor]} if options.factor in KNOWN else {}
    epochs, out = options.epochs, options.out
    if options.fast:
        changes |= {"positives": 200} if options.train is None else {"first": 200}
        epochs, out = 1, options.out / "fast"
    print(f"attention-suite {__version__}, python {platform.python_version()}, torch {torch.__version__},")
    print(f"lightning {lightning.__version__}, {torch.get_num_threads()} threads, seed {options.seed}")
    data = runs.make_data(config, changes)
    print(f"data: {data.source}; {data.licence}\n{data.fingerprint()}\n{data.describe_split()}", flush=True)
    planted = options.train is None
    database = MotifDatabase((list(data.planted) if planted else []) + jaspar(ids=list(KNOWN.values())))
    database = database if options.fast else MotifDatabase(jaspar())
    recipe = Recipe(
        flank=options.flank,
        most=options.sites or (3000 if planted else 500),
        parts=options.parts or (2 if options.fast else 8 if planted else 4),
        matches=len(database),
    )
    positives = data.plain_train_set.items[data.plain_train_set.targets() == 1]
    positives = positives[: options.first or (8000 if planted else 1000)].tolist()
    texts, ids = [data.whole.letters[i] for i in positives], [data.whole.names[i] for i in positives]
    whole = replace(recipe, most=options.whole, parts=1)
    factor = options.factor or name
    names = [motif.name for motif in data.planted] if planted else [factor, *KIN.get(factor, ())]
    trained, by_seed, rows_of = {}, {}, {}
    for seed in range(options.seed, options.seed + options.seeds):
        if options.ckpt is None:
            run = runs.trained(config_name, changes, seed, epochs, out, f"{name}_seed{seed}")
            print(f"seed {seed}: trained in {run.minutes:.1f} CPU minutes: {run.folder / 'best.ckpt'}", flush=True)
            trained[seed] = run.model
        else:
            trained[seed] = runs.load_detector(options.ckpt).model
        peaks = find_peaks(trained[seed], texts)
        if planted:
            some = read(trained[seed], texts, peaks, database, whole, recipe, planted)
            by_seed[seed], rows = planted_cells(trained[seed], some, data, names)
            rows_of[seed] = rows, some
        else:
            by_seed[seed] = {
                most: extract_motifs(
                    trained[seed], texts, peaks=peaks, database=database, recipe=replace(whole, most=most)
                )
                for most in (100, 150, 200)
            }
    model = trained[options.seed]
    generator = np.random.default_rng(options.seed)
    null_epochs = epochs if options.null_epochs is None else options.null_epochs
    models = {"trained": model, "before training": runs.untrained(config, options.seed + 1000)}
    if null_epochs != 0:
        label = "permuted labels" + (f", {null_epochs} epoch(s)" if null_epochs else "")
        models[label] = runs.on_shuffled_labels(config, data, options.seed, null_epochs)
    by_model: dict[str, Any] = {}
    for label, other in models.items():
        some = rows_of[options.seed][1] if label == "trained" and planted else None
        some = some or read(other, texts, find_peaks(other, texts), database, whole, recipe, planted)
        by_model |= {f"{label}, {kind}": motifs_of(some[kind]) for kind in KINDS if kind in some}
    for kind, how in (("whole", whole), ("parted", recipe)):
        by_model[f"windows at random, {kind}"] = random_control(
            texts, by_model[f"trained, {kind}"], generator, database=database, recipe=how
        )
    heads = by_model["trained, parted"]
    effects = mutate_sites(model, texts, heads, generator, most=5 if options.fast else 50)
    tables = [accuracy_table(model, data, not options.no_baselines), heads_table(heads, effects)]
    if planted:
        tables += [planted_table(by_model, names), agreement_table(rows_of[options.seed][0])]
        tables.append(planted_seeds_table(by_seed))
        shown = [b.head for b in (best_named(heads, [n], names) for n in names) if b is not None and b.found]
    else:
        by_model = {key: by_model[key] for key in sorted(by_model, key=lambda key: "parted" in key)}
        tables.append(controls_table(by_model, names))
        if len(by_seed) > 1:
            tables.append(seeds_table(by_seed, names, "most like the factor's"))
        shown = [h.name for h in heads if (b := best_named([h], names)) is not None and b.found]
    text = "\n\n".join(tables)
    folder = out / name
    files = write_heads(heads, folder)
    if by_model.get("trained, refined"):
        files.append(folder / "refined.meme")
        write_motifs([one.motif for one in by_model["trained, refined"]], files[-1])
    write_sites((site for head in heads for site in head.sites(ids)), folder / "sites.bed")
    write_text(folder / "report.md", text + "\n")
    chosen = [head for head in heads if head.name in shown] or [head for head in heads if head.motif is not None][:6]
    if chosen:
        figure = picture(name, model, texts, chosen, effects, most=3 if options.fast else 30)
        figure.savefig(folder / "heads.png", dpi=110)
        if options.docs:
            figure.savefig(runs.ROOT / "docs" / "images" / f"motifs_{name}.png", dpi=80)
    print(f"\n{text}\n")
    if options.fast:
        print("--fast: little data, one epoch, few matrices; these numbers show that it runs, not how good it is\n")
    if options.docs:
        rewrite(PAGE, name, text)
    print(f"files: {', '.join(map(str, files))}, sites.bed, heads.png; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
