"""Collectives between engines, compared with plain numpy."""

from __future__ import annotations

import functools
import operator
import time

import numpy as np
import pytest
from waiting import until, until_running

from mpidirect import CompositeError, Reference
from mpidirect.arrays.partition import bounds
from mpidirect.client.views import operators

SOON = 30.0  # seconds within which no call may hang


@pytest.fixture
def view(dview):
    """All engines, blocking, with numpy."""
    dview.block = True
    dview.execute("import numpy as np")
    return dview


@pytest.fixture(params=[[0, 1, 2, 3], [3, 1], [2]], ids=str)
def some(view, request):
    """Some engines, in some order."""
    return view.client.direct_view(request.param, block=True)


def spread(view, name, values):
    """Set a name to another value on each engine."""
    for engine, value in zip(view.targets, values, strict=True):
        view.client[engine].push({name: value}, block=True)


def on(view, engine):
    """The view of one engine, blocking."""
    return view.client.direct_view(engine, block=True)


def fails(view, method, *args, **options):
    """Return the entries of the CompositeError of a call: names and texts by engine."""
    result = getattr(view, method)(*args, block=False, **options)
    with pytest.raises(CompositeError) as info:
        result.get(SOON)
    return {entry.engine_info["engine_id"]: (entry.ename, entry.evalue) for entry in info.value.elist}


def same(found, wanted):
    """Whether two values are equal in value, shape and type."""
    assert type(found) is type(wanted)
    if isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        assert np.array_equal(found, wanted)
    else:
        assert found == wanted


ARRAYS = {
    "float64": np.arange(12.0).reshape(4, 3),
    "fortran": np.asfortranarray(np.arange(12).reshape(4, 3)),
    "strided": np.arange(24.0)[::3],
    "float16": np.arange(8, dtype="f2"),
    "big-endian": np.arange(8, dtype=">i4"),
    "complex": np.arange(8) * 1j,
    "dates": np.arange(8).astype("M8[s]"),
    "strings": np.array(["a", "bcd", "", "ü", "e"]),
    "structured": np.array([(1, 2.5), (3, 4.5), (5, 6.5), (7, 8.5)], [("a", "i2"), ("b", "f8")]),
    "objects": np.array([1, "two", None, 4.0], object),
    "large": np.arange(100_000.0),
}


# -- moving data --------------------------------------------------------------------------------------


def test_barrier(some):
    assert some.barrier() == [None] * len(some)


@pytest.mark.parametrize(
    "value", [*ARRAYS.values(), [1, {"a": (2, 3)}], "text", None, np.float64(2)], ids=repr
)
def test_bcast(some, value):
    root = some.targets[-1]
    on(some, root)["x"] = value
    assert some.bcast("x", root=root, out="y") == [None] * len(some)
    for found in some["y"]:
        same(found, value)


def test_bcast_gives_each_engine_its_own_array(view):
    on(view, 1)["x"] = np.zeros(100_000)
    view.bcast("x", root=1, out="y")
    view.execute("y += rank + 1")
    assert [y[-1] for y in view["y"]] == [1, 2, 3, 4]
    assert not on(view, 1)["x"].any()


def test_the_default_root_is_the_first_engine(some):
    spread(some, "x", some.targets)
    some.bcast("x")
    assert some["x"] == [some.targets[0]] * len(some)


@pytest.mark.parametrize("name", ARRAYS)
def test_scatter_from_and_gather_to(some, name):
    root, whole = some.targets[-1], ARRAYS[name]
    on(some, root)["whole"] = whole
    some.scatter_from("whole", root=root, out="part")
    for found, (start, stop) in zip(some["part"], bounds(len(whole), len(some)), strict=True):
        assert np.array_equal(found, whole[start:stop]) and found.dtype == whole.dtype
    some.gather_to("part", root=root, out="again")
    assert np.array_equal(on(some, root)["again"], whole)
    some.allgather("part", out="everywhere")
    for found in some["everywhere"]:
        assert np.array_equal(found, whole) and found.dtype == whole.dtype and found.flags.writeable
    some.execute("names = set(globals())")
    assert [("again" in names) for names in some["names"]] == [engine == root for engine in some.targets]


