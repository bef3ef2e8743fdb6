"""Groups of engines with communicators of their own."""

# ruff: noqa: F821
from __future__ import annotations

import itertools

import pytest
from waiting import until_running

from mpidirect import errors


def test_each_group_has_its_comm(rc):
    with rc.split(2) as pool:
        assert [view.targets for view in pool] == [[0, 1], [2, 3]]
        for view in pool:
            assert view.apply_sync(lambda: (rank, size, comm.allreduce(10 * rank))) == [
                (0, 2, 10),
                (1, 2, 10),
            ]
            assert view.map_sync(lambda x: size * x, range(4)) == [0, 2, 4, 6]
        assert rc[:].apply_sync(lambda: (rank, size)) == [(k, 4) for k in range(4)]
        assert rc[:].apply_sync(lambda: comm.allreduce(1)) == [4] * 4


def test_tasks_run_on_whole_groups(rc):
    def solve(x, y):
        import time

        time.sleep(0.01 * x)
        return comm.allreduce(x), y, size

    with rc.split([3, 1]) as pool:
        results = pool.map(solve, range(6), itertools.count(10))
        assert [(x // s, y) for x, y, s in results] == [(k, 10 + k) for k in range(6)]
        assert {s for _, _, s in results} == {1, 3}
        whole = pool.map(lambda x: rank, range(2), whole=True)
        assert sorted(map(len, whole)) == [1, 3]
        endless = pool.imap(lambda x: comm.allreduce(0) + x, itertools.count())
        assert list(itertools.islice(endless, 5)) == list(range(5))
        endless.close()
        with pytest.raises(errors.CompositeError, match="ZeroDivisionError"):
            pool.map(lambda x: 1 // x, [1, 0])


def test_the_world_of_a_task_is_its_group(rc):
    def world_size(x):
        from mpi4py import MPI

        return MPI.COMM_WORLD.allreduce(1) // x

    def size_of_all():
        from mpi4py import MPI

        return MPI.COMM_WORLD.size

    with rc.split(2) as pool:
        assert pool.map(world_size, [1, 2]) == [2, 1]
        with pytest.raises(errors.CompositeError, match="ZeroDivisionError"):
            pool[0].apply_sync(world_size, 0)
        assert rc[:].apply_sync(size_of_all) == [4] * 4
        waiting = pool[0].apply_async(lambda: MPI.COMM_WORLD.recv(source=1 - rank))
        until_running(rc, [0, 1])
        waiting.interrupt()
        with pytest.raises(errors.CompositeError, match="KeyboardInterrupt"):
            waiting.get()
        assert rc[:].apply_sync(size_of_all) == [4] * 4


def test_invalid_splits_raise(rc):
    assert len(rc.split("node")) == 1
    for how in (3, 0, [2, 3], [], "rack"):
        with pytest.raises(ValueError, match="split"):
            rc.split(how)
