"""Tables of the demo of motifs: which head reads a motif best, with how many seeds and controls."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from genomics.motifs import Match
from genomics.sites import Agreement, HeadMotif, is_found

Rows = dict[str, Agreement]
"""What called the sites, and how they agree with the planted ones."""


class Named(NamedTuple):
    """The head that reads a factor's motif best: among its matches, where the factor stands and how alike it is.

    Args:
        head: Its name.
        rank: Of the factor among factors, each by its best matrix.
        of_matrices: Of that matrix among all matrices.
        match: With that matrix.
        found: Whether the match is one to rely on and the factor among the first.
    """

    head: str
    rank: int
    of_matrices: int
    match: Match
    found: bool


def best_named(heads: Sequence[Any], names: Sequence[str], rivals: Sequence[str] = ()) -> Named | None:
    """The best match with any matrix of these names on at least 8 columns: found ones first, then by r.

    Found: q < .01 and r >= .9 over at least 8 columns, and one of the first three factors of the head's matches; where
    rivals are given, the head's first match with any of them instead.
    """
    wanted, known = ({name.upper() for name in some} for some in (names, rivals))
    candidates = []
    for head in heads:
        first = next((m.target.name.upper() for m in head.matches if m.target.name.upper() in known), None)
        before: set[str] = set()
        for place, match in enumerate(head.matches, 1):
            factor = match.target.name.upper()
            if factor in wanted and match.overlap >= 8:
                rank = len(before - wanted) + 1
                ahead = first in wanted if rivals else rank <= 3
                candidates.append(Named(head.name, rank, place, match, ahead and is_found(match)))
            before.add(factor)
    return max(candidates, key=lambda c: (c.found, c.match.correlation), default=None)


def named_cells(best: Named | None) -> str:
    """Match, r, columns, q, rank among factors, rank among matrices, found."""
    if best is None:
        return " | ".join(["-"] * 6 + ["no"])
    m = best.match
    cells = [f"{m.target.name} {m.target.id}", f"{m.correlation:.3f}", str(m.overlap), f"{m.q_value:.1e}"]
    return " | ".join([*cells, str(best.rank), str(best.of_matrices), "yes" if best.found else "no"])


def controls_table(by_model: dict[str, list[HeadMotif]], names: Sequence[str]) -> str:
    """One line per model: its heads with a motif, and the one that is most like the factor's."""
    lines = [
        "| windows of | heads with a motif | with a match, q < .01, r >= .9 | most like the factor's | r | columns "
        "| q | rank | of matrices | found |",
        "|---" * 10 + "|",
    ]
    for model, heads in by_model.items():
        some = sum(head.motif is not None for head in heads)
        any_match = sum(bool(head.matches) and is_found(head.matches[0]) for head in heads)
        lines.append(f"| {model} | {some} of {len(heads)} | {any_match} | {named_cells(best_named(heads, names))} |")
    return "\n".join(lines)


def seeds_table(by_seed: dict[int, dict[int, list[HeadMotif]]], names: Sequence[str], label: str) -> str:
    """One line per seed and number of windows, heads not parted."""
    lines = [
        f"| seed | windows | {label} | r | columns | q | rank | of matrices | found |",
        "|---" * 9 + "|",
    ]
    counts: dict[int, int] = {}
    for seed, by_most in by_seed.items():
        for most, heads in by_most.items():
            best = best_named(heads, names)
            counts[most] = counts.get(most, 0) + (best is not None and best.found)
            lines.append(f"| {seed} | {most} | {named_cells(best)} |")
    total = "; ".join(f"{most} windows: {count} of {len(by_seed)}" for most, count in counts.items())
    return "\n".join(lines) + f"\n\nSeeds that find it, whole heads: {total}."


def planted_table(by_model: dict[str, Sequence[Any]], names: Sequence[str]) -> str:
    """One line per planted motif: the trained model's best, parted and refined; how many each control finds."""
    lines = [
        "| planted | head, parted | matrix | r | columns | q | found | head, refined "
        "| matrix | r | columns | q | found |",
        "|---" * 13 + "|",
    ]
    counts = {model: sum(found(heads, names)) for model, heads in by_model.items()}
    for name in names:
        cells = []
        for kind in ("parted", "refined"):
            best = best_named(by_model[f"trained, {kind}"], [name], names)
            if best is None:
                cells.append("- | - | - | - | - | no")
                continue
            m, head = best.match, best.head.removeprefix("head")
            numbers = f"{m.correlation:.3f} | {m.overlap} | {m.q_value:.1e} | {'yes' if best.found else 'no'}"
            cells.append(f"{head} | {m.target.id} | {numbers}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    total = "; ".join(f"{model} {count}" for model, count in counts.items())
    return "\n".join(lines) + f"\n\nFound, of {len(names)}: {total}."


def found(heads: Sequence[Any], names: Sequence[str]) -> list[bool]:
    """Which of the planted motifs a model finds: each the first among them."""
    best = [best_named(heads, [name], names) for name in names]
    return [one is not None and one.found for one in best]


def agreement_table(rows: Rows) -> str:
    """nCC, sensitivity and precision."""
    lines = ["| sites of the test part | nCC | sensitivity | precision |", "|---|---|---|---|"]
    lines += [f"| {name} | {a.correlation:.3f} | {a.sensitivity:.3f} | {a.precision:.3f} |" for name, a in rows.items()]
    return "\n".join(lines)


def planted_seeds_table(by_seed: dict[int, list[str]]) -> str:
    """One line per seed."""
    lines = [
        "| seed | test AUROC | found whole | parted | refined | refined motifs "
        "| nCC, peaks of attention | nCC, refined |",
        "|---" * 8 + "|",
    ]
    return "\n".join(lines + [f"| {seed} | {' | '.join(cells)} |" for seed, cells in by_seed.items()])