def test_scatter_from_with_counts(view):
    on(view, 0)["x"] = list(range(7))
    view.scatter_from("x", counts=[0, 3, 4, 0], out="y")
    assert view["y"] == [[], [0, 1, 2], [3, 4, 5, 6], []]
    wrong = fails(view, "scatter_from", "x", counts=[1, 1, 1, 1])
    assert len(wrong) == 4 and "sum of 4 were given, for 7 items" in wrong[2][1]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([np.arange(k) for k in (3, 0, 1, 2)], np.array([0, 1, 2, 0, 0, 1])),
        ([np.full((k, 2), k) for k in range(4)], np.array([[1, 1]] + [[2, 2]] * 2 + [[3, 3]] * 3)),
        ([np.zeros((0, 3))] * 4, np.zeros((0, 3))),
        ([np.array(float(k)) for k in range(4)], np.arange(4.0)),
        ([[k] * k for k in range(4)], [1, 2, 2, 3, 3, 3]),
        ([{"k": k} for k in range(4)], [{"k": k} for k in range(4)]),
        ([1, "two", None, [4.0]], [1, "two", None, [4.0]]),
    ],
    ids=["uneven", "rows", "empty", "no dimensions", "lists", "objects", "mixed"],
)
def test_parts_are_joined_as_by_gather(view, values, wanted):
    spread(view, "x", values)
    view.gather_to("x", root=2, out="y")
    same(on(view, 2)["y"], wanted)
    view.allgather("x")
    for found in view["x"]:
        same(found, wanted)


@pytest.mark.parametrize("length", [4, 7, 2])
def test_alltoall(some, length):
    values = [np.arange(length) + 10 * k for k in range(len(some))]
    cuts = bounds(length, len(some))
    wanted = [np.concatenate([value[a:b] for value in values]) for a, b in cuts]
    for kind in (np.asarray, np.ndarray.tolist):
        spread(some, "x", [kind(value) for value in values])
        some.alltoall("x", out="y")
        for found, expected in zip(some["y"], wanted, strict=True):
            assert np.array_equal(found, expected)
            assert isinstance(found, list if kind is np.ndarray.tolist else np.ndarray)


@pytest.mark.parametrize("counts", ["even", [0, 10, 0, 0], [4, 1, 2, 3]], ids=str)
@pytest.mark.parametrize("lengths", [[1, 2, 3, 4], [10, 0, 0, 0], [0, 0, 0, 10]], ids=str)
def test_redistribute(view, lengths, counts):
    whole = np.arange(20.0).reshape(10, 2)
    ends = np.cumsum(lengths)
    parts = [whole[end - n : end] for n, end in zip(lengths, ends, strict=True)]
    after = [b - a for a, b in bounds(10, 4)] if counts == "even" else counts
    for kind in (np.asarray, np.ndarray.tolist):
        spread(view, "a", [kind(part) for part in parts])
        view.redistribute("a", counts)
        found = view["a"]
        assert [len(part) for part in found] == after
        assert np.array_equal([row for part in found for row in part], whole)


@pytest.mark.mpich_proof
def test_pandas(view):
    pandas = pytest.importorskip("pandas")
    whole = pandas.DataFrame({"a": range(6), "b": list("abcdef")})
    two = view.client.direct_view([1, 3], block=True)  # to import pandas takes a second of each engine
    on(view, 1)["table"] = whole
    two.scatter_from("table", out="part")
    two.redistribute("part", [0, 6])
    assert two.apply(len, Reference("part")) == [0, 6]
    two.redistribute("part", [2, 4])
    assert two.apply(len, Reference("part")) == [2, 4]
    two.allgather("part", out="again")
    assert on(view, 3)["again"].equals(whole)


# -- reductions ---------------------------------------------------------------------------------------

