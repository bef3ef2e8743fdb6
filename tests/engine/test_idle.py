"""The work of idle engines is invisible."""

from __future__ import annotations

import time

import pytest

from mpidirect import Client, Reference

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

N = 4


IMPORT_IN_A_THREAD = """
def later(delay):
    try:
        time.sleep(delay)
        import numpy.linalg

        found.append(bool(numpy.linalg.matrix_power))
    except BaseException as e:
        found.append(repr(e))

import threading, time
found = []
thread = threading.Thread(target=later, args=[1.0 + 0.01 * rank], daemon=True)
thread.start()
"""


def become_idle(rc: Client) -> None:
    rc[:].apply_sync(abs, 1)
    time.sleep(1)  # the subject of the test: numpy is imported after a second


@pytest.mark.parametrize(("first", "step"), [(0.002, 0.004), (0.02, 0.02)])
def test_a_task_may_import_a_part_of_numpy_at_any_moment(start, first, step):
    def import_a_part():
        import numpy.linalg

        return int(numpy.linalg.matrix_power([[1, 1], [1, 0]], 10)[0][1])

    _, rc = start(N, prepared=False)
    become_idle(rc)
    results = []
    for engine in range(N):
        time.sleep(first if engine == 0 else step)
        results.append(rc[engine].apply_async(import_a_part))
    assert [result.get(30) for result in results] == [55] * N


def test_a_thread_may_import_a_part_of_numpy_at_any_moment(start):
    _, rc = start(N, prepared=False)
    rc[:].apply_sync(exec, IMPORT_IN_A_THREAD, Reference("globals()"))
    time.sleep(1.5)
    assert rc[:].pull("thread.join(20) or found", block=True) == [[True]] * N


def test_an_idle_engine_has_numpy_and_can_be_interrupted_and_forked(start):
    _, rc = start(2, prepared=False)
    become_idle(rc)
    for moment in (0.0, 0.01, 0.05):
        time.sleep(moment)
        rc.interrupt()

    def loaded():
        import os
        import sys

        child = os.fork()
        if not child:
            import numpy.linalg

            os._exit(len(numpy.linalg.__name__))
        return "numpy" in sys.modules, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert rc[:].apply_async(loaded).get(30) == [(True, 12)] * 2
