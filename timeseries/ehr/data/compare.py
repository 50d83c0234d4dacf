"""Data beside a checkpoint: are they read as the data that the model was fitted on, and who of them trained it?"""

from collections.abc import Mapping, Sequence
from typing import Any

from ...events.trained_on import Overlap, TrainedOn

STAGES = {"validate": "val", "test": "test", "predict": "test"}


def differing_rules(
    stored: Mapping[str, Any],
    asked: Mapping[str, Any],
    rules: Sequence[str],
    noted: Sequence[str] = (),
    allowed: Sequence[str] = (),
    resume: bool = False,
) -> list[str]:
    """Compare how the training data were read with how these are; answer a note for each difference that may be.

    Args:
        stored: Options of the data module that the checkpoint was trained with.
        asked: Options now.
        rules: Those that change what a model is given for the same events.
        noted: Those that follow the names in the files: a difference is said, and no more.
        allowed: Rules that differ on purpose.
        resume: Whether training goes on: then nothing may differ.

    Raises:
        ValueError: `allowed` names what is no rule, or a rule differs without being named there.
    """
    strange = [name for name in allowed if name not in rules]
    if strange:
        raise ValueError(f"allow_other_rules: expected names of {', '.join(rules)}, got {strange[0]!r}")
    notes, wrong = [], []
    for name in (*rules, *noted):
        if name not in stored or _plain(stored[name]) == _plain(asked.get(name)):
            continue
        text = f"data.{name}: expected {stored[name]!r}, as the model was fitted with, got {asked.get(name)!r}"
        if name in noted or (name in allowed and not resume):
            notes.append(f"note: {text}")
        else:
            wrong.append((name, text))
    if wrong:
        names = ", ".join(name for name, _ in wrong)
        way = (
            "leave the options as they were to resume, or --ckpt_path out to start anew"
            if resume
            else "read the files as in training (--config with the run's own config.yaml has all options); where they "
            f"are written differently on purpose, say so: --data.allow_other_rules '[{names}]'"
        )
        raise ValueError(f"{'; '.join(text for _, text in wrong)}; {way}")
    return notes


def known_subjects(
    trained: TrainedOn, subjects: Sequence[str], population: str, stage: str, allowed: bool
) -> tuple[Overlap, list[str]]:
    """Count the subjects of a part that the model knows; answer the count and what must be said.

    Args:
        trained: Who trained and validated.
        subjects: Of the part that is validated, tested or predicted.
        population: Of these subjects.
        stage: "validate", "test" or "predict".
        allowed: Whether to go on where a number would be too good.

    Raises:
        ValueError: Subjects that are to judge the model have trained it, or, in the test, chosen it.
    """
    found = trained.overlap(subjects, population)
    if stage == "validate":  # those of the validation part are meant to be there
        found = found._replace(chose=0)
    if not found.trained and not found.chose:
        return found, []
    counts = [f"{found.trained} trained this model"] if found.trained else []
    counts += [f"{found.chose} chose its epoch and calibration"] if found.chose else []
    text = f"of the {found.subjects} subjects of the {STAGES[stage]} part, {' and '.join(counts)}"
    if stage == "predict":
        return found, [f"note: {text}: their probabilities are not those of new subjects"]
    if allowed:
        return found, [f"warning: {text}: the numbers are too good, and say nothing about new subjects"]
    raise ValueError(
        f"{stage}: expected subjects that the model does not know, got others: {text}. "
        "Use the split of the training (the same files, split_seed, fold and fractions; the run's "
        "config.yaml has them all) or other subjects; to go on with these, or where other people have the same names, "
        "add --data.allow_overlap true"
    )


def check_resumed(trained: TrainedOn, now: TrainedOn) -> None:
    """Hold a resumed run to its subjects.

    Raises:
        ValueError: Others train or validate than before.
    """
    if trained != now:
        raise ValueError(
            f"ckpt_path: expected the {len(trained.train)} subjects that the run to resume trained on and the "
            f"{len(trained.val)} that it validated on, got {len(now.train)} and {len(now.val)} that are not the "
            "same. Use the same files, split_seed, fold and fractions to resume, or leave --ckpt_path out to start anew"
        )


def _plain(value: Any) -> Any:
    """A value to compare: tuples as lists, maps without their order, and empty ones as None."""
    if isinstance(value, Mapping):
        value = {str(name): _plain(item) for name, item in value.items()}
    elif isinstance(value, (list, tuple)):
        value = [_plain(item) for item in value]
    return None if value in ([], {}) else value
