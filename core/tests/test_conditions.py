"""Conditions of every kind: below each other, row by row, chosen, moved, refused."""

import pytest
import torch

from limbeck.conditions import Conditions, cat, rows, to, where

A = Conditions(text=torch.tensor([[1, 2], [3, 4]]), azimuth=torch.tensor([10.0, 20.0]))
B = Conditions(text=torch.tensor([[5, 6]]), azimuth=torch.tensor([30.0]))


def test_named_tensors_have_one_length_and_are_told_when_they_do_not():
    assert len(A) == 2 and list(A) == ["text", "azimuth"] and bool(A)
    with pytest.raises(ValueError, match=r"equally many rows; got rows {'a': 2, 'b': 3}"):
        Conditions(a=torch.zeros(2), b=torch.zeros(3))
    with pytest.raises(ValueError, match="one or more tensors"):
        Conditions()
    with pytest.raises(KeyError, match="no condition 'elevation'; there are text, azimuth"):
        A["elevation"]
    with pytest.raises(TypeError, match="unhashable"):
        hash(A)


def test_rows_are_taken_by_slice_and_by_number_and_keep_their_names():
    assert A[1:] == Conditions(text=torch.tensor([[3, 4]]), azimuth=torch.tensor([20.0]))
    assert A[torch.tensor([1, 0, 1])]["azimuth"].tolist() == [20.0, 10.0, 20.0]
    assert A[1:] != A[:1] and Conditions(text=A["text"]) != A and A != 3


def test_replacing_one_tensor_leaves_the_others_and_the_original():
    changed = A.but(text=torch.zeros(2, 2, dtype=torch.int64), seed=torch.tensor([7, 8]))
    assert changed["text"].sum() == 0 and changed["azimuth"] is A["azimuth"] and changed["seed"].tolist() == [7, 8]
    assert A["text"].tolist() == [[1, 2], [3, 4]] and "seed" not in A


def test_every_kind_is_put_below_each_other():
    assert cat(None, None) is None
    assert cat(torch.tensor([1]), torch.tensor([2, 3])).tolist() == [1, 2, 3]
    assert cat(["a"], ["b", "c"]) == ["a", "b", "c"]
    both = cat(A, B)
    assert both["text"].tolist() == [[1, 2], [3, 4], [5, 6]] and both["azimuth"].tolist() == [10.0, 20.0, 30.0]
    with pytest.raises(KeyError, match="no condition 'azimuth'"):
        cat(A, Conditions(text=torch.zeros(1, 2)))


@pytest.mark.parametrize("index", [slice(0, 2), torch.tensor([2, 0])])
def test_some_rows_of_every_kind(index):
    picked = [0, 1] if isinstance(index, slice) else [2, 0]
    assert rows(None, index) is None
    assert rows(torch.tensor([5, 6, 7]), index).tolist() == [[5, 6, 7][i] for i in picked]
    assert rows(["a", "b", "c"], index) == [["a", "b", "c"][i] for i in picked]
    three = cat(A, B)
    assert rows(three, index)["azimuth"].tolist() == [[10.0, 20.0, 30.0][i] for i in picked]


def test_rows_are_chosen_one_by_one_from_two_conditions():
    chosen = torch.tensor([True, False, True])
    assert where(chosen, torch.tensor([1, 2, 3]), torch.tensor([7, 8, 9])).tolist() == [1, 8, 3]
    assert where(chosen, ["a", "b", "c"], ["x", "y", "z"]) == ["a", "y", "c"]
    three = cat(A, B)
    found = where(chosen, three, three.but(text=torch.zeros_like(three["text"])))
    assert found["text"].tolist() == [[1, 2], [0, 0], [5, 6]] and found["azimuth"].tolist() == [10.0, 20.0, 30.0]
    with pytest.raises(ValueError, match="zip"):
        where(chosen, ["a", "b"], ["x", "y"])


def test_moving_keeps_what_is_no_tensor_as_it_is():
    meta = to(A, "meta")
    assert meta["text"].device.type == "meta" and meta["azimuth"].shape == (2,)
    assert to(torch.zeros(2), "meta").device.type == "meta"
    assert to(["a"], "meta") == ["a"] and to(None, "meta") is None


def test_they_print_their_shapes():
    assert repr(A) == "Conditions(text=(2, 2), azimuth=(2,))"
