"""In processes with a memory limit, data that does not fit raises a MemoryError, and nothing else fails."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest

from mpidirect import Client, errors

WITHIN = 60.0  # seconds: much more than any step needs
MORE = 100 << 20  # bytes that a process may have in addition to its present memory
LARGE = np.ones(150_000_000, np.uint8)
SMALL = LARGE[:2_000_000]

# Takes memory until none is left, and keeps it.
FILL = """
hoard = []
for step in (1 << 24, 1 << 20, 1 << 16, 1 << 12, 1 << 8):
    try:
        while True:
            hoard.append(bytearray(step))
    except MemoryError:
        pass
"""


def limited(pid, more=MORE):
    """Let a process have only so much additional memory; return the former limits."""
    with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123 (of another process)
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (used + more, before[1]))
    return before


@pytest.fixture(params=["memory", "messages"])
def client(request, cluster, monkeypatch):
    """A client whose memory engines read, and a client whose data is sent by messages and MPI."""
    monkeypatch.setenv("MPIDIRECT_DIRECT_MEMORY", str(int(request.param == "memory")))
    with Client(str(cluster.connection_file)) as client:
        yield client


@pytest.fixture
def narrow(client, rc):
    """An engine with little memory."""
    client[:].push({"kept": 7}, block=True)
    client[:].execute("import numpy", block=True)
    pid = client._session.engines.live[0].pid
    before = limited(pid)
    try:
        assert client[0].pull("kept", block=True) == 7  # after this task the engine reserves memory
        yield client[0]
        assert client[:].pull("kept", block=True) == [7] * 4
        assert client[:].apply_async(lambda: comm.allreduce(1)).get(WITHIN) == [4] * 4  # noqa: F821
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, before)


def test_a_push_without_memory_on_the_engine(narrow):
    with pytest.raises(
        errors.RemoteError, match=r"MemoryError\(this engine has no room for 150,000,\d+ bytes.*ulimit -v"
    ):
        narrow.push({"a": LARGE}, block=True)
    narrow.push({"a": SMALL}, block=True)
    assert narrow.pull("a.nbytes", block=True) == SMALL.nbytes


def test_one_of_several_engines_has_no_memory(narrow):
    pushed = narrow.client[:].push({"a": LARGE}, block=False)
    with pytest.raises(errors.CompositeError, match=r"\[0:push\]: MemoryError"):
        pushed.get(WITHIN)
    assert narrow.client[1:].pull("a.nbytes", block=True) == [LARGE.nbytes] * 3


def test_memory_that_a_task_has_filled_can_be_freed(narrow):
    try:
        narrow.execute(FILL, block=False).get(WITHIN)
    except errors.RemoteError as e:
        assert e.ename == "MemoryError"
    for _ in range(3):
        assert narrow.pull("kept", block=True) == 7
        with pytest.raises(errors.RemoteError, match="ZeroDivisionError"):
            narrow.execute("print('x')\n1/0", block=True)
    narrow.execute("hoard.clear()", block=True)
    narrow.push({"a": SMALL}, block=True)


def test_an_engine_whose_memory_is_full_stays_when_another_one_is_replaced(start):
    _, rc = start(3)
    before = rc.engines_info[0]["pid"]
    limited(before)
    rc.restart([1])  # the engine keeps memory back from now on
    rc[0].push({"kept": 7}, block=True)
    try:
        rc[0].execute(FILL, block=True)
    except errors.RemoteError as e:
        assert e.ename == "MemoryError"
    for _ in range(2):
        assert rc.restart([1]) == [1]
    assert rc.engines_info[0]["pid"] == before
    rc[0].execute("hoard.clear()", block=True)
    assert rc[0].pull("kept", block=True) == 7
    assert rc[:].apply_async(lambda: comm.allreduce(1)).get(WITHIN) == [3] * 3  # noqa: F821


def test_an_engine_without_memory_for_communicators_tells_it(start):
    _, rc = start(3)
    pid = rc.engines_info[0]["pid"]
    before = limited(pid, MORE // 20)
    with pytest.raises(errors.MPIDirectError, match=r"engine 0 has used up its memory .* delete names"):
        rc.restart([1])
    resource.prlimit(pid, resource.RLIMIT_AS, before)
    assert rc.restart([1]) == [1]
    assert rc.engines_info[0]["pid"] == pid


@pytest.mark.openmpi_only
@pytest.mark.parametrize("way", ["memory", "messages"])
def test_a_controller_without_memory(way, start, monkeypatch):
    cluster, rc = start(4)  # a cluster of its own: a controller that has served others has free memory
    monkeypatch.setenv("MPIDIRECT_DIRECT_MEMORY", str(int(way == "memory")))
    with Client(str(cluster.connection_file)) as client:
        full(way, rc, client)


def full(way, rc, client):
    """Let the controller have little memory, and send much data."""
    rc[0].execute("import numpy; b = numpy.ones(400_000_000, numpy.uint8)", block=True)
    client[0].push({"a": SMALL}, block=True)  # now the controller has imported numpy
    pid = rc.facts["pid"]
    before = limited(pid, 2 * MORE)
    try:
        busy = rc[0].apply_async(time.sleep, 600)  # so that the data must wait at the controller
        pushed = client[0].push({"a": np.ones(400_000_000, np.uint8)}, block=False)
        with pytest.raises(errors.RemoteError, match=r"MemoryError\(the controller has no room for 400,0"):
            pushed.get(WITHIN)
        rc.interrupt(0)
        with pytest.raises(errors.RemoteError):
            busy.get(WITHIN)
        if way == "messages":
            with pytest.raises(errors.RemoteError, match="no room for a result"):
                client[0].pull("b", block=False).get(WITHIN)
            with pytest.raises(errors.RemoteError, match=r"the controller has no room for 150,0"):
                client[0].push({"a": LARGE}, block=False).get(WITHIN)  # nearly fits
        assert client[:].apply_async(lambda: 7).get(WITHIN) == [7] * 4
        client[0].push({"a": SMALL}, block=True)
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, before)
