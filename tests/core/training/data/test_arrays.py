"""What data modules of arrays take from Python."""

import numpy as np
import pytest
import torch

from core.training import Split
from core.training.data import as_array, check_scheme, column_names, item_names


class Series:
    """A column of a table that numpy cannot read by itself."""

    def to_numpy(self):
        return np.array([1, 2])


@pytest.mark.parametrize(
    "value",
    [[1, 2], (1, 2), np.array([1, 2]), torch.tensor([1, 2]), torch.tensor([1.0, 2.0]).requires_grad_(), Series()],
)
def test_an_array_of_any_kind(value):
    array = as_array("x", value)
    assert isinstance(array, np.ndarray) and array.tolist() == [1, 2]


def test_what_is_no_array_is_named():
    with pytest.raises(ValueError, match=r"^x: expected an array, got list: .*inhomogeneous"):
        as_array("x", [[1], [1, 2]])


class Table:
    """What a data frame or a data set looks like."""

    def __init__(self, attribute):
        setattr(self, attribute, ["a", 1])


@pytest.mark.parametrize("table", [Table("columns"), Table("column_names"), {"a": [], 1: []}])
def test_columns_of_any_table(table):
    assert column_names("events", table) == ["a", "1"]


def test_what_is_no_table_is_named():
    with pytest.raises(ValueError, match=r"^events: expected a mapping of columns, .* got list"):
        column_names("events", [1])


def test_names_of_items():
    assert item_names(["a", "b"], 2) == item_names(np.array(["a", "b"]), 2) == ["a", "b"]
    assert item_names(torch.tensor([3, 1]), 2) == ["3", "1"]
    for names in (["a", "a"], ["a"], ["a", "b", "c"]):
        many = f"got {len(set(names))} in {len(names)}"
        with pytest.raises(ValueError, match=f"^names: expected 2 different names, {many}$"):
            item_names(names, 2)


def test_a_split_is_made_of_a_split_and_of_tensors():
    split = Split.of_parts({"train": torch.tensor([2, 0]), "test": torch.tensor([False, True, False])}, 3)
    assert [part.tolist() for part in split] == [[2, 0], [], [1]]
    assert [part.tolist() for part in Split.of_parts(split, 3)] == [[2, 0], [], [1]]
    with pytest.raises(ValueError, match=r"^train: expected whole numbers 0 \.\. 1"):
        Split.of_parts(split, 2)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"val": 1.0, "test": 0.0}, r"^val: expected a fraction in \[0, 1\), got 1\.0"),
        ({"val": 0.0, "test": -0.1, "what": "share"}, r"^test: expected a share in \[0, 1\), got -0\.1"),
        ({"val": 0.5, "test": 0.5}, r"^val \+ test: expected less than 1, got 0\.5 \+ 0\.5"),
        ({"val": 0.0, "test": 0.0, "fold": 0, "folds": 1}, "^folds: expected at least 2, got 1"),
        ({"val": 0.0, "test": 0.0, "fold": 5}, r"^fold: expected 0 \.\. 4 \(folds = 5\), got 5"),
    ],
)
def test_a_split_that_cannot_be_drawn(numbers, message):
    with pytest.raises(ValueError, match=message):
        check_scheme(**numbers)


def test_a_split_that_can_be_drawn():
    check_scheme(0.5, 0.4)
    check_scheme(0.5, 0.5, fold=4)  # the fold is the test part


def test_a_split_that_is_given_keeps_its_groups():
    given = Split(np.array([0, 1]), np.array([], int), np.array([2]), np.array(["a", "a", "b"]), "subject")
    assert str(Split.of_parts(given, 3)) == str(given)
    with pytest.raises(ValueError, match="groups: expected one for each of 4 items, got 3"):
        Split.of_parts(given, 4)


def test_tensors_that_numpy_cannot_hold():
    rows = torch.tensor([[1.0, 0.0], [0.0, 0.5]])
    for value in (rows.bfloat16(), rows.to_sparse()):
        np.testing.assert_array_equal(as_array("x", value), rows.numpy())
    with pytest.raises(ValueError, match=r"x: expected an array, got list: .*requires grad"):
        as_array("x", [rows.clone().requires_grad_(), rows.clone().requires_grad_()])
    with pytest.raises(ValueError, match=r"names: expected \(2,\), got \(2, 1\)"):
        item_names([["a"], ["b"]], 2)
