"""`DirectView`: calls, flags, namespaces, maps, scatter and gather."""

from __future__ import annotations

import functools
import threading

import numpy as np
import pytest

from mpidirect import AsyncResult, CompositeError, DirectView, Reference, interactive
from mpidirect.errors import SerializationError

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

# -- calls -------------------------------------------------------------------------------------------


def test_apply_returns_one_result_per_engine_in_order(dview):
    assert dview.apply_sync(lambda: rank) == [0, 1, 2, 3]  # noqa: F821
    assert dview.apply_sync(lambda x, y=0: (x, y), 1, y=2) == [(1, 2)] * 4


def test_an_int_gives_the_result_itself(rc):
    assert rc[2].apply_sync(lambda: rank) == 2  # noqa: F821
    assert rc[-1].apply_sync(lambda: rank) == 3  # noqa: F821
    assert rc[[2]].apply_sync(lambda: rank) == [2]  # noqa: F821


def test_the_order_of_targets_is_kept(rc):
    assert rc[[3, 0, 2]].apply_sync(lambda: rank) == [3, 0, 2]  # noqa: F821


@pytest.mark.parametrize("f", ["text", 1, None])
def test_apply_of_an_object_that_is_not_callable(dview, f):
    with pytest.raises(TypeError, match="can't be called"):
        dview.apply(f)


def test_apply_of_callables_that_are_no_functions(dview):
    assert dview.apply_sync(functools.partial(max, 3), 2) == [3] * 4
    assert dview.apply_sync(str.upper, "a") == ["A"] * 4
    assert dview.apply_sync("{}".format, 1) == ["1"] * 4


def test_arguments_that_cannot_be_pickled_are_named_and_nothing_is_sent(dview):
    with pytest.raises(SerializationError, match="nothing was sent"):
        dview.apply_async(len, threading.Lock())
    assert dview.history == []


def test_functions_of_the_prompt_see_the_engines_names(dview, main):
    exec("a = 'here'\ndef f(x): return a + b + x", main.__dict__)
    dview.push({"a": "there ", "b": "also "}, block=True)
    assert dview.apply_sync(main.f, "x") == ["there also x"] * 4


def test_functions_of_the_prompt_can_set_the_engines_names(dview, main):
    exec("def f():\n    global made\n    made = rank", main.__dict__)
    dview.apply_sync(main.f)
    assert dview["made"] == [0, 1, 2, 3]


def test_functions_of_the_prompt_call_each_other_and_themselves(dview, main):
    exec(
        "def fact(n): return 1 if n < 2 else n * fact(n - 1)\n"
        "def even(n): return n == 0 or odd(n - 1)\n"
        "def odd(n): return n != 0 and even(n - 1)\n",
        main.__dict__,
    )
    assert dview.apply_sync(main.fact, 5) == [120] * 4
    assert dview.apply_sync(main.even, 7) == [False] * 4


def test_closures(dview):
    def power(n):
        def f(x):
            return x**n

        return f

    assert dview.map_sync(power(3), range(5)) == [0, 1, 8, 27, 64]


def test_classes_of_the_prompt_make_the_round_trip(dview, main):
    exec(
        "class Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "    def moved(self): return Point(self.x + 1)\n",
        main.__dict__,
    )
    points = dview.apply_sync(main.Point.moved, main.Point(1))
    assert [type(p) for p in points] == [main.Point] * 4
    assert [p.x for p in points] == [2] * 4


def test_interactive(dview):
    @interactive
    def f():
        return a + 1  # noqa: F821

    dview["a"] = 1
    assert dview.apply_sync(f) == [2] * 4


