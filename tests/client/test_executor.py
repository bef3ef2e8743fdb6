"""Engines behind the interfaces of pools: `concurrent.futures`, and joblib."""

from __future__ import annotations

import concurrent.futures
import sys
import threading
import time
import unittest
from importlib.util import find_spec

import pytest

from mpidirect import errors

pytestmark = pytest.mark.openmpi_only  # the same with any MPI


@pytest.fixture
def pool(rc):
    with rc.executor() as pool:
        yield pool


def test_results_and_exceptions_are_those_of_the_functions(pool):
    assert pool.submit(pow, 2, 10).result() == 1024
    future = pool.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:
        future.result(10)
    assert isinstance(caught.value.__cause__, errors.RemoteError)
    assert "1 / 0" in str(caught.value.__cause__)
    assert isinstance(future.exception(), ZeroDivisionError)


def test_a_map_raises_errors_in_order_when_they_are_reached(pool):
    values = pool.map(lambda x: 12 // x, [1, 2, 0, 3])
    assert [next(values), next(values)] == [12, 6]
    with pytest.raises(ZeroDivisionError):
        next(values)


def test_futures_of_two_executors_and_of_python_are_waited_for_together(pool):
    with concurrent.futures.ThreadPoolExecutor(1) as local:
        futures = [pool.submit(pow, 2, 3), local.submit(pow, 3, 2)]
        done, pending = concurrent.futures.wait(futures, timeout=10)
    assert not pending
    assert {f.result() for f in done} == {8, 9}


def test_tasks_that_have_not_begun_can_be_cancelled(pool):
    futures = [pool.submit(time.sleep, 0.3) for _ in range(12)]
    assert futures[-1].cancel()
    assert futures[-1].cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        futures[-1].result()
    pool.shutdown(cancel_futures=True)
    assert sum(f.cancelled() for f in futures) >= 8
    with pytest.raises(RuntimeError):
        pool.submit(pow, 1, 1)


def test_results_can_be_awaited(rc):
    import asyncio

    lview = rc.load_balanced_view()

    async def several():
        each = asyncio.gather(*(lview.apply_async(pow, k, 2) for k in range(10)))
        return await each, await lview.map_async(abs, range(-3, 0)), await rc[:].apply_async(abs, -1)

    assert asyncio.run(several()) == ([k * k for k in range(10)], [3, 2, 1], [1, 1, 1, 1])


def test_many_threads_use_one_client(rc):
    lview, wrong = rc.load_balanced_view(), []

    def use(k):
        for n in range(20):
            if lview.apply_sync(divmod, n, k + 1) != divmod(n, k + 1):
                wrong.append((n, k))
            if rc[k % 4].apply_sync(abs, -n) != n:
                wrong.append(n)

    threads = [threading.Thread(target=use, args=[k]) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


def test_joblib_runs_on_engines(rc):
    import joblib

    def squares(n):
        import mpidirect

        mpidirect.register_joblib_backend()
        return joblib.Parallel(backend="mpidirect")(joblib.delayed(pow)(k, 2) for k in range(n))

    rc.load_balanced_view().register_joblib_backend("engines")
    with joblib.parallel_config("engines"):
        assert joblib.Parallel(n_jobs=-1)(joblib.delayed(pow)(k, 2) for k in range(50)) == [
            k * k for k in range(50)
        ]
        with pytest.raises(ZeroDivisionError):
            joblib.Parallel()(joblib.delayed(divmod)(1, k) for k in (1, 0))
        prepared = joblib.Parallel(initializer=sys.setswitchinterval, initargs=[0.25])
        assert prepared(joblib.delayed(sys.getswitchinterval)() for _ in range(8)) == [0.25] * 8
        rc[:].apply_sync(sys.setswitchinterval, 0.005)
        nested = joblib.Parallel()(joblib.delayed(squares)(k) for k in (1, 2))
        assert nested == [[0], [0, 1]]
        lazy = joblib.Parallel(return_as="generator")(joblib.delayed(abs)(-k) for k in range(10))
        assert list(lazy) == list(range(10))


@pytest.mark.skipif(find_spec("distributed") is None, reason="dask is not there for this Python")
def test_engines_become_a_dask_cluster(rc):
    with rc.become_dask(rc.ids[:2], ncores=1) as dask:
        assert rc[0].apply_sync(lambda: dask_worker.state.nthreads) == 1  # noqa: F821
        assert dask.submit(pow, 2, 10).result(timeout=30) == 1024
        assert sum(dask.gather(dask.map(abs, range(-20, 0)))) == 210
        assert rc[:].apply_sync(abs, -1) == [1] * 4
    rc.stop_dask(rc.ids[:2])


# -- CPython's tests, if Python was installed with them ------------------------------------------------

try:
    from test.test_concurrent_futures import executor as theirs
    from test.test_concurrent_futures import test_as_completed, test_wait
except ImportError:
    theirs = None


if theirs is not None:

    class Pool:
        """The class that the tests use as an executor."""

        client = None

        def __new__(cls, max_workers=None, **options):
            return cls.client.executor()

    @pytest.mark.usefixtures("client_for_theirs")
    class _Theirs:
        executor_type = Pool
        worker_count = 4

        def setUp(self):
            self.executor = Pool()

        def tearDown(self):
            self.executor.shutdown(wait=True)

        def get_context(self):
            return threading

    @pytest.fixture
    def client_for_theirs(rc):
        Pool.client = rc
        yield
        Pool.client = None

    class TestExecutor(_Theirs, theirs.ExecutorTest, unittest.TestCase):
        test_max_workers_negative = None  # the engines are the workers

    class TestAsCompleted(_Theirs, test_as_completed.AsCompletedTests, unittest.TestCase):
        pass

    class TestWait(_Theirs, test_wait.WaitTests, unittest.TestCase):
        pass