NUMPY = {
    **{"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum},
    **{"land": np.logical_and, "lor": np.logical_or, "lxor": np.logical_xor},
    **{"band": np.bitwise_and, "bor": np.bitwise_or, "bxor": np.bitwise_xor},
}


def check_reductions(view, op, values, combine):
    """Check all four reductions of the values under the name x."""
    prefixes: list = []
    for value in values:
        prefixes.append(value if not prefixes else combine(prefixes[-1], value))
    root = view.targets[-1]
    view.allreduce("x", op, out="all")
    view.reduce("x", op, root=root, out="one")
    view.scan("x", op, out="upto")
    view.exscan("x", op, out="before")
    found = view.pull(["all", "upto", "before"])
    for k, (everything, upto, before) in enumerate(found):
        assert np.array_equal(everything, prefixes[-1])
        assert np.array_equal(upto, prefixes[k])
        assert before is None if k == 0 else np.array_equal(before, prefixes[k - 1])
    assert np.array_equal(on(view, root)["one"], prefixes[-1])
    return found


@pytest.mark.parametrize("dtype", ["i4", "u1", "?", ">i8"])
def test_named_operations(some, dtype):
    random = np.random.default_rng(1)
    values = [random.integers(0, 2 if dtype == "?" else 5, (2, 3)).astype(dtype) for _ in some.targets]
    spread(some, "x", values)
    for op, combine in NUMPY.items():
        found = check_reductions(some, op, values, lambda a, b: combine(a, b).astype(a.dtype))
        assert all(everything.dtype == dtype for everything, _, _ in found), op


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "c8", "c16", "O"])
@pytest.mark.parametrize("op", ["sum", "prod"])
def test_sums_of_all_kinds_of_numbers(view, op, dtype):
    values = [np.arange(k, k + 3).astype(dtype) for k in range(4)]
    spread(view, "x", values)
    check_reductions(view, op, values, NUMPY[op])


def test_numbers_and_other_objects(some):
    spread(some, "x", some.targets)
    check_reductions(some, "sum", some.targets, operator.add)
    check_reductions(some, "max", some.targets, max)
    lists = [[engine] for engine in some.targets]
    spread(some, "x", lists)
    check_reductions(some, operator.add, lists, operator.add)


def test_callables_are_called_in_the_order_of_the_engines(some):
    values = [np.array([k + 1.0, k]) for k in range(len(some))]
    spread(some, "x", values)
    check_reductions(some, lambda a, b: a - 2 * b, values, lambda a, b: a - 2 * b)
    spread(some, "x", [np.arange(k) for k in range(len(some))])  # any shapes
    some.allreduce("x", lambda a, b: np.concatenate([a, b]), out="y")
    wanted = functools.reduce(lambda a, b: np.concatenate([a, b]), [np.arange(k) for k in range(len(some))])
    assert all(np.array_equal(found, wanted) for found in some["y"])


@pytest.mark.parametrize(("op", "best"), [("maxloc", np.argmax), ("minloc", np.argmin)])
def test_locations(view, op, best):
    values = np.array([[3, 1, 2], [5, 1, 0], [5, 0, 2], [1, 1, 2]])
    spread(view, "x", list(values))
    view.allreduce("x", op, out="y")
    for value, engine in view["y"]:
        assert np.array_equal(engine, best(values, axis=0))
        assert np.array_equal(value, np.choose(engine, values))
    view.allreduce("rank", op, out="y")
    assert view["y"] == [(3, 3) if op == "maxloc" else (0, 0)] * 4
    spread(view, "pair", [(1, "b"), (2, "d"), (2, "c"), (1, "a")])
    view.allreduce("pair", op)
    assert view["pair"] == [(2, "c") if op == "maxloc" else (1, "a")] * 4


def test_names_of_operations():
    for op in ("sum", "SUM", "MPI.SUM", sum, operator.add, np.add, np.sum):
        assert operators.encode_operation(op) == "sum"
    for op in ("max", max, np.maximum):
        assert operators.encode_operation(op) == "max"
    assert operators.encode_operation(operator.xor) == "bxor"
    with pytest.raises(ValueError, match="no operation 'average': use one of sum, prod"):
        operators.encode_operation("average")
    with pytest.raises(TypeError, match="a name or a callable"):
        operators.encode_operation(3)


def test_arrays_that_fit_are_written_to(view):
    view.execute("x = np.ones(5); y = np.empty(5); before = id(x), id(y)")
    view.allreduce("x", out="y")
    view.allreduce("x")
    view.execute("same = before == (id(x), id(y))")
    assert view["same"] == [True] * 4
    assert all((x == 4).all() and (y == 4).all() for x, y in view.pull(["x", "y"]))
    on(view, 2).execute("x.flags.writeable = False; y = x[:3]")  # then that engine gets new arrays
    view.allreduce("x", out="y")
    view.allreduce("x")
    assert all((x == 16).all() and (y == 16).all() for x, y in view.pull(["x", "y"]))


