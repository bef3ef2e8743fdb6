"""`map`, remote and parallel functions, scatter and gather."""

from __future__ import annotations

import numpy as np
import pytest

from mpidirect import AsyncResult, CompositeError, RemoteError, parallel, remote

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

# -- map ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 32])
def test_map_works_like_the_builtin(dview, length):
    assert dview.map_sync(lambda x: x**2, range(length)) == [x**2 for x in range(length)]
    assert list(dview.map_async(lambda x: x**2, range(length))) == [x**2 for x in range(length)]
    assert list(dview.imap(lambda x: x**2, range(length))) == [x**2 for x in range(length)]


def test_map_over_several_sequences_of_unequal_lengths(dview):
    assert dview.map_sync(lambda x, y: x * y, range(5), [1, 2, 3]) == [0, 2, 6]


def test_map_over_generators_arrays_strings_and_sets(dview):
    assert dview.map_sync(lambda x: x + 1, (x for x in range(6))) == [1, 2, 3, 4, 5, 6]
    assert dview.map_sync(float, np.arange(6)) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert dview.map_sync(str.upper, "abcde") == list("ABCDE")
    assert sorted(dview.map_sync(abs, {-1, -2, -3, -4, -5})) == [1, 2, 3, 4, 5]


def test_map_round_robin(dview):
    assert dview.map_sync(lambda x: x, range(10), dist="r") == list(range(10))


def test_map_without_sequences_or_over_no_sequence(dview):
    with pytest.raises(TypeError):
        dview.map(abs)
    with pytest.raises(TypeError, match="not a sequence"):
        dview.map(abs, 3)


def test_map_knows_its_options(dview):
    with pytest.raises(TypeError, match="targts"):
        dview.map_sync(abs, range(4), targts=[0])


def test_map_that_fails_on_some_engines(dview):
    with pytest.raises(CompositeError) as caught:
        dview.map_sync(lambda x: 1 / (x - 3), range(8))
    assert [failure.engine_info["engine_id"] for failure in caught.value.elist] == [1]
    values = dview.map_sync(lambda x: 1 / (x - 3), range(8), return_exceptions=True)
    assert [type(v) for v in values] == [float, float, RemoteError, float, float, float, float]
    ar = dview.map_async(lambda x: 1 / (x - 3), range(8))
    assert [type(v) for v in ar.get(return_exceptions=True)] == [type(v) for v in values]


# -- remote and parallel -----------------------------------------------------------------------------


def test_remote_functions(dview):
    @dview.remote(block=True)
    def f(x, y=1):
        """What it does."""
        return x + y

    assert f(1) == [2] * 4
    assert f(1, y=5) == [6] * 4
    assert (f.__name__, f.__doc__) == ("f", "RemoteFunction wrapping:\nWhat it does.")
    assert repr(f) == "<RemoteFunction f on <DirectView [0, 1, 2, 3]>>"
    assert f.__wrapped__(1) == 2


def test_remote_functions_take_flags(dview):
    f = dview.remote(block=False, targets=[1, 2])(lambda: rank)  # noqa: F821
    assert f().get() == [1, 2]
    assert dview.targets == [0, 1, 2, 3]
    with pytest.raises(KeyError):
        dview.remote(blok=True)(abs)


def test_parallel_functions(dview):
    whole = dview.parallel(block=True)(lambda x: x)
    assert whole(range(5)) == [0, 1, 2, 3, 4]
    assert whole(iter("abc")) == ["a", "b", "c"]
    parts = dview.parallel(block=True)(len)
    assert parts(range(6)) == [2, 2, 1, 1]
    assert parts(range(2)) == [1, 1]
    assert parts([]) == []
    assert parts.map(["a", "bb"]) == [1, 2]
    assert dview.parallel(dist="r", block=True)(lambda x: x)(np.arange(10)).tolist() == list(range(10))


def test_decorators_with_a_view_as_argument(dview):
    assert remote(dview, block=True)(len)("abc") == [3] * 4
    assert parallel(dview, block=True)(len)(range(6)) == [2, 2, 1, 1]


def test_parallel_functions_that_do_not_block(dview):
    f = dview.parallel(block=False)(len)
    ar = f(range(5))
    assert isinstance(ar, AsyncResult)
    assert ar.get() == [2, 1, 1, 1]
    assert f([]).get() == []


def test_parallel_functions_refuse_unsplittable_arguments(dview):
    f = dview.parallel(block=True)(lambda *x: x)
    with pytest.raises(TypeError, match="not a sequence"):
        f(1)
    with pytest.raises(ValueError, match="equal length"):
        f([1, 2], [1])
    with pytest.raises(TypeError):
        f()
    with pytest.raises(ValueError, match="dist"):
        dview.parallel(dist="x")(abs)


# -- scatter and gather ------------------------------------------------------------------------------


@pytest.mark.parametrize("dist", ["b", "r"])
@pytest.mark.parametrize("length", [0, 2, 4, 10])
def test_scatter_and_gather(dview, dist, length):
    assert dview.scatter("a", range(length), dist=dist, block=True) == [None] * 4
    assert dview.gather("a", dist=dist, block=True) == list(range(length))


def test_scatter_round_robin(dview):
    dview.scatter("a", range(6), dist="r", block=True)
    assert dview["a"] == [[0, 4], [1, 5], [2], [3]]


def test_scatter_flattened(dview):
    dview.scatter("a", range(4), flatten=True, block=True)
    assert dview["a"] == [0, 1, 2, 3]
    dview.scatter("a", range(5), flatten=True, block=True)
    assert dview["a"] == [[0, 1], 2, 3, 4]


@pytest.mark.parametrize("dist", ["b", "r"])
def test_arrays_are_scattered_by_rows(dview, dist):
    array = np.random.default_rng(1).random((30, 1000))
    dview.scatter("a", array, dist=dist, block=True)
    assert [part.shape for part in dview["a"]] == [(8, 1000), (8, 1000), (7, 1000), (7, 1000)]
    np.testing.assert_array_equal(dview.gather("a", dist=dist, block=True), array)


def test_scatter_of_generators_and_invalid_objects(dview):
    dview.scatter("a", (x for x in range(5)), block=True)
    assert dview.gather("a", block=True) == [0, 1, 2, 3, 4]
    with pytest.raises(TypeError):
        dview.scatter("a", 5)
    with pytest.raises(TypeError, match="0-dimensional"):
        dview.scatter("a", np.array(5))
    with pytest.raises(ValueError, match="dist"):
        dview.scatter("a", [1], dist="q")


def test_gather_of_scalars_is_a_list(dview):
    assert dview.gather("rank", block=True) == [0, 1, 2, 3]