def test_references(dview):
    dview.scatter("x", range(8), block=True)
    assert dview.apply_sync(sum, Reference("x")) == [1, 5, 9, 13]
    assert dview.apply_sync(lambda d: sum(d["deep"][0]), {"deep": [Reference("x")]}) == [1, 5, 9, 13]
    assert dview.apply_sync(lambda n: n, Reference("len(x) + rank")) == [2, 3, 4, 5]
    dview.push({"first": Reference("x[0]")}, block=True)
    assert dview["first"] == [0, 2, 4, 6]
    with pytest.raises(CompositeError, match="NameError"):
        dview.apply_sync(len, Reference("no_such_name"))
    with pytest.raises(TypeError):
        Reference(1)


def test_functions_of_the_engines_by_reference(dview):
    dview.execute("import math\ndef f(x, y=0): return x * rank + y", block=True)
    assert dview.apply_sync(Reference("f"), 2, y=1) == [1, 3, 5, 7]
    assert dview.apply_sync(Reference("math.floor"), 1.5) == [1] * 4
    assert dview.map_sync(Reference("abs"), [-1, 2, -3]) == [1, 2, 3]
    assert dview.remote(block=True)(Reference("f"))(1) == [0, 1, 2, 3]
    assert repr(dview.apply_async(Reference("f"), 1)).startswith("<AsyncResult(f)")
    with pytest.raises(TypeError, match=r'Reference\("f"\)'):
        dview.apply_sync("f", 1)
    with pytest.raises(TypeError, match="can't be called"):
        dview.map(3, [1])
    with pytest.raises(TypeError, match="can't be called"):
        dview.parallel()(3)


def test_output_arrives_with_the_result(dview):
    def speak():
        import sys

        print("out", rank)  # noqa: F821
        print("err", file=sys.stderr)

    ar = dview.apply_async(speak)
    ar.get()
    assert ar.stdout == [f"out {k}\n" for k in range(4)]
    assert ar.stderr == ["err\n"] * 4


# -- flags -------------------------------------------------------------------------------------------


def test_block_and_targets_as_attributes_and_as_keywords(dview):
    dview.block = True
    assert dview.apply(lambda: 1) == [1] * 4
    assert dview.push({"a": 1}) == [None] * 4
    assert isinstance(dview.push({"a": 2}, block=False), AsyncResult)
    assert dview.pull("a", targets=[1, 3]) == [2, 2]
    assert dview.pull("a", targets=1) == 2
    assert dview.targets == [0, 1, 2, 3]
    dview.targets = [0, 2]
    assert dview.pull("rank") == [0, 2]
    assert dview.pull("rank", targets="all") == [0, 1, 2, 3]
    dview.block = False
    assert isinstance(dview.pull("rank"), AsyncResult)
    assert dview.pull("rank", block=True) == [0, 2]


@pytest.mark.parametrize(
    ("targets", "ranks"),
    [(np.array([0, 2]), [0, 2]), (np.array([1]), [1]), (slice(1, 3), [1, 2]), ("all", [0, 1, 2, 3])],
)
def test_targets_in_all_the_ways_that_they_are_typed(dview, targets, ranks):
    dview.targets = targets
    assert dview.apply_sync(lambda: rank) == ranks  # noqa: F821
    assert len(dview) == len(ranks)


def test_the_flag_of_a_call_lasts_for_that_call(dview):
    dview.block = False
    dview.apply_sync(lambda: 1)
    assert dview.block is False
    dview.block = True
    dview.apply_async(lambda: 1).get()
    assert dview.block is True


def test_temp_flags(dview):
    with dview.temp_flags(block=True, targets=[1]):
        assert dview.apply(lambda: rank) == [1]  # noqa: F821
    assert (dview.block, dview.targets) == (False, [0, 1, 2, 3])
    with pytest.raises(ZeroDivisionError), dview.temp_flags(block=True):
        raise ZeroDivisionError
    assert dview.block is False


def test_unknown_flags(dview):
    with pytest.raises(KeyError):
        dview.set_flags(blok=True)


def test_the_clients_block_is_that_of_new_views(rc):
    rc.block = True
    assert rc[:].block is True


