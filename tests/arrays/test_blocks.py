"""Indices of arrays whose blocks are on engines."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpidirect.arrays.blocks import slices_of_parts

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

WHOLE = np.arange(21.0).reshape(7, 3)
EDGES = st.one_of(st.none(), st.integers(-30, 30))


@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=5),
    st.builds(slice, EDGES, EDGES, st.one_of(st.none(), st.integers(-9, 9).filter(bool))),
)
def test_slices_of_parts_select_what_a_slice_of_the_whole_does(lengths, key):
    whole = np.arange(sum(lengths))
    parts = np.split(whole, list(itertools.accumulate(lengths))[:-1])
    items = np.concatenate([part[s] for part, s in zip(parts, slices_of_parts(key, lengths), strict=True)])
    np.testing.assert_array_equal(items[::-1] if (key.step or 1) < 0 else items, whole[key])


@pytest.mark.parametrize(
    "key",
    [
        *(0, -1, 5, np.int64(3), slice(None), slice(None, None, 3), slice(5, 1, -2), slice(4, 4)),
        *(..., (), (..., 1), (..., slice(2)), (2, 1), (slice(1, 6), [0, 2]), (slice(None), None, 0)),
        *((..., None), (..., 2, 1), [1, 6, 0, 1, -2], np.array([[0, 5], [5, 3]]), [], [2], range(3, 6)),
        *(WHOLE % 2 == 0, WHOLE > 100, (WHOLE % 4 == 1).tolist(), WHOLE[:, 0] > 8, (WHOLE[:, 0] > 8, 1)),
        *(([4, 0], slice(None), None), ([4, 0], ..., 1), (..., [1, 2]), (..., WHOLE > 7), (2, [0, 1])),
    ],
    ids=str,
)
def test_an_index_selects_what_numpy_selects(dview, key):
    array = WHOLE
    dview.scatter("A", array, block=True)
    np.testing.assert_array_equal(dview.array("A")[key], array[key])


def test_an_index_moves_the_selected_items_only(dview):
    dview.scatter("A", np.arange(1_000_000), block=True)
    found = dview.array("A")[::100_000]
    np.testing.assert_array_equal(found, np.arange(0, 1_000_000, 100_000))
    assert found.nbytes == 80
    last = dview.array("A")[999_998:]
    assert last.tolist() == [999_998, 999_999]
    dview.execute("A = A[:1]", block=True)
    with pytest.raises(
        IndexError, match=r"the mask has the shape \(1000000,\), and the array the shape \(4,\)"
    ):
        dview.array("A")[np.ones(1_000_000, bool)]


def test_the_whole_and_its_description(dview):
    array = np.arange(10, dtype="f4")
    dview.scatter("A", array, block=True)
    whole = dview.array("A")
    assert (whole.shape, whole.ndim, whole.dtype, len(whole)) == ((10,), 1, "float32", 10)
    assert repr(whole) == "<DistributedArray 'A': float32[10] on 4 engines>"
    np.testing.assert_array_equal(np.asarray(whole), array)
    dview.execute("A = A[:1]", block=True)
    assert whole.shape == (4,)  # the present shape on the engines


def test_errors_of_indices(dview):
    dview.scatter("A", np.arange(10), block=True)
    dview["x"] = 5
    with pytest.raises(IndexError, match="out of bounds"):
        dview.array("A")[10]
    with pytest.raises(IndexError, match="index -11 is out of bounds for axis 0 with size 10"):
        dview.array("A")[[1, -11]]
    for key in (1.5, True, None, "x"):
        with pytest.raises(
            TypeError, match=r"takes an int, a slice, a mask or a list of ints, not .*: gather"
        ):
            dview.array("A")[key]
    with pytest.raises(TypeError, match="indices are ints or bools, not float64"):
        dview.array("A")[[1.5]]
    for compute in (lambda a: a > 100, lambda a: 1 + a, lambda a: a == 0):
        with pytest.raises(TypeError, match=r"'A' lies on the engines.*dv.execute\('B = A > 0'\)"):
            compute(dview.array("A"))
    dview.scatter("C", np.zeros((5, 2, 3, 4)), block=True)
    with pytest.raises(TypeError, match="the others take ints and slices: gather the array"):
        dview.array("C")[[1, 2], [0, 1]]
    with pytest.raises(TypeError, match="must stand side by side: gather the array"):
        dview.array("C")[:, [0, 1], :, 2]
    assert dview.array("C")[:, [0, 1], 2].shape == (5, 2, 4)
    with pytest.raises(Exception, match="int is no part of an array"):
        dview.array("x")[0]
    dview.execute("import numpy; B = numpy.zeros((1, 1 + rank))", block=True)
    with pytest.raises(ValueError, match="do not form one array"):
        dview.array("B")[0]
