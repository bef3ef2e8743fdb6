"""Data of every kind and size makes the round trip unchanged, on every route."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import occupied

from mpidirect import Client, interactive
from mpidirect.client.connection.bulk_frames import RemoteFrame
from mpidirect.errors import CompositeError
from mpidirect.files import connection_file
from mpidirect.memory import process_memory
from mpidirect.protocol import messages

BIG = 3 * messages.CHUNK // 8 + 17  # float64 items: several chunks, the last one short


def connect(cluster, way: str) -> Client:
    """Connect a client whose bulk data takes a given route."""
    info = connection_file.read(cluster.connection_file)
    if way == "direct":
        return Client(info)
    if way == "tcp":
        info.addresses = [a for a in info.addresses if a.startswith("tcp://")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPIDIRECT_DIRECT_MEMORY", "0")
        client = Client(info)
    assert not client._session.connection.direct
    return client


ROUTES = [
    pytest.param("direct", marks=pytest.mark.mpich_proof),
    "socket",
    pytest.param("tcp", marks=pytest.mark.mpich_proof),  # the same data over MPI as with a socket
]


@pytest.fixture(params=ROUTES)
def view(request, cluster, rc):
    """Return a view for each route: direct memory; a socket and MPI; an encrypted socket and MPI."""
    with connect(cluster, request.param) as client:
        view = client[:]
        view.block = True
        yield view


def same(a, b) -> bool:
    """Return whether two values are equal in type, shape and contents."""
    if isinstance(a, np.ndarray):
        if type(a) is not type(b) or a.dtype != b.dtype or a.shape != b.shape:
            return False
        if isinstance(a, np.ma.MaskedArray):
            return np.array_equal(a.mask, b.mask) and np.array_equal(a.filled(), b.filled())
        return np.array_equal(a, b)
    if isinstance(a, (pd.DataFrame, pd.Series)):
        return a.equals(b)
    return type(a) is type(b) and a == b


def things() -> dict[str, object]:
    random = np.random.default_rng(1)
    big = random.random(BIG)
    record = np.zeros(20_000, [("x", "f8"), ("name", "S5"), ("n", ">i4", (2,))])
    record["x"], record["n"] = random.random(20_000), 7
    return {
        "float64": big,
        "two dimensions": big[:300_000].reshape(600, 500),
        "Fortran order": np.asfortranarray(big[:300_000].reshape(600, 500)),
        "not contiguous": big[:300_000].reshape(600, 500)[::3, 1::2],
        "big-endian": big[:30_000].astype(">f8"),
        "structured": record,
        "objects": np.array([None, "x", {"a": 1}, [2, 3]] * 5_000, dtype=object),
        "masked": np.ma.masked_less(big[:20_000], 0.5),
        "no items": np.zeros((0, 7)),
        "no dimensions": np.array(3.5),
        "one item": np.array([1], "i2"),
        "half": big[:50_000].astype("f2"),
        "complex": big[:50_000] * 1j,
        "text": np.array(["ä", "bcd"] * 30_000),
        "times": np.arange("2020", "2021", dtype="M8[m]"),
        "read-only": np.frombuffer(random.bytes(200_000), "u1"),
        "bytes": random.bytes(300_001),
        "bytearray": bytearray(random.bytes(300_001)),
        "str": "höhe" * 40_000,
        "list": list(range(50_000)),
        "tuple": (1, "two", 3.0, None),
        "range": range(5, 500, 7),
        "dict": {"a": big[:20_000].tolist(), "b": None},
        "frame": pd.DataFrame({"a": big[:50_000], "b": ["x", "y"] * 25_000}),
        "series": pd.Series(big[:50_000], index=pd.date_range("2020", periods=50_000, freq="min")),
    }


@pytest.mark.parametrize("kind", things())
def test_data_makes_the_round_trip_unchanged(view, kind):
    sent = things()[kind]
    view["thing"] = sent
    for got in view["thing"]:
        assert same(sent, got)
        if isinstance(got, np.ndarray):
            assert got.flags.writeable
    if isinstance(sent, np.ndarray):
        assert view.apply(lambda: thing.flags.writeable) == [True] * 4  # noqa: F821


@pytest.mark.parametrize("shape", [(BIG,), (10, 3), (3, 40_000), (2, 2), (0, 4), (4, 100_000)])
@pytest.mark.parametrize("dist", ["b", "r"])
def test_scatter_and_gather_of_arrays(view, shape, dist):
    array = np.random.default_rng(2).random(shape)
    assert view.scatter("part", array, dist=dist) == [None] * 4
    lengths = view.apply(lambda: len(part))  # noqa: F821
    assert sum(lengths) == len(array)
    assert lengths == sorted(lengths, reverse=True)  # the first engines have the remainder
    assert max(lengths) - min(lengths) <= 1
    gathered = view.gather("part", dist=dist)
    assert same(array, gathered)
    gathered[...] = 0  # delivered arrays are writable
    assert view.apply(lambda: part.flags.writeable) == [True] * 4  # noqa: F821


def test_parts_of_different_dtypes_are_gathered_as_numpy_joins_them(view):
    parts = [np.arange(100_000) + k for k in range(3)] + [np.linspace(0, 1, 90_000)]
    for target, part in enumerate(parts):
        view.push({"odd": part}, targets=target)
    assert same(np.concatenate(parts), view.gather("odd"))


@pytest.mark.parametrize("length", [3, BIG])
def test_a_gather_ends_when_the_last_engine_to_answer_fails(view, length):
    view["part"] = np.zeros(length)
    view.client[2].execute("import time; time.sleep(0.3); del part", block=False)
    gathered = view.gather("part", block=False)
    with pytest.raises(CompositeError, match="name 'part' is not defined") as failed:
        gathered.get(30)
    assert len(failed.value.elist) == 1


def test_arguments_and_results_in_bulk(view):
    array = np.random.default_rng(3).random(BIG)
    for got in view.apply(lambda x, k: x * k, array, k=2):
        assert same(array * 2, got)
    assert view.apply(lambda xs: [x.sum() for x in xs], [array, array[::2]])[0] == [
        array.sum(),
        array[::2].sum(),
    ]


def test_the_next_task_does_not_change_an_unread_result(view):
    """A retained result is the engine's own array: later changes must not appear in the result."""
    view["x"] = np.zeros(BIG)
    for _ in range(3):
        results = [view.pull("x", block=False)]
        for _ in range(3):
            view.execute("x += 1", block=False)
            results.append(view.pull("x", block=False))
        first = results[0].get()[0][0]
        for k, result in enumerate(results):
            for got in result.get():
                assert (got == first + k).all()
        view.execute("x[:] = 0")


