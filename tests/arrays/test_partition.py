"""Cutting sequences into parts and joining the parts."""

from __future__ import annotations

import itertools
import sys
import types
from collections import Counter, UserDict, deque

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mpidirect
from mpidirect.arrays import joining
from mpidirect.arrays.joining import join
from mpidirect.arrays.partition import bounds, split

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

SEQUENCES = st.one_of(
    st.lists(st.integers()),
    st.lists(st.integers()).map(tuple),
    st.lists(st.floats(allow_nan=False)).map(np.array),
    st.integers(0, 50).map(range),
)


@given(st.integers(0, 1000), st.integers(1, 100))
def test_bounds_cover_all_evenly(length, parts):
    found = bounds(length, parts)
    assert len(found) == parts
    assert found[0][0] == 0
    assert found[-1][1] == length
    assert all(a[1] == b[0] for a, b in itertools.pairwise(found))
    sizes = [stop - start for start, stop in found]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)  # the first blocks get the remainder


@given(SEQUENCES, st.integers(1, 9), st.sampled_from("br"))
def test_split_sequences_are_joined_again(sequence, parts, dist):
    pieces = split(sequence, parts, dist)
    assert len(pieces) == parts
    assert list(join(pieces, dist)) == list(sequence)


def test_blocks_and_round_robin():
    assert split(range(5), 4) == [[0, 1], [2], [3], [4]]
    assert split(range(5), 4, "r") == [[0, 4], [1], [2], [3]]
    assert split("abcde", 2) == ["abc", "de"]
    assert split((1, 2, 3), 2) == [(1, 2), (3,)]


@pytest.mark.parametrize(
    "lazy",
    [
        iter([1, 2, 3]),
        {1: 0, 2: 0, 3: 0},
        {1, 2, 3},
        (x for x in (1, 2, 3)),
        deque([1, 2, 3]),
        UserDict({1: 0, 2: 0, 3: 0}),
    ],
)
def test_iterators_are_read_first(lazy):
    assert split(lazy, 2) == [[1, 2], [3]]


def test_arrays_are_cut_along_the_first_axis_without_a_copy():
    array = np.arange(20).reshape(5, 4)
    parts = split(array, 2)
    assert [part.shape for part in parts] == [(3, 4), (2, 4)]
    assert all(np.shares_memory(part, array) for part in parts)
    np.testing.assert_array_equal(join(parts), array)
    np.testing.assert_array_equal(join(split(array, 3, "r"), "r"), array)


@pytest.mark.parametrize("dist", ["b", "r"])
@pytest.mark.parametrize(
    "dtype", ["f4", "i8", "c16", "S3", "O", [("a", "i4"), ("b", "f8")], "M8[D]", ">f8", [("a", ">i4")]]
)
def test_arrays_keep_their_types(dtype, dist):
    array = np.zeros(7, dtype)
    again = join(split(array, 3, dist), dist)
    assert again.dtype == array.dtype
    assert len(again) == 7


def test_masked_arrays_stay_masked():
    array = np.ma.masked_greater(np.arange(6), 3)
    again = join(split(array, 4))
    assert isinstance(again, np.ma.MaskedArray)
    assert again.mask.tolist() == array.mask.tolist()


def test_empty_parts_do_not_change_the_type():
    assert join(split(np.arange(2, dtype="i2"), 4)).dtype == np.dtype("i2")
    assert join([[], [], []]) == []
    assert join([]) == []


@pytest.mark.parametrize("dist", ["b", "r"])
def test_pandas(dist):
    frame = pd.DataFrame({"a": range(5), "b": list("vwxyz")}, index=list("edcba"))
    parts = split(frame, 2, dist)
    assert [len(part) for part in parts] == [3, 2]
    pd.testing.assert_frame_equal(join(parts, dist), frame)
    pd.testing.assert_series_equal(join(split(frame["a"], 3, dist), dist), frame["a"])
    pd.testing.assert_index_equal(join(split(frame.index, 3, dist), dist), frame.index)


