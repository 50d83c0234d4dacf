"""Renamed options: one value by either name, a note, and typed options win over stored ones under any name."""

from typing import Any

import pytest

from core.training import BaselineResult, by_name, checked_names
from core.training.checkpoint.stored import Stored, settle_names
from core.training.renamed import _said, keep, renamed


@pytest.fixture(autouse=True)
def _nothing_said():
    _said.clear()


def test_one_value_by_either_name(capsys) -> None:
    assert renamed("T", "old", None, "new", 3) == 3 and not capsys.readouterr().err
    assert renamed("T", "old", 2, "new", None) == 2 == renamed("T", "old", 2, "new", 2)
    assert capsys.readouterr().err == "note: T: old is now called new\n"  # once
    with pytest.raises(ValueError, match=r"new: expected one of new and old \(its former name\), got 1 and 2"):
        renamed("T", "old", 2, "new", 1)


def test_hyperparameters_keep_the_new_name_alone() -> None:
    hparams = {"old": 2, "new": None}
    keep(hparams, "new", 2, "old", unset="unset")
    assert hparams == {"old": "unset", "new": 2}


class Named:
    former_options = {"old": "new"}  # noqa: RUF012

    def __init__(self, new: int | None = None, old: str | None = "unset", lr: float = 1.0) -> None: ...


class Part(dict):
    """As much of a parser's namespace as is asked for."""


def settle(stored: dict[str, Any], asked: dict[str, Any], *typed: str, resume: bool = False):
    given = Stored({"hyper_parameters": stored}, "x.ckpt", Part(init_args=asked), list(typed))
    used = {**asked, **{key: value for key, value in stored.items()}}
    notes = given.settle(Part(init_args=used), resume, Named)
    return used, notes


def test_an_old_checkpoint_under_a_new_configuration() -> None:
    used, notes = settle({"old": "a", "lr": 1.0}, {"new": 1, "old": "unset", "lr": 1.0})
    assert used == {"new": None, "old": "a", "lr": 1.0} and not notes


def test_a_new_checkpoint_under_an_old_configuration() -> None:
    used, notes = settle({"new": 7, "old": "unset"}, {"new": None, "old": "a"})
    assert used == {"new": 7, "old": "unset"} and not notes


def test_null_under_the_former_name_counts_as_given() -> None:
    used, _ = settle({"old": None}, {"new": None, "old": "unset"})
    assert used == {"new": None, "old": None}


def test_what_is_typed_wins_under_either_name() -> None:
    used, notes = settle({"old": "a"}, {"new": 5, "old": "unset"}, "--model.new=5")
    assert used == {"new": 5, "old": "unset"} and notes == ["note: model.new = 5 as typed, not 'a' from the checkpoint"]
    used, notes = settle({"new": 7, "old": "unset"}, {"new": None, "old": "b"}, "--model.old", "b")
    assert used == {"new": None, "old": "b"} and len(notes) == 1
    with pytest.raises(ValueError, match=r"model\.new: expected 'a', as the run that is resumed has, got 5"):
        settle({"old": "a"}, {"new": 5, "old": "unset"}, "--model.new=5", resume=True)


def test_a_typed_former_name_wins_over_a_configuration_with_the_new_one() -> None:
    for typed, expected in (
        ("--model.old", {"new": None, "old": "b"}),
        ("--model.new=1", {"new": 1, "old": "unset"}),
        ("--data.new=1", {"new": 1, "old": "b"}),  # neither is typed: the task says that they differ
    ):
        used = {"new": 1, "old": "b"}
        settle_names(used, Named, [typed])
        assert used == expected


def test_baselines_by_their_names() -> None:
    assert checked_names(None, ("svm", "trees")) == ["svm", "trees"] and checked_names([], ("svm",)) == []
    with pytest.raises(ValueError, match=r"baselines: expected names among svm, or \[\] for none, got 'smv'"):
        checked_names(["smv"], ("svm",))
    results = [BaselineResult("svm", {"accuracy": 0.5}), BaselineResult("trees", {"accuracy": 0.25})]
    assert by_name(results, "val") == {"svm": {"val/accuracy": 0.5}, "trees": {"val/accuracy": 0.25}}
    for name in ("I + A", "Ridge"):
        with pytest.raises(ValueError, match="name: expected a name in snake_case"):
            BaselineResult(name, {})
