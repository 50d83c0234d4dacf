import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.images import stratified_split

LABELS = np.repeat(np.arange(4), 25)


def check_partition(split, n):
    everything = np.concatenate(split)
    assert len(everything) == n
    assert np.array_equal(np.sort(everything), np.arange(n))


def test_hold_out_has_the_exact_counts_of_every_class():
    split = stratified_split(LABELS, val=0.12, test=0.2, seed=3)
    check_partition(split, 100)
    assert np.bincount(LABELS[split.test]).tolist() == [5, 5, 5, 5]
    assert np.bincount(LABELS[split.val]).tolist() == [3, 3, 3, 3]
    assert np.bincount(LABELS[split.train]).tolist() == [17, 17, 17, 17]


def test_folds_cover_every_item_once():
    splits = [stratified_split(LABELS, val=0.1, fold=fold, folds=5, seed=1) for fold in range(5)]
    for split in splits:
        check_partition(split, 100)
        assert np.bincount(LABELS[split.test]).tolist() == [5, 5, 5, 5]
        assert np.bincount(LABELS[split.val]).tolist() == [2, 2, 2, 2]
    assert np.array_equal(np.sort(np.concatenate([split.test for split in splits])), np.arange(100))


def test_split_is_a_function_of_its_seed():
    same = [stratified_split(LABELS, seed=5) for _ in range(2)]
    other = stratified_split(LABELS, seed=6)
    assert all(np.array_equal(a, b) for a, b in zip(*same, strict=True))
    assert not np.array_equal(same[0].test, other.test)


def test_no_validation_part():
    split = stratified_split(LABELS, val=0, test=0.2)
    assert [len(part) for part in split] == [80, 0, 20]


@given(
    st.lists(st.integers(0, 3), min_size=20, max_size=80),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.one_of(st.none(), st.integers(0, 3)),
    st.integers(0, 10),
)
def test_never_leaks(labels, val, fold, seed):
    labels = np.asarray(labels)
    try:
        split = stratified_split(labels, val=val, test=0.25, fold=fold, folds=4, seed=seed)
    except ValueError as error:  # too few of a class: said, not bent
        assert "expected" in str(error)
        return
    check_partition(split, len(labels))
    assert set(labels[split.train]) == set(labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fold": 5}, "fold: expected 0 .. 4"),
        ({"fold": -1}, "fold: expected 0 .. 4"),
        ({"folds": 1, "fold": 0}, "folds: expected at least 2"),
        ({"val": 0.6, "test": 0.5}, "val \\+ test"),
        ({"val": 1.0}, "val: expected a fraction"),
        ({"test": 0.01}, "test: 0.01 of 100 items is 1"),
        ({"fold": 0, "folds": 30}, "at least 30 items of each class"),
    ],
)
def test_refuses_what_cannot_be_split(options, message):
    with pytest.raises(ValueError, match=message):
        stratified_split(LABELS, **options)