@pytest.mark.parametrize("dist", ["b", "r"])
@pytest.mark.parametrize("axis", [1, -1])
def test_arrays_are_joined_along_any_axis(axis, dist):
    array = np.arange(42).reshape(6, 7)
    parts = [part.T for part in split(array.T, 3, dist)]
    np.testing.assert_array_equal(join(parts, dist, axis=axis), array)
    with pytest.raises(ValueError, match="no axis of the name 'x'"):
        join(parts, axis="x")
    with pytest.raises(ValueError, match="sequence objects can't be joined along axis 1"):
        join([[1], [2]], axis=1)


def test_columns_of_pandas():
    frame = pd.DataFrame({"a": range(5), "b": list("vwxyz")})
    pd.testing.assert_frame_equal(join([frame[["a"]], frame[["b"]]], axis=1), frame)


@pytest.mark.parametrize("dist", ["b", "r"])
def test_xarray(dist):
    xarray = pytest.importorskip("xarray")
    field = xarray.DataArray(np.arange(12.0).reshape(2, 6), dims=("t", "x"), coords={"x": list("abcdef")})
    order = [[0, 2, 4], [1, 3, 5]] if dist == "r" else [[0, 1, 2], [3, 4, 5]]
    parts = [field.isel(x=k) for k in order]
    xarray.testing.assert_identical(join(parts, dist, axis="x"), field)
    xarray.testing.assert_identical(join(parts, dist, axis=1), field)
    table = xarray.Dataset({"u": field})
    xarray.testing.assert_identical(join([table.isel(x=k) for k in order], dist, axis="x"), table)
    assert join([field, table])[1] is table


class _Mesh:
    """A fake of PyVista's data sets, whose library is large."""

    def __init__(self, *cells):
        self.cells = cells


def test_meshes_of_pyvista(monkeypatch):
    def merge(meshes):
        return _Mesh(*itertools.chain.from_iterable(mesh.cells for mesh in meshes))

    library = types.SimpleNamespace(DataSet=_Mesh, merge=merge)
    monkeypatch.setitem(sys.modules, "pyvista", library)
    assert join([_Mesh(1, 2), _Mesh(3)]).cells == (1, 2, 3)
    with pytest.raises(ValueError, match="along axis 1"):
        join([_Mesh(1), _Mesh(2)], axis=1)


def test_a_registered_join(monkeypatch):
    monkeypatch.setattr(joining, "_registered", {})
    mpidirect.register_join(Counter, lambda parts: sum(parts, Counter()))
    assert join([Counter("ab"), Counter("a")]) == Counter("aab")
    assert join([Counter("ab"), 3]) == [Counter("ab"), 3]
    with pytest.raises(TypeError):
        mpidirect.register_join("Counter", sum)


def test_engines_call_associative_joins_only(monkeypatch):
    monkeypatch.setattr(joining, "_registered", {})
    monkeypatch.setattr(joining, "_associative", set())
    mpidirect.register_join(dict, dict)
    assert joining.joins_of_engines() == {}
    mpidirect.register_join(Counter, sum, associative=True)
    joins = joining.joins_of_engines()
    assert [joining.join_for(value, joins) for value in (Counter(), {}, [])] == [sum, None, None]
    mpidirect.register_join(Counter, sum)
    assert joining.joins_of_engines() == {}


def test_parts_that_are_no_sequences_become_a_list():
    assert join([1, 2, None]) == [1, 2, None]
    assert join(["a", "b"]) == ["a", "b"]
    assert join([{"a": 1}, {"b": 2}]) == [{"a": 1}, {"b": 2}]
    assert join([[0, 1], 2, 3]) == [[0, 1], 2, 3]  # five items over four engines with flatten, for example
    np.testing.assert_array_equal(join([np.array(1), np.array(2)]), [1, 2])


@pytest.mark.parametrize("bad", [5, None, object(), np.array(3)])
def test_objects_that_are_no_sequences_are_refused(bad):
    with pytest.raises(TypeError):
        split(bad, 2)


def test_unknown_distributions():
    with pytest.raises(ValueError, match=r"'b'.*'r'"):
        split([1], 2, "x")