def test_a_late_client_gets_the_original_result(cluster, rc, monkeypatch):
    """The engine copies a result that is not read in time, tells the client, and goes on."""
    view = rc[:]
    view.block = True
    view["x"] = np.zeros(BIG)
    read = RemoteFrame.read_into
    late = threading.Event()

    def slow(self, room, received):
        read(self, room, received)
        late.wait(0.6)  # longer than an engine waits

    monkeypatch.setattr(RemoteFrame, "read_into", slow)
    pulled = rc[0].pull("x", block=False)
    rc[0].execute("x += 1", block=False)
    assert (pulled.get(20) == 0).all()
    monkeypatch.setattr(RemoteFrame, "read_into", read)
    assert (rc[0]["x"] == 1).all()


def test_a_busy_engine_does_not_delay_the_others(view, tmp_path):
    """Data for all engines: idle engines get it at once, a busy engine when it is free."""
    array = np.random.default_rng(4).random(BIG)
    busy = view.client[0].apply_async(occupied(tmp_path))
    pushed = view.push({"z": array}, block=False)
    others = view.client[1:].apply_sync(lambda: float(z.sum()))  # noqa: F821
    assert others == [float(array.sum())] * 3
    assert not busy.ready()
    (tmp_path / "go on").touch()
    assert pushed.get() == [None] * 4
    assert view.client[0].apply_sync(lambda: float(z.sum())) == float(array.sum())  # noqa: F821


def test_sent_tells_when_a_buffer_can_be_changed(view):
    import time as clock

    array = np.ones(BIG)
    busy = view.client[0].apply_async(clock.sleep, 30)
    pushed = view.client[0].push({"z": array}, block=False)
    small = view.client[0].apply_async(abs, 1)
    if not view.client._session.connection.direct:  # otherwise the controller may have read it already
        assert not pushed.sent
    assert small.sent
    busy.interrupt()
    pushed.wait_for_send(10)
    assert pushed.sent
    array[:] = 0
    assert view.client[0].apply_sync(lambda: float(z.min())) == 1.0  # noqa: F821


@pytest.mark.openmpi_only
def test_the_controller_answers_during_a_large_push(view, cluster):
    array = np.zeros(150_000_000, "u1")
    with Client(str(cluster.connection_file)) as other:
        other.queue_status()
        pushed = view.push({"large": array}, block=False, targets=[0, 1])
        waits = []
        while not pushed.ready():
            begun = time.perf_counter()
            other.queue_status()
            waits.append(time.perf_counter() - begun)
        pushed.get()
    assert view.apply(has, "large") == [True, True, False, False]
    assert len(waits) > 2
    print(f"longest wait {max(waits) * 1000:.0f} ms")


