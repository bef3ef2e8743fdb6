"""`AsyncResult`: a future, a pool's result, and the metadata of each engine's part."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing.pool
import threading
import time
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
from datetime import datetime

import pytest
from waiting import until, until_running

from mpidirect import AsyncMapResult, AsyncResult, CompositeError, RemoteError
from mpidirect.errors import TaskAborted, TimeoutError

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def gate(dview, tmp_path):
    """A file that engines wait for: ``wait`` waits for it, ``open`` lets the engines continue."""

    class Gate:
        path = str(tmp_path / "open")

        def open(self):
            (tmp_path / "open").touch()

        @property
        def wait(self):
            path = self.path

            def wait_for_gate(result=None):
                import time
                from pathlib import Path

                while not Path(path).exists():
                    time.sleep(0.001)
                return result

            return wait_for_gate

    gate = Gate()
    yield gate
    gate.open()


def test_a_result_is_a_future(dview, gate):
    ar = dview.apply_async(gate.wait, 1)
    assert isinstance(ar, concurrent.futures.Future)
    assert (ar.done(), ar.ready()) == (False, False)
    called = []
    ar.add_done_callback(called.append)
    gate.open()
    done, pending = concurrent.futures.wait([ar], timeout=10)
    assert (done, pending) == ({ar}, set())
    assert ar.result() == [1] * 4
    assert ar.exception() is None
    assert ar.result(0) == [1] * 4
    until(lambda: called == [ar])
    ar.add_done_callback(called.append)  # called at once, because the result is ready
    assert called == [ar, ar]
    assert list(concurrent.futures.as_completed([ar])) == [ar]


def test_a_result_has_the_methods_of_multiprocessing(dview):
    theirs = {name for name in dir(multiprocessing.pool.AsyncResult) if not name.startswith("_")}
    ar = dview.apply_async(lambda: 1)
    assert theirs <= set(dir(ar))
    ar.wait(30)
    assert ar.ready()
    assert ar.successful()
    assert ar.get(1) == ar.r == [1] * 4


def test_get_with_a_timeout_raises(dview, gate):
    ar = dview.apply_async(gate.wait)
    for ask in (ar.get, ar.result, ar.exception, ar.get_dict):
        with pytest.raises(TimeoutError, match=r"^Result not ready\.$"):
            ask(0.01)
    with pytest.raises(concurrent.futures.TimeoutError):
        ar.get(0)
    assert ar.wait(0.01) is False
    with pytest.raises(ValueError, match="not ready"):
        ar.successful()
    for name in ("serial_time", "wall_time"):
        with pytest.raises(TimeoutError):
            getattr(ar, name)
    with pytest.raises(TimeoutError):
        ar[0]
    gate.open()
    assert ar.wait(30) is True


def test_get_without_a_limit(dview):
    for timeout in (None, -1):
        assert dview.apply_async(lambda: 1).get(timeout) == [1] * 4


def test_results_by_engine(rc):
    ar = rc[[3, 1]].apply_async(lambda: rank * 10)  # noqa: F821
    assert ar.get_dict() == ar.result_dict == {3: 30, 1: 10}
    assert rc[1].apply_async(lambda: 5).get_dict() == {1: 5}


def test_indexing(dview):
    ar = dview.apply_async(lambda: rank)  # noqa: F821
    ar.wait()
    assert ar[0] == 0
    assert ar[-1] == 3
    assert ar[1:3] == [1, 2]
    assert len(ar) == 4
    assert ar["engine_id"] == [0, 1, 2, 3]
    with pytest.raises(IndexError):
        ar[4]
    with pytest.raises(KeyError):
        ar["no such key"]
    with pytest.raises(TypeError):
        ar[1.5]
    with pytest.raises(AttributeError):
        ar.no_such_attribute


def test_iteration_as_results_arrive(dview, gate):
    wait = gate.wait
    ar = dview.apply_async(lambda: rank if rank < 2 else wait(rank))  # noqa: F821
    items = iter(ar)
    assert [next(items), next(items)] == [0, 1]
    assert not ar.ready()
    assert ar.progress == 2
    gate.open()
    assert list(items) == [2, 3]
    assert ar.progress == 4


def test_iteration_over_a_map_as_it_arrives(dview, gate):
    wait = gate.wait

    def f(x):
        return wait(x) if x < 2 else x

    ar = dview.map_async(f, range(8), ordered=False)
    assert isinstance(ar, AsyncMapResult)
    items = iter(ar)
    early = [next(items) for _ in range(6)]
    assert sorted(early) == [2, 3, 4, 5, 6, 7]
    gate.open()
    assert list(items) == [0, 1]
    assert ar.get() == list(range(8))


def test_await(dview):
    async def ask():
        ar = dview.apply_async(lambda: 7)
        first = await ar
        others = await asyncio.gather(dview.apply_async(lambda: 8), dview.apply_async(lambda: 9))
        with pytest.raises(CompositeError):
            await dview.apply_async(lambda: 1 / 0)
        return first, others

    assert asyncio.run(ask()) == ([7] * 4, [[8] * 4, [9] * 4])


def test_callbacks_run_without_a_waiting_thread(dview):
    event = threading.Event()
    dview.apply_async(lambda: 1).add_done_callback(lambda ar: event.set())
    assert event.wait(30)


def test_wait_for_the_first_engine(dview, gate):
    wait = gate.wait
    ar = dview.apply_async(lambda: rank and wait(rank))  # noqa: F821
    done, pending = ar.wait(10, return_when=concurrent.futures.FIRST_COMPLETED)
    assert [part.get() for part in done] == [0]
    assert len(pending) == 3
    gate.open()
    with pytest.raises(ValueError, match="return_when"):
        ar.wait(1, return_when="SOMETIME")


def test_the_first_exception(dview, gate):
    wait = gate.wait
    ar = dview.apply_async(lambda: wait() if rank else 1 / 0)  # noqa: F821
    with pytest.raises(RemoteError, match="ZeroDivisionError"):
        ar.get(10, return_when=concurrent.futures.FIRST_EXCEPTION)
    assert not ar.ready()


def test_return_exceptions(dview):
    ar = dview.apply_async(lambda: 1 / rank)  # noqa: F821
    values = ar.get(return_exceptions=True)
    assert isinstance(values[0], RemoteError)
    assert values[1:] == [1, 1 / 2, 1 / 3]
    with pytest.raises(CompositeError):
        ar.get()
    assert ar.successful() is False


def test_metadata(rc):
    before = time.time()
    ar = rc[:].apply_async(lambda: time.sleep(0.01))
    ar.get()
    assert ar.engine_id == [0, 1, 2, 3]
    assert ar.status == ["ok"] * 4
    assert ar.stdout == ar.stderr == [""] * 4
    for entry in ar.metadata:
        assert isinstance(entry.submitted, datetime)
        assert entry.submitted <= entry.started <= entry.completed <= entry.received
        assert before - 1 < entry.submitted.timestamp() < time.time() + 1
    assert 0.04 <= ar.serial_time < 10
    assert 0.01 <= ar.wall_time <= ar.serial_time + 10
    assert ar.elapsed == ar.wall_time
    assert ar.timedelta(ar.submitted, ar.received) == pytest.approx(ar.wall_time, abs=1e-3)
    assert len(set(ar.msg_ids)) == 4
    assert {"stdout", "engine_id", "get", "wall_time"} <= set(dir(ar))


def test_metadata_of_one_engine(rc):
    ar = rc[1].apply_async(lambda: print("hi"))
    ar.get()
    assert (ar.stdout, ar.engine_id, ar.status) == ("hi\n", 1, "ok")
    assert ar.metadata["engine_id"] == 1


def test_metadata_of_a_failure(dview):
    ar = dview.apply_async(lambda: 1 / 0)
    ar.wait()
    assert ar.status == ["error"] * 4
    assert [error.ename for error in ar.error] == ["ZeroDivisionError"] * 4


def test_elapsed_of_a_running_call(dview, gate):
    ar = dview.apply_async(gate.wait)
    first = ar.elapsed
    assert 0 <= first < ar.elapsed
    assert ar.progress == 0


def test_labels(dview):
    with dview.temp_flags(label="mine"):
        ar = dview.apply_async(lambda: 1)
    assert ar.label == ["mine"] * 4
    assert dview.map(abs, range(4), label="map").label == ["map"] * 4
    assert dview.execute("1", label="execute", targets=0).label == "execute"


def test_abort(rc, gate):
    view = rc[1]
    running = view.apply_async(gate.wait, "done")
    waiting = [view.apply_async(lambda: "never") for _ in range(3)]
    waiting[1].abort()
    until(waiting[1].ready)
    gate.open()
    assert running.get(30) == "done"
    with pytest.raises(TaskAborted):
        waiting[1].get(30)
    assert waiting[1].cancelled()
    assert [waiting[0].get(30), waiting[2].get(30)] == ["never", "never"]
    assert not waiting[0].cancelled()


def test_interrupt(dview, gate):
    ar = dview.apply_async(gate.wait)
    other = dview.apply_async(lambda: "unharmed")
    until_running(dview.client)
    ar.interrupt()
    with pytest.raises(CompositeError, match="KeyboardInterrupt"):
        ar.get(30)
    assert other.get(30) == ["unharmed"] * 4


def test_split_and_join(dview):
    first, second = dview.apply_async(lambda: rank), dview.apply_async(lambda: -rank)  # noqa: F821
    assert [part.get() for part in first.split()] == [0, 1, 2, 3]
    assert AsyncResult.join(first, second).get() == [0, 1, 2, 3, 0, -1, -2, -3]
    with pytest.raises(ValueError, match="at least one"):
        AsyncResult.join()


def test_repr(dview, gate):
    ar = dview.apply_async(gate.wait)
    assert repr(ar) == "<AsyncResult(wait_for_gate): pending>"
    gate.open()
    ar.wait()
    assert repr(ar) == "<AsyncResult(wait_for_gate): finished>"
    bad = dview.apply_async(lambda: 1 / 0)
    bad.wait()
    assert repr(bad) == "<AsyncResult(<lambda>): failed>"


def test_display_outputs(dview, capsys):
    ar = dview.execute("print('printed', rank)\nimport sys; print('wrong', file=sys.stderr)")
    ar.display_outputs()
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [f"[stdout:{k}] printed {k}" for k in range(4)]
    assert captured.err.splitlines() == ["[stderr:0-3] wrong"]
    ar.display_outputs(groupby="engine")
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [f"[stderr:{k}] wrong" for k in range(4)]
    with pytest.raises(ValueError, match="groupby"):
        ar.display_outputs(groupby="colour")


def test_the_outputs_of_a_single_engine_have_no_label(rc, capsys):
    rc[0].execute("print('printed'); display('shown')").display_outputs()
    assert capsys.readouterr().out == "printed\n'shown'\n"


def test_the_formats_of_a_result(rc):
    code = "from IPython.display import Image; Image(data=b'png', format='png', width=10)"
    reply = rc[0].execute(code, silent=False, block=True).get()
    data, metadata = reply._repr_png_()
    assert (data.strip(), metadata) == ("cG5n", {"width": 10})
    assert reply._repr_mimebundle_()[1] == {"image/png": {"width": 10}}
    assert reply._repr_html_() is None


def test_results_are_waited_for_in_several_threads(dview):
    results = [dview.apply_async(lambda k=k: k) for k in range(20)]
    found = {}

    def ask(k):
        found[k] = results[k].get(20)

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == {k: [k] * 4 for k in range(20)}


def test_a_maps_length_progress_and_items_are_those_of_the_sequence(dview, gate):
    wait = gate.wait
    ar = dview.map_async(lambda x: x * 10 if x < 6 else wait(x * 10), range(10))
    assert (len(ar), len(ar.msg_ids)) == (10, 4)
    while (done := ar.progress) < 6:
        assert done in (0, 3)
    assert (ar.progress, ar.ready()) == (6, False)
    with pytest.raises(TimeoutError, match="not ready"):
        ar[0]
    gate.open()
    assert ar.get(30) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert (ar.progress, ar[3], ar[-1], ar[2:5]) == (10, 30, 90, [20, 30, 40])
    assert ar["engine_id"] == [0, 1, 2, 3]
    dealt = dview.map_async(abs, range(10), dist="r")
    assert (dealt.get(30)[4], dealt[4], dealt.progress, len(dealt)) == (4, 4, 10, 10)
    few = dview.map_async(abs, [5])
    assert (few.get(30), len(few), few.progress) == ([5], 1, 1)


def test_wait_until_the_first_exception(dview, gate):
    wait = gate.wait
    ar = dview.apply_async(lambda: 1 / 0 if rank == 2 else wait(rank))  # noqa: F821
    done, pending = ar.wait(10, return_when=FIRST_EXCEPTION)
    assert [part.engine_id for part in done] == [2]
    assert sorted(part.engine_id for part in pending) == [0, 1, 3]
    assert all(isinstance(part, AsyncResult) for part in done | pending)
    with pytest.raises(RemoteError, match="ZeroDivisionError"):
        ar.get(10, return_when=FIRST_EXCEPTION)
    assert ar.wait(0.01, return_when=ALL_COMPLETED)[1]
    gate.open()
    done, pending = ar.wait(10, return_when=ALL_COMPLETED)
    assert (len(done), pending) == (4, set())
    done, pending = ar.wait(10, return_when=FIRST_COMPLETED)
    assert (len(done), pending) == (4, set())
    for ask in (ar.wait, ar.get, ar.wait_interactive):
        with pytest.raises(ValueError, match="Unrecognized return_when='x'"):
            ask(return_when="x")


def test_wait_interactive(dview, rc, gate, capsys):
    wait = gate.wait
    ar = dview.apply_async(lambda: 1 / 0 if rank == 2 else wait())  # noqa: F821
    assert ar.wait_interactive(0.01, timeout=0.1, widget=False) is False
    assert ar.wait_interactive(return_when=FIRST_EXCEPTION) is True
    assert ar.wait_interactive(return_when=FIRST_COMPLETED) is True
    assert rc.wait_interactive(timeout=0.1, interval=0.01) is False
    with pytest.raises(TypeError, match="intervall"):
        ar.wait_interactive(intervall=1)
    gate.open()
    assert ar.wait_interactive() is True
    assert rc.wait_interactive(ar) is rc.wait_interactive() is True
    assert capsys.readouterr().out == ""  # no user would see the bar


def test_a_bar_on_a_terminal(dview, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert dview.apply_async(abs, 1).wait_interactive() is True
    assert "100%" in capsys.readouterr().out
    assert dview.map(abs, range(-8, 0), block=True, progress=True) == [*range(8, 0, -1)]
    assert "100%" in capsys.readouterr().out


def test_join_and_split_keep_the_parts(dview):
    first, second = dview.apply_async(lambda: rank), dview.apply_async(lambda: -rank)  # noqa: F821
    parts = [first.split()[1], second.split()[2]]
    assert AsyncResult.join(*parts).get(30) == [1, -2]
    assert AsyncResult.join(second, first).get(30) == [0, -1, -2, -3, 0, 1, 2, 3]