# -- invalid calls --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["allreduce", "scan", "exscan", "reduce", "allgather", "gather_to", "alltoall"]
)
def test_the_engine_without_the_name_is_named(view, method):
    spread(view, "x", [np.arange(4)] * 4)
    on(view, 2).execute("del x")
    failures = fails(view, method, "x")
    assert failures[2] == ("NameError", "name 'x' is not defined")
    for engine in (0, 1, 3):
        ename, text = failures[engine]
        assert ename == "CollectiveError"
        assert text == f"{method}('x'): engine 2 can't take part: NameError: name 'x' is not defined"
    view.allreduce("rank", out="y")
    assert view["y"] == [6] * 4


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (np.zeros(3, "f4"), "float32[3]"),
        (np.zeros((1, 3)), "float64[1, 3]"),
        (np.zeros(4), "float64[4]"),
        ([0.0] * 3, "list"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_odd_engine_is_named(view, value, form):
    view.execute("x = np.zeros(3)")
    on(view, 2)["x"] = value
    failures = fails(view, "allreduce", "x")
    assert list(failures) == [0, 1, 2, 3]
    for ename, text in failures.values():
        assert ename == "CollectiveError"
        assert f"engine 2 has x as {form}, the others as float64[3]" in text
    if form != "float64[4]":  # lengths may differ
        assert list(fails(view, "allgather", "x")) == [0, 1, 2, 3]


def test_half_of_the_engines_have_another_type(view):
    view.execute("x = np.zeros(3) if rank % 2 else [0]")
    text = fails(view, "allreduce", "x")[0][1]
    assert "engines 0,2 have x as list, engines 1,3 have x as float64[3]" in text


def test_other_failures_name_the_engine(view):
    view.execute("x = [rank]")
    on(view, 1).execute("import threading; x = threading.Lock()")
    for method in ("allgather", "gather_to"):
        failures = fails(view, method, "x")
        assert failures[1][0] == "SerializationError"
        assert all("engine 1" in failures[engine][1] for engine in failures if engine != 1)
    assert "'lock' object can't be cut into parts" in fails(view, "alltoall", "x")[3][1]
    assert fails(view, "bcast", "x", root=1)[1][0] == "SerializationError"
    view.execute("x = np.zeros(2)")
    assert "'band' is not defined for float64: give a callable" in fails(view, "allreduce", "x", "band")[3][1]
    failures = fails(view, "allreduce", "rank", lambda a, b: a + b if b < 2 else 1 / 0)
    assert failures[2] == ("ZeroDivisionError", "division by zero")
    assert all("engine 2 left it (ZeroDivisionError" in failures[engine][1] for engine in (0, 1, 3))


def test_the_client_refuses_invalid_arguments(view):
    with pytest.raises(ValueError, match=r"root must be one of the view's engines \(1-2\), not 0"):
        view.client[1:3].bcast("x", root=0)
    with pytest.raises(TypeError, match="root must be the id of an engine"):
        view.bcast("x", root="first")
    with pytest.raises(ValueError, match="can't be a name on the engines"):
        view.bcast("x.y")
    with pytest.raises(ValueError, match="'even' or a sequence of int"):
        view.redistribute("x", "odd")
    with pytest.raises(ValueError, match="negative"):
        view.redistribute("x", [-1, 2, 0, 0])
    with pytest.raises(TypeError, match="counts must be a sequence of int"):
        view.redistribute("x", [1.5, 0.5, 0, 0])


# -- the order of calls, and leaving them ---------------------------------------------------------------


def test_busy_engines_are_waited_for(view):
    view.client[3].apply_async(time.sleep, 0.2)
    view.execute("x = rank", block=False)
    sums = [view.allreduce("x", out="x", block=False) for _ in range(3)]
    for result in sums:
        assert result.get(SOON) == [None] * 4
    assert view["x"] == [6 * 4 * 4] * 4


def test_collectives_of_overlapping_views(view):
    left, right = view.client[[0, 1, 2]], view.client[[3, 2, 1]]
    results = []
    for _ in range(5):
        for k, part in enumerate((left, view, right)):
            results.append(part.allreduce("rank", out=f"y{k}", block=False))
        view.client[1].apply_async(time.sleep, 0.01)
    for result in results:
        result.get(SOON)
    assert (left["y0"], right["y2"]) == ([3] * 3, [6] * 3)


def check_that_all_is_well(view):
    for engines in ([0, 1, 2, 3], [0, 2], [3, 1, 2]):
        part = view.client.direct_view(engines, block=False)
        part.allreduce("rank", out="y").get(SOON)
        assert part.pull("y").get(SOON) == [sum(engines)] * len(engines)


def test_interrupted_while_waiting_for_a_busy_engine(view):
    check_that_all_is_well(view)
    busy = view.client[0].apply_async(time.sleep, 0.5)
    result = view.allreduce("rank", out="y", block=False)
    until_running(view.client)
    result.interrupt()
    names = [getattr(value, "ename", "") for value in result.get(SOON, return_exceptions=True)]
    busy.get(SOON)
    assert "KeyboardInterrupt" in names[1:]
    assert set(names) <= {"KeyboardInterrupt", "CollectiveError", "TaskAborted"}
    check_that_all_is_well(view)


def test_an_interrupt_of_one_engine_ends_the_collective_on_all(view):
    view.execute("x = np.ones(10)")
    busy = view.client[0].apply_async(time.sleep, 0.5)
    result = view.allreduce("x", block=False)
    until_running(view.client)
    view.client.interrupt([2])
    values = result.get(SOON, return_exceptions=True)
    busy.get(SOON)
    assert [value.ename for value in values] == ["CollectiveError"] * 2 + [
        "KeyboardInterrupt",
        "CollectiveError",
    ]
    assert "engine 2 left it (KeyboardInterrupt)" in values[0].evalue
    check_that_all_is_well(view)


def test_interrupted_in_a_callable(view):
    def slow(a, b):
        import time

        if b == 2:
            time.sleep(30)
        return a + b

    result = view.allreduce("rank", slow, block=False)
    until(lambda: "in slow" in view.client.stacks(2)[2])
    view.client.interrupt([2])
    values = result.get(SOON, return_exceptions=True)
    assert values[2].ename == "KeyboardInterrupt"
    assert all("engine 2 left it" in values[engine].evalue for engine in (0, 1, 3))
    check_that_all_is_well(view)


def test_interrupts_at_any_time(view):
    """Messages of an interrupted call do not affect later calls."""
    random = np.random.default_rng(2)
    methods = ["allreduce", "allgather", "alltoall", "bcast", "gather_to", "redistribute", "scan"]
    for _ in range(20):
        view.execute(f"x = np.ones({random.choice([10, 300_000])})")
        part = view.client.direct_view([[0, 1, 2, 3], [0, 2], [3, 1, 2]][random.integers(3)], block=False)
        result = getattr(part, random.choice(methods))("x", out="z")
        time.sleep(random.choice([0.0, 0.002, 0.01]) * random.random())
        result.interrupt()
        assert result.wait(SOON)
        check_that_all_is_well(view)


def test_an_abort_on_one_engine_ends_the_collective_on_all(view):
    busy = view.client[0].apply_async(time.sleep, 0.5)
    result = view.allreduce("rank", out="y", block=False)
    until_running(view.client)
    view.client.abort(result)
    values = result.get(SOON, return_exceptions=True)
    assert values[0].ename == "TaskAborted"
    assert {value.ename for value in values[1:]} <= {"KeyboardInterrupt", "CollectiveError"}
    busy.get(SOON)
    check_that_all_is_well(view)


def test_more_groups_than_are_kept(view):
    from itertools import permutations

    groups = [list(group) for n in (2, 3) for group in permutations(range(4), n)]
    results = [view.client.direct_view(group, block=False).allreduce("rank", out="y") for group in groups * 2]
    for result in results:
        result.get(SOON)
    check_that_all_is_well(view)


def test_messages_of_more_than_one_piece(view):
    """Data that is too large for one operation is sent in pieces; the test sets a low limit."""
    limit = "import mpidirect.engine.collectives.arrays as arrays; arrays.PIECE = {}"
    view.execute(limit.format(1000))
    try:
        view.execute("x = np.arange(1000.) + rank; part = np.arange(500 * rank)")
        for method in ("allreduce", "scan"):
            getattr(view, method)("x", out=method)
        view.bcast("x", root=3, out="b")
        view.allgather("part", out="whole")
        view.alltoall("x", out="t")
        view.redistribute("part")
    finally:
        view.execute(limit.format(1 << 30))
    x = np.arange(1000.0)
    assert all(np.array_equal(found, 4 * x + 6) for found in view["allreduce"])
    assert np.array_equal(view["scan"][2], 3 * x + 3)
    assert all(np.array_equal(found, x + 3) for found in view["b"])
    whole = np.concatenate([np.arange(500 * k) for k in range(4)])
    assert all(np.array_equal(found, whole) for found in view["whole"])
    assert np.array_equal(np.concatenate(view["part"]), whole)
    assert np.array_equal(view["t"][0], np.concatenate([x[:250] + k for k in range(4)]))