def test_track(dview):
    ar = dview.push({"a": np.zeros(100_000)}, track=True, block=False)
    ar.wait_for_send(10)
    assert ar.sent is True
    ar.get()


# -- namespaces --------------------------------------------------------------------------------------


def test_the_namespace_is_a_dict(dview):
    dview["a"] = 1
    dview.update({"b": 2})
    assert dview["a"] == dview.get("a") == [1] * 4
    assert dview.get(["a", "b"]) == [[1, 2]] * 4


def test_pull_of_expressions_and_of_missing_names(dview):
    dview.push({"d": {"k": [1, 2]}}, block=True)
    assert dview.pull("d['k'][1]", block=True) == [2] * 4
    with pytest.raises(CompositeError, match="NameError"):
        dview["missing"]


@pytest.mark.parametrize("bad", [{"a b": 1}, {"1": 1}, {"": 1}])
def test_push_of_invalid_names(dview, bad):
    with pytest.raises(ValueError, match="identifier"):
        dview.push(bad)


def test_push_and_pull_of_wrong_types(dview):
    with pytest.raises(TypeError):
        dview.push([1])
    with pytest.raises(TypeError):
        dview.pull(3)
    with pytest.raises(TypeError):
        dview.pull(["a", 3])


def test_clear_keeps_an_engines_initial_names(dview):
    dview["a"] = 1
    dview.execute("b = 2", block=True)
    dview.clear(block=True)
    for names in dview.pull("list(globals())", block=True):
        assert {"comm", "rank", "size", "MPI"} <= set(names)
        assert not {"a", "b"} & set(names)


def test_ipython_works_after_clear(dview):
    pytest.importorskip("IPython")
    dview.execute("1", silent=False, block=True)
    dview.clear(block=True)
    assert [reply.text for reply in dview.execute("40 + 2", silent=False, block=True).get()] == ["42"] * 4
    assert dview.pull("'get_ipython' in globals()", block=True) == [True] * 4


def test_arrays_arrive_equal_and_writable(dview):
    for size in (10, 100_000):
        array = np.arange(size, dtype=float)
        dview["a"] = array
        results = dview.apply_sync(lambda: (a.__iadd__(1), a.flags.writeable)[0])  # noqa: F821
        for result in results:
            np.testing.assert_array_equal(result, array + 1)
            result[0] = -1


# -- other things ------------------------------------------------------------------------------------


def test_repr_and_len(rc):
    assert repr(rc[:]) == "<DirectView [0, 1, 2, 3]>"
    assert repr(rc[1]) == "<DirectView 1>"
    assert (len(rc[:]), len(rc[::2]), len(rc[1])) == (4, 2, 1)
    assert isinstance(rc[:], DirectView)


def test_mpi_between_engines(dview):
    assert dview.apply_sync(lambda: comm.allreduce(rank)) == [6] * 4  # noqa: F821

    def world():
        from mpi4py import MPI

        return MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size, MPI.COMM_WORLD.allgather(rank)  # noqa: F821

    assert dview.apply_sync(world) == [(k, 4, [0, 1, 2, 3]) for k in range(4)]
    assert dview["size"] == [4] * 4


# -- unknown attributes of a view ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slip", "meant"),
    [("aply", "apply"), ("executes", "execute"), ("target", "targets"), ("scater", "scatter")],
)
def test_a_misspelt_attribute_gets_a_suggestion(dview, slip, meant):
    with pytest.raises(AttributeError, match=rf"'{slip}'; did you mean '{meant}'\?$"):
        getattr(dview, slip)


def test_an_unknown_attribute_may_be_a_name_of_the_engines(dview):
    dview["model"] = 3
    with pytest.raises(AttributeError, match=r"for that name on its engines:  view\['model'\]$"):
        _ = dview.model
    assert dview["model"] == [3] * 4
    with pytest.raises(AttributeError, match=r"'_model'$"):
        _ = dview._model