@pytest.mark.proof
@pytest.mark.alone
def test_more_than_two_gigabytes_in_one_array(rc):
    if psutil.virtual_memory().available < 8 << 30:
        pytest.fail("this test needs 8 GiB of memory")
    array = np.zeros((1 << 31) + 4096, "u1")
    array[:: 1 << 20] = 7
    view = rc[0]
    view.block = True
    view["huge"] = array
    assert view.apply(lambda: (len(huge), int(huge[:: 1 << 20].sum()))) == (  # noqa: F821
        len(array),
        int(array[:: 1 << 20].sum()),
    )
    got = view["huge"]
    assert len(got) == len(array) and (got[:: 1 << 20] == 7).all()


def resident(pids: list[int]) -> list[float]:
    """Return the resident memory of processes in MB."""
    return [psutil.Process(pid).memory_info().rss / 1e6 for pid in pids]


@pytest.mark.openmpi_only
def test_memory_stays_flat_over_many_pushes(view):
    array = np.random.default_rng(5).random(25_000_000 // 8)
    pids = [os.getpid(), view.client.facts["pid"], *view.apply(os.getpid)]
    for _ in range(4):
        view["z"] = array
    before = resident(pids)
    for _ in range(8):
        view["z"] = array
    after = resident(pids)
    assert all(late < early + 60 for early, late in zip(before, after, strict=True)), (before, after)


def test_a_deleted_result_frees_its_memory_at_once(view):
    """Memory is freed at once, not at the next garbage collection: a few arrays can fill the memory."""
    view["z"] = np.zeros(BIG)
    gc.disable()
    try:
        for ask in (view.pull, view.gather):
            result = ask("z", block=False)
            result.get()
            gone = weakref.ref(result)
            del result
            assert gone() is None
    finally:
        gc.enable()


@interactive
def has(name: str) -> bool:
    """Return whether the namespace of an engine has a name."""
    return name in globals()


# -- one copy per node ----------------------------------------------------------------------------


@interactive
def mapped() -> int:
    """Return the number of shared memory segments that this process maps."""
    from pathlib import Path

    return Path("/proc/self/maps").read_text().count("memfd:mpidirect")


def test_shared_arrays_are_one_copy_and_read_only(view):
    table = np.random.default_rng(6).random((1000, 3000))
    view.push({"t": table, "k": 3, "small": np.arange(4)}, shared=True)
    assert view.apply(lambda: (float(t.sum()), k)) == [(float(table.sum()), 3)] * 4  # noqa: F821
    assert view.apply(lambda: (t.flags.writeable, small.flags.writeable)) == [(False, False)] * 4  # noqa: F821
    with pytest.raises(Exception, match="read-only"):
        view.execute("t[0, 0] = 1")
    assert view.apply(mapped) == [1] * 4
    # proportional size: memory that four engines share counts a quarter for each
    pss = view.apply(shared_kilobytes)
    assert all(kb < 1.2 * table.nbytes / 1024 / 4 + 200 for kb in pss), pss


@interactive
def shared_kilobytes() -> int:
    """Return the proportional size of the shared memory that this process maps."""
    from pathlib import Path

    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            inside = "memfd:mpidirect" in line
        elif inside and line.startswith("Pss:"):
            total += int(line.split()[1])
    return total


def test_shared_memory_is_freed(view):
    table = np.ones((1000, 1000))
    view.push({"t": table}, shared=True)
    assert view.apply(mapped) == [1] * 4
    view.push({"t": table + 1}, shared=True)
    assert view.apply(lambda: float(t[0, 0])) == [2.0] * 4  # noqa: F821
    assert view.apply(mapped) == [1] * 4
    view.execute("del t")
    assert view.apply(mapped) == [0] * 4


def test_sharing_with_some_engines_only(view):
    table = np.ones((1000, 1000))
    view.push({"t": table}, shared=True, targets=[1, 3])
    assert view.apply(has, "t") == [False, True, False, True]
    view.push({"t": table}, shared=True, targets=2)
    assert view.client[2].apply_sync(lambda: float(t.sum())) == 1e6  # noqa: F821


# -- memory of other processes -----------------------------------------------------------------------


def test_a_process_can_be_read_only_if_it_shows_its_cookie():
    cookie = os.urandom(process_memory.COOKIE)
    where = process_memory.address(cookie)
    assert process_memory.can_read(os.getpid(), where, cookie)
    assert not process_memory.can_read(os.getpid(), where, os.urandom(process_memory.COOKIE))
    assert not process_memory.can_read(os.getpid(), 8, cookie)
    assert not process_memory.can_read(2**22 - 1, where, cookie)
    assert not process_memory.can_read(os.getpid(), where, b"short")


def test_reading_a_dead_process_raises():
    with pytest.raises(OSError, match="memory of process"):
        process_memory.read(2**22 - 1, 4096, bytearray(100))
