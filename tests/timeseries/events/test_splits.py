"""Splits by subject: the type refuses a subject on two sides, whatever drew it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timeseries import Split, subject_split


def split(train: list[int], val: list[int], test: list[int], subjects: str = "ppqrs") -> Split:
    return Split(np.array(list(subjects)), *(np.array(part, dtype=np.int64) for part in (train, val, test)))


def test_a_subject_on_two_sides_is_refused() -> None:
    assert str(split([0, 1], [2], [3])) == (
        "train 2 samples of 1 subjects, val 1 samples of 1 subjects, test 1 samples of 1 subjects"
    )
    with pytest.raises(ValueError, match="got 1 in train and test, such as 'p'"):
        split([0, 2], [3], [1])
    with pytest.raises(ValueError, match="got 1 in val and test, such as 'p'"):
        split([2], [0], [1])
    with pytest.raises(ValueError, match="got 1 in train and val"):
        split([0], [0], [])


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"train: expected items 0 \.\. 4, got 2 \.\. 5"):
        split([2, 5], [], [])
    with pytest.raises(ValueError, match="test: expected every item once"):
        split([0], [], [3, 3])
    with pytest.raises(ValueError, match="whole numbers"):
        Split(np.array(["p"]), np.array([0.0]), np.array([]), np.array([]))


@given(
    st.lists(st.integers(0, 30), min_size=12, max_size=120),
    st.integers(0, 5),
    st.sampled_from([(0.1, 0.2, None), (0.0, 0.3, None), (0.25, 0.2, 0), (0.0, 0.0, 2), (0.2, 0.0, None)]),
)
def test_every_sample_is_in_one_part_and_every_subject_too(people: list[int], seed: int, how: tuple) -> None:
    subjects = np.array([f"s{k}" for k in people])
    if len(set(people)) < 8:
        return
    strata = np.array(people) % 3
    val, test, fold = how
    drawn = subject_split(subjects, strata, val=val, test=test, fold=fold, folds=4, seed=seed)
    assert sorted(np.concatenate([drawn.train, drawn.val, drawn.test]).tolist()) == list(range(len(people)))
    parts = [set(subjects[part]) for part in (drawn.train, drawn.val, drawn.test)]
    assert sum(map(len, parts)) == len(set(people))
    again = subject_split(subjects, strata, val=val, test=test, fold=fold, folds=4, seed=seed)
    assert again.test.tolist() == drawn.test.tolist() and again.val.tolist() == drawn.val.tolist()


def test_shares_and_strata_are_kept() -> None:
    subjects = np.array([f"s{k // 2}" for k in range(2000)])
    strata = (np.arange(2000) // 2 % 10 == 0).astype(int)
    drawn = subject_split(subjects, strata, val=0.1, test=0.2, seed=3)
    assert [len(part) for part in (drawn.train, drawn.val, drawn.test)] == [1400, 200, 400]
    assert [int(strata[part].sum()) for part in (drawn.train, drawn.val, drawn.test)] == [140, 20, 40]
    assert subject_split(subjects, strata, seed=4).test.tolist() != drawn.test.tolist()


def test_folds_cover_everybody_once() -> None:
    subjects = np.array([f"s{k // 3}" for k in range(90)])
    tests = [subject_split(subjects, np.arange(90) // 3 % 2, fold=fold, folds=5).test for fold in range(5)]
    assert sorted(np.concatenate(tests).tolist()) == list(range(90))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val": 1.0}, r"val: expected a share in \[0, 1\)"),
        ({"val": 0.5, "test": 0.5}, r"val \+ test"),
        ({"fold": 5}, r"fold: expected 0 \.\. 4"),
        ({"fold": 0, "folds": 40}, "expected at least 40 subjects, got 10"),
        ({"test": 0.99, "val": 0.0}, "test: expected subjects on both sides"),
    ],
)
def test_what_cannot_be_split_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        subject_split(np.array([f"s{k}" for k in range(10)]), np.arange(10) % 2, **options)
