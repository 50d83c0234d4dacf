"""Splits: what would leak cannot be made, what a user gives is checked, and the sizes are told in words."""

import numpy as np
import pytest

from core.training import DrawnDataModule, Split


def numbers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_parts_by_name_in_order_and_in_words():
    split = Split(numbers(0, 2), numbers(), numbers(5))
    assert [len(part) for part in split] == [2, 0, 1] and split.part("test").tolist() == [5]
    assert str(split) == "train 2, val 0, test 1"
    assert np.concatenate(split).tolist() == [0, 2, 5] and split[2].tolist() == [5] and len(split) == 3
    with pytest.raises(ValueError, match="part: expected one of train, val, test, got 'valid'"):
        split.part("valid")


def test_groups_are_never_parted():
    subjects = np.array(["a", "a", "b", "c"])
    split = Split(numbers(0, 1), numbers(2), numbers(3), subjects, "subject")
    assert str(split) == "train 2 samples of 1 subjects, val 1 samples of 1 subjects, test 1 samples of 1 subjects"
    with pytest.raises(ValueError, match="every subject in one part, got 1 in train and test, such as 'a'"):
        Split(numbers(0), numbers(2), numbers(1), subjects, "subject")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((numbers(0, 1), numbers(1), numbers()), "every item in one part, got 1 in train and val, such as 1"),
        ((numbers(0, 0), numbers(), numbers()), "train: expected every item once, got one twice"),
        ((numbers(0), numbers(-1), numbers()), r"val: expected items 0 or more, got -1 \.\. -1"),
        ((np.array([0.5]), numbers(), numbers()), r"train: expected \(n,\) of whole numbers, got \(1,\) of float64"),
    ],
)
def test_what_would_leak_cannot_be_made(parts, message):
    with pytest.raises(ValueError, match=message):
        Split(*parts)


def test_an_item_that_does_not_exist_is_named_by_its_groups():
    with pytest.raises(ValueError, match=r"test: expected items 0 \.\. 1, got 2 \.\. 2"):
        Split(numbers(0), numbers(), numbers(2), np.array(["a", "b"]))


def test_masks_and_numbers_of_a_user():
    split = Split.of_parts({"train": [True, False, True, False], "test": [3]}, 4)
    assert [part.tolist() for part in split] == [[0, 2], [], [3]]


class Letters(DrawnDataModule[str]):
    licence, source = "none", "made"

    def __init__(self, word: str = "abcd", fails: bool = False, **options) -> None:
        super().__init__(**options)
        self.word, self.fails, self.reads = word, fails, 0

    def load(self) -> str:
        self.reads += 1
        return self.word

    def arrange(self, loaded: str, stage: str | None) -> None:
        if self.fails:
            raise ValueError("word: expected another")
        self.split = Split(numbers(0, 1), numbers(2), numbers(3))
        self.train_set, self.val_set, self.test_set = (
            [self.ready()[int(k)] for k in part]
            for part in self.split  # type: ignore[assignment]
        )

    def fingerprint(self) -> str:
        return f"sha256:{self.ready()}"


def test_data_are_read_once_and_told_in_words():
    data = Letters()
    with pytest.raises(RuntimeError, match=r"Letters: expected setup\(\) to have been called"):
        data.ready()
    data.setup("fit")
    data.setup("test")
    assert data.reads == 1 and data.ready() == "abcd" and data.test_set == ["d"]
    assert data.describe_split() == "drawn, seed 0: train 2, val 1, test 1"
    assert data.names_of(np.array([3, 1])) == ["3", "1"]


def test_data_that_cannot_be_split_are_not_there():
    data = Letters(fails=True)
    for _ in range(2):
        with pytest.raises(ValueError, match="word: expected another"):
            data.setup("fit")
    assert data.loaded is None and data.reads == 2


def test_only_items_to_predict_are_counted():
    data = Letters()
    data.predict_set = ["x", "y"]  # type: ignore[assignment]
    assert data.describe_split() == "nothing is split: 2 to predict"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (5, "split: expected a Split or part -> items, got int"),
        ({1: [0], "x": [1]}, "split: expected the parts train, val, test, got 1"),
        ({"train": None}, r"train: expected \(n,\) of whole numbers, got \(\) of object"),
        ({"train": {0, 1}}, r"train: expected \(n,\) of whole numbers, got \(\) of object"),
        ({"train": ["a"]}, r"train: expected whole numbers 0 \.\. 9, got <U1"),
        ({"train": [-1]}, r"train: expected items 0 or more, got -1"),
    ],
)
def test_what_is_no_part_is_named(parts, message):
    with pytest.raises(ValueError, match=message):
        Split.of_parts(parts, 10)
